//! The queue in Redis Streams, for servers that share one.
//!
//! # What is kept
//!
//! See `keys` for the names. An entry's id is `position-0`. Positions come from a counter that follows the clock in microseconds: a Redis that
//! lost its last seconds, or all it had, gives no position again (unless its clock goes back further than it was away; see
//! `REDIS_RESTART_SKIP_MICROS`). That matters more than anything: the store takes a position that it has seen for an event that it has.
//!
//! Whatever must not happen by halves is a script: Redis runs it as one step.
//!
//! # Who has what
//!
//! Every process reads under a name of its own that stays the same when it starts again (`RedisOptions::consumer`), and what it was given
//! and has not acknowledged is pending under that name. Its new records come with growing positions, and before any new one it reads its pending
//! ones. So the store keeps a checkpoint for every consumer ([`crate::EventQueue::id`] is made of the queue's id and the consumer's name), and "all up to
//! here is done" is true of what this consumer was given. That holds even if two processes read under one name, or a call arrives late: each
//! epoch of a connection has a tenure, and a call of an earlier one is refused (`scripts/fetch.lua`).
//!
//! A consumer that says nothing for `QUEUE_CONSUMER_DEAD_AFTER` is dead. What it held is put back at the end of the stream, under new positions
//! (`scripts/sweep.lua`): not claimed, because a claimed record's position may be below the checkpoint of whoever claims it, and the store would
//! swallow it. It may have been stored already, so that the store must know events of a shared queue by their ids
//! ([`crate::EventQueue::is_shared`]).
//!
//! # What is promised
//!
//! An append that returned is as durable as Redis makes what it confirms (`keeper::promise`). One that failed may still have been
//! appended: its answer was lost.

mod address;
mod entry;
mod fetch;
mod inspect;
mod keeper;
mod keys;
mod letters;
mod limiter;
mod link;
mod nodes;
mod scripts;
mod state;
mod status;
mod writer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use model::{Clock, limits};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use uuid::Uuid;

pub use self::{
    address::{RedisAddress, RedisUrlError, urls},
    inspect::inspect,
    limiter::{SharedWindow, Verdict},
};
use self::{
    fetch::Wish,
    keeper::Facts,
    keys::{GROUP, Keys},
    link::{Failure, Link, Server},
    scripts::Scripts,
    state::{State, Taken},
    writer::{Inbox, Mark},
};
use crate::{DeadLetter, Delivery, EventQueue, Position, QueueError, QueueStatus, Record, Records};

/// How a queue in Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Put before every key, so that several installations share a Redis; on a cluster one with a hash tag, such as `{shop}:`.
    pub prefix: String,
    /// Name of this process among the consumers. The same at every start, and nobody else's.
    pub consumer: String,
    /// Bytes that may wait; beyond it appends are refused.
    pub bytes_max: u64,
    /// Silence after which a consumer is dead.
    pub consumer_dead_after: Duration,
    /// Replicas that must have an append before it is confirmed; what so many of them have survives a failover to one of them.
    pub wait_replicas: u32,
    /// What this process does, with commas between, for people who ask the queue: `api,worker`.
    pub roles: String,
}

impl RedisOptions {
    /// The usual ones, for a consumer.
    pub fn new(consumer: impl Into<String>) -> Self {
        Self {
            prefix: String::new(),
            consumer: consumer.into(),
            bytes_max: limits::REDIS_QUEUE_BYTES_MAX_DEFAULT,
            consumer_dead_after: limits::QUEUE_CONSUMER_DEAD_AFTER,
            wait_replicas: 0,
            roles: String::new(),
        }
    }
}

