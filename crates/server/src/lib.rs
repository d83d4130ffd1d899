//! The HTTP server, the workers and the scheduler, over ports alone.

pub mod admin;
pub mod config;
