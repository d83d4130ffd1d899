//! What every metadata store must do.