/// What the tasks of a queue share.
struct Core {
    options: RedisOptions,
    keys: Keys,
    scripts: Scripts,
    server: Arc<Server>,
    /// For everything that does not wait.
    control: Link,
    /// For what another queue brings: nobody else may wait while replicas are waited for.
    copying: Link,
    state: Mutex<State>,
    /// Something may have come into `state`.
    readable: Notify,
    /// Held while acknowledgements are sent.
    flushing: tokio::sync::Mutex<()>,
    facts: Mutex<Facts>,
    /// Entries that somebody else removed, since the start.
    removed: AtomicU64,
    closed: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// A queue in Redis. See the module.
pub struct RedisQueue {
    core: Arc<Core>,
    inbox: Mutex<Option<Inbox>>,
    wishes: mpsc::Sender<Wish>,
    writer: Mutex<Option<JoinHandle<()>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl RedisQueue {
    /// Connects, or goes on trying while Redis is away: [`EventQueue::check`] tells.
    pub async fn open(address: &RedisAddress, options: RedisOptions, clock: Arc<dyn Clock>) -> Self {
        let keys = Keys::new(&options.prefix);
        let server = Arc::new(Server::new(address, keys.all().map(str::to_owned).into()));
        let core = Arc::new(Core {
            keys,
            scripts: Scripts::default(),
            control: Link::new(Arc::clone(&server)),
            copying: Link::new(Arc::clone(&server)),
            server,
            // Until Redis has told the queue's id.
            state: Mutex::new(State::new(Uuid::new_v5(&Uuid::nil(), options.consumer.as_bytes()))),
            readable: Notify::new(),
            flushing: tokio::sync::Mutex::default(),
            facts: Mutex::default(),
            removed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            clock,
            options,
        });
        if let Err(failure) = core.greet().await {
            tracing::warn!(%failure, "redis does not answer at the start");
        }
        let (inbox, requests) = Inbox::new();
        let (wishes, wished) = mpsc::channel(fetch::WISHES_MAX);
        let tasks = vec![
            tokio::spawn(fetch::run(Arc::clone(&core), wished)),
            tokio::spawn(keeper::run(Arc::clone(&core))),
        ];
        Self {
            writer: Mutex::new(Some(tokio::spawn(writer::run(Arc::clone(&core), requests)))),
            inbox: Mutex::new(Some(inbox)),
            wishes,
            tasks,
            core,
        }
    }

    /// Whether Redis answers, as far as is known; if not, why.
    pub fn away(&self) -> Option<String> {
        self.core.server.availability().away.map(|why| why.to_string())
    }

    /// Returns when Redis answers.
    pub async fn back(&self) {
        let mut watch = self.core.server.watch();
        // The sender lives as long as the queue.
        let _ = watch.wait_for(|now| now.away.is_none()).await;
    }

    /// Copies records of another queue, in order, each once however often they are brought: how far that queue was copied is kept beside
    /// the stream. `records` follow each other in their queue, and nobody else copies from it.
    pub async fn forward(&self, from: Uuid, records: &[(Position, Record)]) -> Result<(), QueueError> {
        let core = &self.core;
        let mut command = redis::cmd("HGET");
        command.arg(&core.keys.marks).arg(from.to_string());
        let mark: Option<u64> = core.control.query(&command, limits::REDIS_ANSWER_TIMEOUT).await?;
        let mut mark = mark.unwrap_or(0);
        let rest = records
            .iter()
            .filter(|(position, _)| position.0 > mark)
            .collect::<Vec<_>>();
        let mut rest = &rest[..];
        if rest.is_empty() {
            // They may have come with a call whose answer said that replicas were missing.
            return Ok(writer::wait_for_replicas(core, &core.copying).await?);
        }
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().position(|(_, record)| {
                bytes += entry::bytes(&record.payload);
                bytes > limits::REDIS_GROUP_BYTES_MAX
            });
            let (part, after) = rest.split_at(fits.unwrap_or(rest.len()).max(1));
            rest = after;
            let next = part.last().map_or(mark, |(position, _)| position.0);
            let part: Records = part.iter().map(|(_, record)| record.clone()).collect();
            let moved = Mark {
                name: from.to_string(),
                expected: mark,
                next,
            };
            match writer::append(core, &core.copying, &[&part], &moved).await?[..] {
                [1] => mark = next,
                [0] => return Err(core.full()),
                // An earlier call arrived late.
                _ => {
                    return Err(QueueError::Unavailable(
                        "the queue was copied by another call".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    fn inbox(&self) -> Result<Inbox, QueueError> {
        lock(&self.inbox).clone().ok_or(QueueError::Closed)
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn facts(&self) -> Facts {
        lock(&self.facts).clone()
    }

    fn full(&self) -> QueueError {
        QueueError::Full(format!(
            "Redis holds as much as it may: {} bytes",
            self.options.bytes_max
        ))
    }

    /// Removes an entry that holds no record.
    async fn drop_entry(&self, (first, second): (u64, u64)) -> Result<(), Failure> {
        self.removed.fetch_add(1, Ordering::Relaxed);
        let id = format!("{first}-{second}");
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("XACK")
            .arg(&self.keys.stream)
            .arg(GROUP)
            .arg(&id)
            .ignore()
            .cmd("XDEL")
            .arg(&self.keys.stream)
            .arg(&id)
            .ignore();
        self.control.pipeline(&pipeline, limits::REDIS_ANSWER_TIMEOUT).await
    }

    /// Tells Redis what was acknowledged.
    async fn flush_acknowledged(&self) -> Result<(), Failure> {
        let _alone = self.flushing.lock().await;
        loop {
            let acknowledged = self.lock().acknowledged(limits::REDIS_ACKNOWLEDGE_RECORDS);
            if acknowledged.is_empty() {
                return Ok(());
            }
            let keys = [&*self.keys.stream, &self.keys.state, &self.keys.projects];
            let mut command = scripts::call(&self.scripts.acknowledge, &keys);
            command.arg(GROUP).arg(limits::REDIS_ENTRY_OVERHEAD_BYTES);
            for record in &acknowledged {
                command
                    .arg(record.position)
                    .arg(record.bytes)
                    .arg(record.project.to_string())
                    .arg(record.events);
            }
            let _: u64 = self.control.query(&command, limits::REDIS_ANSWER_TIMEOUT).await?;
            self.lock().confirmed(&acknowledged);
        }
    }

    /// What is left comes again at the next start, and that is no delivery which a worker did not survive.
    async fn leave(&self) -> Result<(), Failure> {
        let left = self.lock().left();
        for positions in left.chunks(limits::REDIS_ACKNOWLEDGE_RECORDS) {
            let mut command = redis::cmd("XCLAIM");
            command
                .arg(&self.keys.stream)
                .arg(GROUP)
                .arg(&self.options.consumer)
                .arg(0);
            for position in positions {
                command.arg(format!("{position}-0"));
            }
            command.arg("RETRYCOUNT").arg(0).arg("JUSTID");
            let _: Vec<String> = self.control.query(&command, limits::REDIS_ANSWER_TIMEOUT).await?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl EventQueue for RedisQueue {
    fn id(&self) -> Uuid {
        self.core.lock().id()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn append(&self, records: Records) -> Result<(), QueueError> {
        if records.is_empty() {
            return Ok(());
        }
        self.inbox()?.append(records).await
    }

    async fn read(&self, max_records: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        if max_records == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        let mut asked = false;
        loop {
            // Made before looking: it hears of all that arrives from here on.
            let changed = self.core.readable.notified();
            let now = Instant::now();
            let taken = self.core.lock().take(max_records, now);
            let until = match taken {
                Taken::Records(records) => return Ok(records),
                Taken::NotBefore(due) => {
                    if now >= deadline {
                        return Ok(Vec::new());
                    }
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(due.min(deadline)) => {}
                    }
                    continue;
                }
                Taken::Nothing => deadline,
            };
            // Without time to wait Redis is asked once all the same.
            if asked && now >= deadline {
                return Ok(Vec::new());
            }
            asked = true;
            let (done, answer) = oneshot::channel();
            let wish = Wish {
                wait: until.saturating_duration_since(now),
                done,
            };
            self.wishes.send(wish).await.map_err(|_| QueueError::Closed)?;
            tokio::select! {
                answer = answer => answer.unwrap_or(Err(QueueError::Closed))?,
                () = changed => {}
            }
        }
    }

    async fn acknowledge(&self, positions: &[Position]) -> Result<(), QueueError> {
        self.core.lock().acknowledge(positions);
        match self.core.flush_acknowledged().await {
            // They are told to Redis when it is back.
            Err(Failure::Away(_)) | Ok(()) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn retry(&self, positions: &[Position], delay: Duration) -> Result<(), QueueError> {
        self.core.lock().give_back(positions, Instant::now(), delay);
        self.core.readable.notify_waiters();
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        Ok(self.core.set_aside(delivery, reason).await?)
    }

    async fn dead_letters(&self, from: Position, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.core.dead_letters(from, limit).await?)
    }

    async fn discard_dead_letters(&self, positions: &[Position]) -> Result<u64, QueueError> {
        Ok(self.core.discard_dead_letters(positions).await?)
    }

    async fn status(&self) -> Result<QueueStatus, QueueError> {
        Ok(self.core.status().await?)
    }

    async fn check(&self) -> Result<(), QueueError> {
        if self.core.closed.load(Ordering::Relaxed) {
            return Err(QueueError::Closed);
        }
        self.core.check().await
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.core.closed.store(true, Ordering::Relaxed);
        lock(&self.inbox).take();
        let writer = lock(&self.writer).take();
        let Some(writer) = writer else { return Ok(()) };
        if let Err(error) = writer.await {
            tracing::error!(%error, "the writer of the queue has failed");
        }
        self.core.flush_acknowledged().await?;
        Ok(self.core.leave().await?)
    }
}

impl Drop for RedisQueue {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Some(writer) = lock(&self.writer).take() {
            writer.abort();
        }
    }
}
