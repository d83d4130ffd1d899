//! The queue in Redis, with one on the local disk for the time that Redis is away.
//!
//! An append goes to Redis; when Redis cannot confirm it, to the local queue, and is confirmed once that has flushed it. What lies there is
//! copied into Redis, in order, as soon as Redis answers, and until then later appends of this process queue up behind it. A copy
//! and the note of how far it went are one step in Redis ([`RedisQueue::forward`]), so that a crash before the local acknowledgement copies nothing
//! twice. One thing can come twice: an append whose answer Redis owed when it went away. It may be in Redis, and it is in the local queue for
//! certain; the store knows the event by its id, as any of a shared queue ([`EventQueue::is_shared`]). A tally has no id and is then counted twice.
//!
//! Records are read from Redis alone. While it is away, nothing comes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use model::limits;
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use uuid::Uuid;

use crate::{
    DeadLetter, Delivery, EmbeddedQueue, EventQueue, Position, QueueError, QueueStatus, Record, Records, RedisQueue,
};

/// See the module.
pub struct FallbackQueue {
    shared: Arc<Shared>,
    forwarder: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    redis: RedisQueue,
    local: EmbeddedQueue,
    behind: Mutex<Behind>,
    /// Something was appended to the local queue.
    appended: Notify,
}

/// Whether the local queue holds anything.
struct Behind {
    /// It may.
    holds: bool,
    /// Appends to it that are under way.
    under_way: usize,
    /// Appends to it so far.
    appends: u64,
    /// Redis has no room for what it holds, so that there is none for more either.
    full: Option<String>,
}

impl FallbackQueue {
    /// Puts `local` behind `redis`. What it holds from an earlier outage is copied first.
    pub async fn new(redis: RedisQueue, local: EmbeddedQueue) -> Result<Self, QueueError> {
        let first = local.read(1, Duration::ZERO).await?;
        let positions: Vec<Position> = first.iter().map(|delivery| delivery.position).collect();
        local.retry(&positions, Duration::ZERO).await?;
        let shared = Arc::new(Shared {
            redis,
            local,
            behind: Mutex::new(Behind {
                holds: !first.is_empty(),
                under_way: 0,
                appends: 0,
                full: None,
            }),
            appended: Notify::new(),
        });
        let forwarder = tokio::spawn(forward(Arc::clone(&shared)));
        Ok(Self {
            shared,
            forwarder: Mutex::new(Some(forwarder)),
        })
    }

    fn take_forwarder(&self) -> Option<JoinHandle<()>> {
        self.forwarder.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for FallbackQueue {
    fn drop(&mut self) {
        if let Some(forwarder) = self.take_forwarder() {
            forwarder.abort();
        }
    }
}

impl Shared {
    fn behind(&self) -> MutexGuard<'_, Behind> {
        // A few assignments cannot leave it half changed.
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append_local(&self, records: Records) -> Result<(), QueueError> {
        {
            let mut behind = self.behind();
            if let Some(why) = behind.full.as_ref().filter(|_| self.redis.away().is_none()) {
                return Err(QueueError::Full(why.clone()));
            }
            behind.holds = true;
            behind.under_way += 1;
            behind.appends += 1;
        }
        // Also when the caller goes away in the middle.
        let _done = UnderWay(self);
        self.local.append(records).await
    }

    /// The local queue was found empty, after so many appends to it had begun.
    fn found_empty(&self, appends: u64) -> bool {
        let mut behind = self.behind();
        let empty = behind.under_way == 0 && behind.appends == appends;
        if empty {
            behind.holds = false;
        }
        empty
    }
}

struct UnderWay<'a>(&'a Shared);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.behind().under_way -= 1;
        self.0.appended.notify_one();
    }
}

