//! The promise, tried by breaking things: every journalled 202 is stored exactly once, and nothing else is.

mod caller;
mod damage;
mod disk;
pub mod journal;
mod kill;
pub mod load;
mod redis;
