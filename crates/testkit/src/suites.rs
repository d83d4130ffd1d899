//! One suite defines a backend: every adapter runs the same tests, by one macro call in its `tests/it.rs`.

pub mod meta;
pub mod queue;
pub mod reading;
pub mod store;