/// Copies what the local queue holds into Redis, for ever.
async fn forward(shared: Arc<Shared>) {
    let mut copied = 0;
    loop {
        let appends = shared.behind().appends;
        shared.redis.back().await;
        let deliveries = match shared.local.read(limits::QUEUE_FORWARD_RECORDS, Duration::ZERO).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                tracing::error!(%error, "the local queue cannot be read; what waits in it is tried again");
                tokio::time::sleep(limits::REDIS_RETRY_INTERVAL).await;
                continue;
            }
        };
        if deliveries.is_empty() {
            if shared.found_empty(appends) && copied > 0 {
                tracing::info!(records = copied, "redis has what was accepted while it was away");
                copied = 0;
            }
            shared.appended.notified().await;
            continue;
        }
        let positions: Vec<Position> = deliveries.iter().map(|delivery| delivery.position).collect();
        let records: Vec<(Position, Record)> = deliveries
            .into_iter()
            .map(|delivery| (delivery.position, delivery.record))
            .collect();
        let forwarded = match shared.redis.forward(shared.local.id(), &records).await {
            Ok(()) => shared.local.acknowledge(&positions).await,
            Err(error) => Err(error),
        };
        shared.behind().full = match &forwarded {
            Err(QueueError::Full(why)) => Some(why.clone()),
            _ => None,
        };
        match forwarded {
            Ok(()) => copied += records.len(),
            Err(error) => {
                tracing::warn!(%error, "redis does not take what was accepted while it was away; tried again");
                if let Err(error) = shared.local.retry(&positions, Duration::ZERO).await {
                    tracing::error!(%error, "records stay in the local queue until the next start");
                }
                tokio::time::sleep(limits::REDIS_RETRY_INTERVAL).await;
            }
        }
    }
}

#[async_trait]
impl EventQueue for FallbackQueue {
    fn id(&self) -> Uuid {
        self.shared.redis.id()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn append(&self, records: Records) -> Result<(), QueueError> {
        if records.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        if shared.behind().holds || shared.redis.away().is_some() {
            return shared.append_local(records).await;
        }
        match shared.redis.append(records.clone()).await {
            Err(QueueError::Unavailable(_)) => shared.append_local(records).await,
            done => done,
        }
    }

    async fn read(&self, max_records: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        let started = Instant::now();
        match self.shared.redis.read(max_records, wait).await {
            // Said once by whoever looks after the connection, and by the status.
            Err(QueueError::Unavailable(why)) => {
                tracing::debug!(why, "nothing can be read now");
                // A refusal may come at once, and a worker must not ask in circles.
                tokio::time::sleep(wait.saturating_sub(started.elapsed())).await;
                Ok(Vec::new())
            }
            read => read,
        }
    }

    async fn acknowledge(&self, positions: &[Position]) -> Result<(), QueueError> {
        self.shared.redis.acknowledge(positions).await
    }

    async fn retry(&self, positions: &[Position], delay: Duration) -> Result<(), QueueError> {
        self.shared.redis.retry(positions, delay).await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        self.shared.redis.dead_letter(delivery, reason).await
    }

    async fn dead_letters(&self, from: Position, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.shared.redis.dead_letters(from, limit).await
    }

    async fn discard_dead_letters(&self, positions: &[Position]) -> Result<u64, QueueError> {
        self.shared.redis.discard_dead_letters(positions).await
    }

    /// While Redis is away, of the local queue alone.
    async fn status(&self) -> Result<QueueStatus, QueueError> {
        let local = self.shared.local.status().await?;
        let (mut status, note) = match self.shared.redis.status().await {
            Ok(mut status) => {
                let note = status.note.take().unwrap_or_default();
                (status, note)
            }
            Err(QueueError::Unavailable(why)) => (QueueStatus::default(), format!("Redis is away ({why})")),
            Err(error) => return Err(error),
        };
        let mut notes = vec![note];
        if local.waiting > 0 {
            notes.push(format!(
                "{} events wait on the local disk to be copied into Redis",
                local.waiting
            ));
        }
        if local.dead_letters > 0 {
            notes.push(format!(
                "{} dead letters are on the local disk, from before the queue was in Redis: without REDIS_URL `dead_letters` shows them",
                local.dead_letters
            ));
        }
        status.note = Some(notes.join("; "));
        status.waiting += local.waiting;
        for (project, waiting) in local.waiting_by_project {
            *status.waiting_by_project.entry(project).or_default() += waiting;
        }
        let oldest = [status.oldest_received_at, local.oldest_received_at];
        status.oldest_received_at = oldest.into_iter().flatten().min();
        status.bytes += local.bytes;
        status.damaged_records += local.damaged_records;
        Ok(status)
    }

    async fn check(&self) -> Result<(), QueueError> {
        if let Some(why) = self.shared.behind().full.clone() {
            return Err(QueueError::Full(why));
        }
        match self.shared.redis.check().await {
            Err(QueueError::Unavailable(_)) => self.shared.local.check().await,
            checked => checked,
        }
    }

    async fn close(&self) -> Result<(), QueueError> {
        if let Some(forwarder) = self.take_forwarder() {
            forwarder.abort();
            // It says that it was aborted.
            let _ = forwarder.await;
        }
        let redis = self.shared.redis.close().await;
        self.shared.local.close().await?;
        redis
    }
}
