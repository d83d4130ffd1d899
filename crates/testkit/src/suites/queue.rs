//! What every event queue must do.
