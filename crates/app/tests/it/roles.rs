//! Many processes on one PostgreSQL and one Redis.

mod first_start;
mod members;
mod refused;
mod scheduler;
mod settings;
mod split;
