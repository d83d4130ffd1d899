//! For tests: builders, fixed clock, suites that define a backend.

pub mod authority;
pub mod build;
pub mod clock;
pub mod directory;
pub mod postgres;
pub mod proxy;
pub mod redis_cluster;
pub mod redis_server;
mod run_server;
pub mod suites;
