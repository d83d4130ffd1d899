//! The store ports: events, metadata, access scopes and SQL statements.
//!
//! Tenancy is decided here and nowhere else: a [`ProjectScope`] comes only from [`access::Directory`], a [`Statement`] only from a
//! scope, and [`EventStore::read`] takes only statements.

pub mod access;
pub mod event_store;
pub mod meta_store;
pub mod places;
pub mod properties;
pub mod statement;

pub use access::{Directory, ProjectScope};
pub use event_store::{
    AppendBatch, AppendItem, AppendOutcome, AppendReport, Checkpoint, EventStore, ProjectStatus, Reclaimed,
    ReplicaStatus, StoreError, StoreStatus,
};
pub use meta_store::{Lease, MetaError, MetaStore};
pub use statement::{Parameters, Rows, Statement, Value};
