//! What every event store must do.
