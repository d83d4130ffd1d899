//! The embedded event store: DuckDB for events, an LSM index for recent ids and user numbers.
//!
//! One thread writes; reads run beside it on connections of their own. Why it is built like this, with measurements:
//! `docs/decisions/event-store.md`. What must stay true:
//! - Rows, ledger and checkpoint of a batch are one transaction. Nothing else makes an append exactly-once.
//! - The index is durable before that transaction commits, and can be derived from the database at any time.
//! - No statement of a reader can write, reach files, or change settings.

mod announced;
mod append;
pub mod ceiling;
mod compact;
mod engine;
mod failure;
mod files;
mod index;
mod options;
mod reader;
mod rows;
mod schema;
mod shared;
mod state;
mod store_impl;
mod watchdog;
mod writer;

pub use options::DuckdbOptions;
pub use store_impl::DuckdbStore;
