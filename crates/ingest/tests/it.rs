//! The crate from outside: recorded requests, hostile requests, and what they cost in memory.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "it/allocator.rs"]
mod allocator;
#[path = "it/fixtures.rs"]
mod fixtures;
#[path = "it/fuzz.rs"]
mod fuzz;
#[path = "it/memory.rs"]
mod memory;
#[path = "it/support.rs"]
mod support;
