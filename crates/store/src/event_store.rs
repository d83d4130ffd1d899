//! The port that every event store implements: DuckDB, PostgreSQL and ClickHouse later.

use std::sync::Arc;

use async_trait::async_trait;
use model::{EnrichedEvent, EventId, LedgerEntry, Outcome, ProjectId, Timestamp};

use crate::{Rows, Statement};

/// Events and ledger counts that are stored together or not at all. A clone shares the events: trying a batch again copies none.
#[derive(Clone, Debug, Default)]
pub struct AppendBatch {
    /// In the order of the queue.
    pub items: Arc<Vec<AppendItem>>,
    /// Outcomes that no event of `items` carries: tallies and dead letters. `LedgerEntry::outcome` says where they ended.
    pub counts: Vec<(u64, LedgerEntry)>,
    /// The queue that `position`s belong to and the last position of the batch; `None` for stores fed without one.
    pub checkpoint: Option<Checkpoint>,
}

/// One event of a batch.
#[derive(Clone, Debug)]
pub struct AppendItem {
    /// Its position in the queue.
    pub position: u64,
    /// The event.
    pub event: EnrichedEvent,
}

/// How far a queue has been stored; kept by the store in the same transaction as the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The queue's id.
    pub queue: uuid::Uuid,
    /// The last position that the batch covers.
    pub position: u64,
}

/// What became of each item, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// One per item of the batch.
    pub outcomes: Vec<AppendOutcome>,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// A new row.
    Stored,
    /// The event was there, from an earlier acceptance.
    Duplicate,
    /// An earlier delivery of this same position was stored and counted; nothing was done.
    AlreadyApplied,
}

impl AppendOutcome {
    /// The ledger's outcome; `None` where it has been counted before.
    pub fn counted(self) -> Option<Outcome> {
        match self {
            Self::Stored => Some(Outcome::Stored),
            Self::Duplicate => Some(Outcome::Duplicate),
            Self::AlreadyApplied => None,
        }
    }
}

/// What [`EventStore::reclaim`] gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk after.
    pub bytes_after: u64,
}

/// The state of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Rows now.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Latest event time per project, with the number of rows now.
    pub projects: Vec<ProjectStatus>,
}

/// A project's part of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectStatus {
    /// Whose.
    pub project_id: ProjectId,
    /// Rows now.
    pub events: u64,
    /// Rows with an event time in the hour before `now`.
    pub events_last_hour: u64,
    /// Rows with an event time in the 24 hours before `now`.
    pub events_last_day: u64,
    /// Latest event time.
    pub latest: Option<Timestamp>,
}

/// A copy of the store that readers are answered from, so that the store itself is left to writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Whether reads go to it now; else the store itself answers them.
    pub serves: bool,
    /// How far it is behind the store; `None` while nobody knows.
    pub lag: Option<std::time::Duration>,
    /// Why it serves nothing, and what to do; `None` while it serves.
    pub trouble: Option<String>,
    /// Reads that it could not answer, and the store did, since the start.
    pub reads_taken_over: u64,
}

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away, busy or out of room; the same call may succeed later.
    #[error("the event store is unavailable: {0}")]
    Unavailable(String),
    /// The store refuses these data or this statement; the same call fails again.
    #[error("the event store refused: {0}")]
    Refused(String),
    /// The statement ran into its time limit and was stopped.
    #[error("the query took longer than {0:?}")]
    Timeout(std::time::Duration),
    /// Others are served at present, and a place did not become free in time; nothing was done.
    #[error("the event store is busy with other questions: no place within {0:?}")]
    Overloaded(std::time::Duration),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout(_) | Self::Overloaded(_) => true,
            Self::Refused(_) => false,
        }
    }
}

/// Keeps events and answers statements about them.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Stores a batch: all of it, durably, or nothing. Idempotent three times over: positions at or below the stored
    /// checkpoint of the same queue are [`AppendOutcome::AlreadyApplied`]; events known by id (as far back as their
    /// `deduplication` asks, and within the batch) are [`AppendOutcome::Duplicate`]; the rest become rows.
    /// The ledger of each project and UTC day of `received_at` counts what happened, in the same transaction. Events that are moved from
    /// another store become rows whatever is known of their ids, and are not counted.
    async fn append(&self, batch: AppendBatch) -> Result<AppendReport, StoreError>;

    /// Says which batch most likely comes next, while the one before it is being stored: a store may begin with what changes nothing.
    /// Binds nobody. The batch is known again by its `items` and `checkpoint`; `counts` may still grow.
    fn announce(&self, batch: &AppendBatch) {
        let _ = batch;
    }

    /// How far the queue with this id has been stored.
    async fn checkpoint(&self, queue: uuid::Uuid) -> Result<Option<u64>, StoreError>;

    /// How far every queue has been stored, in no order: all that another store needs to go on from here.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError>;

    /// As of when each of these ids, which clients gave to events of `project`, is claimed, in order: whoever brings one again is late.
    /// To the precision of the store's own periods of some days, and never later than the claim itself; `None`: it is not remembered.
    async fn claims(&self, project: ProjectId, ids: Vec<EventId>) -> Result<Vec<Option<Timestamp>>, StoreError>;

    /// Answers a statement; stopped after [`model::limits::QUERY_TIMEOUT`]. Sees all batches whose append has returned (where a replica answers:
    /// seconds ago, see [`Self::replica`]). One project's statements never take all places: a store refuses as [`StoreError::Overloaded`]
    /// whoever waits for one too long.
    async fn read(&self, statement: Statement) -> Result<Rows, StoreError>;

    /// Every entry of the ledger.
    async fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Deletes a project's events with a time before `before`; all of them when `None`. Returns how many
    /// (with `dry_run`: would be) deleted. The ledger keeps its counts.
    async fn delete(&self, project: ProjectId, before: Option<Timestamp>, dry_run: bool) -> Result<u64, StoreError>;

    /// Deletes the events of several projects, each before its own time, and returns how many of each, in order. The same as
    /// [`EventStore::delete`] for each; a store that keeps stretches of time apart can let go at once of what no project keeps.
    async fn delete_expired(&self, expired: &[(ProjectId, Timestamp)]) -> Result<Vec<u64>, StoreError> {
        let mut deleted = Vec::with_capacity(expired.len());
        for (project, before) in expired {
            deleted.push(self.delete(*project, Some(*before), false).await?);
        }
        Ok(deleted)
    }

    /// Gives the space of deleted events back to the file system when that is worth it (always, with `force`).
    /// Appends wait while it works; reads do not. When the returned future is dropped, or the store closes, it stops and nothing has changed.
    async fn reclaim(&self, force: bool) -> Result<Reclaimed, StoreError>;

    /// The state now.
    async fn status(&self, now: Timestamp) -> Result<StoreStatus, StoreError>;

    /// The copy that [`Self::read`] asks first, as it was a moment ago; `None` where there is none. Everything else asks the store itself.
    fn replica(&self) -> Option<ReplicaStatus> {
        None
    }

    /// A cheap call that fails when reading or writing would, but not because others read. After it has failed it succeeds again once the
    /// cause is gone, though nothing else is asked of the store.
    async fn check(&self) -> Result<(), StoreError>;

    /// Finishes what is being written and closes; later calls fail as unavailable.
    async fn close(&self) -> Result<(), StoreError>;
}
