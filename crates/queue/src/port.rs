//! The port that every queue implements: the embedded one, Redis Streams.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use model::{ProjectId, Timestamp};
use serde::Serialize;

use crate::{Record, Records};

/// Where a record stands in its queue. Grows with every append, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// A record handed to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Names the record to [`EventQueue::acknowledge`] and its siblings.
    pub position: Position,
    /// 1 at the first delivery, one more at each further one that this process knows of.
    pub attempt: u32,
    /// The record, as appended.
    pub record: Record,
}

/// A record set aside, with why.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where it stood.
    pub position: Position,
    /// Why it was set aside, for people.
    pub reason: String,
    /// How often it had been delivered.
    pub attempts: u32,
    /// When it was set aside.
    pub dead_at: Timestamp,
    /// The record, as appended.
    pub record: Record,
}

/// The state of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Events appended and not yet acknowledged or dead-lettered.
    pub waiting: u64,
    /// The same by project; absent = 0.
    pub waiting_by_project: HashMap<ProjectId, u64>,
    /// Events delivered and not yet acknowledged: part of `waiting`.
    pub delivered: u64,
    /// `received_at` of the first waiting event.
    pub oldest_received_at: Option<Timestamp>,
    /// Bytes on disk (or in the server that keeps the queue).
    pub bytes: u64,
    /// The next record's position: every record so far stands before it.
    pub end: Position,
    /// Records set aside.
    pub dead_letters: u64,
    /// Records lost to damage of the medium, as far as known; 0 unless something is wrong. Survives a restart.
    pub damaged_records: u64,
    /// Processes that take from it; `None` where it is only this one.
    pub consumers: Option<u64>,
    /// What else the operator should know, for people.
    pub note: Option<String>,
}

/// What can go wrong in a queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No room; nothing of the append was kept. Retry later.
    #[error("the queue is full: {0}")]
    Full(String),
    /// The medium failed; nothing of the append may be taken as kept. Retry later.
    #[error("the queue cannot write: {0}")]
    Unavailable(String),
    /// The queue is closed for good.
    #[error("the queue is shutting down")]
    Closed,
}

/// A durable, bounded, ordered queue with one consumer group.
///
/// Ordering: records of one append are delivered in their order; appends that do not overlap in time are delivered in theirs.
#[async_trait]
pub trait EventQueue: Send + Sync + 'static {
    /// Names this queue for the store's checkpoint: positions of two queues with the same id are comparable.
    /// Fixed at creation; a queue that was created anew has another id. Of a shared queue it names what this process takes from it.
    fn id(&self) -> uuid::Uuid;

    /// Whether several processes take from this queue. Then a record may come to a second process because the first one seems dead, or twice because
    /// the answer to its append was lost, each time under another position: the store must know the event by its id. What comes to one process
    /// still comes in the order of positions, so that its checkpoint holds.
    fn is_shared(&self) -> bool {
        false
    }

    /// Appends all records or none, and returns once they are durable. Appends that wait at the same time share one flush.
    async fn append(&self, records: Records) -> Result<(), QueueError>;

    /// The next records, at most `max_records`, in order. Waits up to `wait` for the first one, then returns what is there.
    /// Records that were delivered and neither acknowledged nor given to [`Self::retry`] are not delivered again by this process.
    async fn read(&self, max_records: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError>;

    /// Forgets records for good: they are stored. Idempotent; unknown positions are ignored. Not durable at once: after a crash
    /// acknowledged records may come again.
    async fn acknowledge(&self, positions: &[Position]) -> Result<(), QueueError>;

    /// Gives deliveries back: they come again, in order and before any later record, once `delay` has passed.
    async fn retry(&self, positions: &[Position], delay: Duration) -> Result<(), QueueError>;

    /// Sets a delivery aside durably with its reason. It waits on until it is acknowledged, so that its end can be counted first: after a
    /// crash in between it comes again, and setting it aside once more changes nothing.
    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError>;

    /// The records set aside at `from` or later, in the order of their positions, at most `limit`. Damaged ones are left out.
    async fn dead_letters(&self, from: Position, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Forgets dead letters for good, damaged ones too; durable when it returns. Returns how many there were; unknown positions are ignored.
    async fn discard_dead_letters(&self, positions: &[Position]) -> Result<u64, QueueError>;

    /// The state now.
    async fn status(&self) -> Result<QueueStatus, QueueError>;

    /// A cheap call that fails when an append would. After it has failed it succeeds again once the cause is gone, though nothing is
    /// appended meanwhile.
    async fn check(&self) -> Result<(), QueueError>;

    /// Makes acknowledgements durable and refuses further appends.
    async fn close(&self) -> Result<(), QueueError>;
}
