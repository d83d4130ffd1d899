//! Events: partitioned by month, stored exactly once, read by statements.

mod append;
pub mod ceiling;
mod claims;
mod copy;
mod delete;
mod numbers;
mod partitions;
mod progress;
mod read;
mod reclaim;
mod replica;
mod state;
mod value;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use async_trait::async_trait;
use model::{Clock, EventId, LedgerEntry, ProjectId, Timestamp, limits};
use sqlx::PgPool;
use store::{
    AppendBatch, AppendReport, Checkpoint, EventStore, Reclaimed, ReplicaStatus, Rows, Statement, StoreError,
    StoreStatus, places::Places,
};
use uuid::Uuid;

use self::{append::Ahead, numbers::Numbers, partitions::Month, replica::Replica};
use crate::connect::{Database, Session};

/// Events in PostgreSQL. Safe for several processes at once.
pub struct PostgresEventStore {
    shared: Arc<Shared>,
    places: Places,
    /// The batch that was announced, while it is prepared.
    ahead: Mutex<Option<Ahead>>,
}

/// What calls work with.
struct Shared {
    writers: PgPool,
    readers: PgPool,
    /// Asked before `readers`.
    replica: Option<Replica>,
    clock: Arc<dyn Clock>,
    known: Known,
}

/// What this process remembers of the database. Others may drop partitions and tables of ids: then it is forgotten and read again.
#[derive(Default)]
struct Known {
    numbers: Mutex<Numbers>,
    months: Mutex<HashSet<Month>>,
    epochs: Mutex<HashSet<i64>>,
    /// Whether the last batch had claims of somebody else's.
    meets_conflicts: AtomicBool,
}

impl Known {
    fn forget_schema(&self) {
        // Every change is one insertion, so that a panic leaves nothing half done; the same holds for the other locks.
        self.months.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for PostgresEventStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresEventStore").finish_non_exhaustive()
    }
}

impl PostgresEventStore {
    /// Connects to the database of a `postgres://` URL and brings its schema up to date. With the URL of a streaming standby reads go there
    /// while it is near enough; it may be away.
    ///
    /// Safe when several processes do it at once. Fails as unavailable when the database cannot be reached, is older than PostgreSQL 14, or its
    /// schema comes from a newer build, and when a URL cannot be read.
    pub async fn open(url: &str, replica_url: Option<&str>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let database = Database::parse(url).map_err(StoreError::Unavailable)?;
        let standby = replica_url.map(Database::parse).transpose();
        let standby = standby.map_err(|error| StoreError::Unavailable(format!("the replica: {error}")))?;
        database.migrate().await.map_err(StoreError::Unavailable)?;
        let readers = database.pool(Session::Read, limits::POSTGRES_READ_CONNECTIONS_MAX);
        let replica = match standby {
            Some(standby) => Some(Replica::watch(standby, readers.clone()).await),
            None => None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                writers: database.pool(Session::Write, limits::POSTGRES_WRITE_CONNECTIONS_MAX),
                readers,
                replica,
                clock,
                known: Known::default(),
            }),
            places: Places::default(),
            ahead: Mutex::default(),
        })
    }
}

#[async_trait]
impl EventStore for PostgresEventStore {
    async fn append(&self, batch: AppendBatch) -> Result<AppendReport, StoreError> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let prepared = match ahead {
            Some(ahead) => ahead.of(&batch).await,
            None => None,
        };
        append::append(&self.shared, &batch, prepared).await
    }

    fn announce(&self, batch: &AppendBatch) {
        let ahead = Ahead::begin(&self.shared, batch);
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }

    async fn checkpoint(&self, queue: Uuid) -> Result<Option<u64>, StoreError> {
        state::checkpoint(&self.shared, queue).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let _place = self.places.take(None).await?;
        state::checkpoints(&self.shared).await
    }

    async fn claims(&self, project: ProjectId, ids: Vec<EventId>) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let _place = self.places.take(None).await?;
        state::claims(&self.shared, project, &ids).await
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        let _place = self.places.take(Some(statement.project_id())).await?;
        read::read(&self.shared, &statement).await
    }

    async fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        let _place = self.places.take(None).await?;
        state::ledger(&self.shared).await
    }

    async fn delete(&self, project: ProjectId, before: Option<Timestamp>, dry_run: bool) -> Result<u64, StoreError> {
        if dry_run {
            return delete::count(&self.shared, project, before).await;
        }
        delete::delete(&self.shared, project, before).await
    }

    async fn delete_expired(&self, expired: &[(ProjectId, Timestamp)]) -> Result<Vec<u64>, StoreError> {
        delete::delete_expired(&self.shared, expired).await
    }

    async fn reclaim(&self, force: bool) -> Result<Reclaimed, StoreError> {
        reclaim::reclaim(&self.shared, force).await
    }

    async fn status(&self, now: Timestamp) -> Result<StoreStatus, StoreError> {
        let _place = self.places.take(None).await?;
        state::status(&self.shared, now).await
    }

    fn replica(&self) -> Option<ReplicaStatus> {
        self.shared.replica.as_ref().map(Replica::status)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let _place = self.places.take_for_probe().await?;
        state::check(&self.shared).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.places.close();
        self.shared.writers.close().await;
        self.shared.readers.close().await;
        if let Some(replica) = &self.shared.replica {
            replica.close().await;
        }
        Ok(())
    }
}
