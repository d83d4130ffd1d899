//! Events and metadata in PostgreSQL 14 or newer. Why it is built like this, with measurements: `docs/decisions/postgres-store.md`.
//!
//! What must stay true:
//! - Rows, ledger, claims of ids and checkpoint of a batch are one transaction, and the row of the queue's checkpoint is locked first. Nothing
//!   else makes an append exactly-once, whoever else writes at the same time.
//! - A connection that was left in the middle of something is closed, never used again: nobody inherits a transaction or an answer.
//! - Statements of readers run on connections whose transactions are read-only.
//! - Migrations only go forward and only add, so that the build before goes on beside the build after; a newer schema is refused at start.

mod connect;
mod events;
mod failure;
mod inspect;
mod meta;
mod tls;
mod types;

pub use events::{PostgresEventStore, ceiling};
pub use inspect::inspect;
pub use meta::PostgresMetaStore;
