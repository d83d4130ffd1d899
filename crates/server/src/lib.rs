//! The HTTP server, the workers and the scheduler, over ports alone.

pub mod admin;
mod background;
pub mod config;
pub mod engine;
pub mod http;
mod intake;
pub mod ledger;
pub mod limit;
pub mod metrics;
pub mod run;
pub mod scheduler;
mod to_the_end;
pub mod worker;

pub use config::{Role, ServerConfig};
pub use engine::{Backends, Engine, StartError, applied::acknowledge as acknowledge_applied};
pub use run::{Mode, Running, start};
