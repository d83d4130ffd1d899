//! Moves events from the queue into the store: read, enrich, store, then acknowledge.
//!
//! Order matters. Batches are stored in the order of the queue, because the store's checkpoint says "everything up to here is
//! done"; so an event that the store refuses is dead-lettered before anything behind it is stored.

mod batch;
mod count;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::{LedgerEntry, Outcome, ProjectId, Source, Tally, Timestamp, ledger::utc_day, limits};
use queue::{Delivery, Position, QueueError};
use store::{AppendBatch, AppendReport, Checkpoint, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::batch::{Prepared, Refused};
use crate::{admin::types::ProcessReport, engine::Engine};

/// First and longest wait before a batch that the store could not take is tried again.
const RETRY_WAIT_FIRST: Duration = Duration::from_millis(50);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Records of one read of the queue, at the end of a batch of large ones: it may become larger by as many.
const READ_RECORDS_MIN: usize = 16;
/// How long a read waits for the first record before the worker looks whether it should stop.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// Takes from one queue into one store. Workers of a process take turns, batch by batch.
pub struct Worker {
    engine: Arc<Engine>,
    /// Sources that the metadata store is known to have, beyond those of the directory.
    known_sources: HashSet<(ProjectId, String)>,
    batch_events_max: usize,
    report: ProcessReport,
}

/// What the worker whose turn it is finds.
#[derive(Default)]
pub struct Turn {
    /// The batch behind the last one, read while that one was stored.
    ahead: Option<Taken>,
    /// What was read, and neither acknowledged nor given back. More than `ahead` has only after a turn that was dropped half way.
    unfinished: Vec<Position>,
}

/// A batch that was read and enriched, and is not yet stored.
struct Taken {
    prepared: Prepared,
    positions: Vec<Position>,
    /// See [`Collected`].
    is_full: bool,
    /// When the server took its oldest event.
    oldest: Option<Timestamp>,
    started: Instant,
}

/// Enriches what was read; `None` when that is nothing.
async fn take(engine: &Engine, collected: Collected) -> Result<Option<Taken>, QueueError> {
    let Collected {
        queue,
        deliveries,
        is_full,
    } = collected;
    if deliveries.is_empty() {
        return Ok(None);
    }
    let started = Instant::now();
    let positions = deliveries.iter().map(|delivery| delivery.position).collect();
    let oldest = deliveries.iter().map(|delivery| delivery.record.received_at).min();
    let enricher = Arc::clone(engine.enricher());
    let is_shared = engine.queue().is_shared();
    // `prepare` catches panics per event; what is left can only be the runtime shutting down.
    let prepared = tokio::task::spawn_blocking(move || batch::prepare(queue, deliveries, &enricher, is_shared))
        .await
        .map_err(|_| QueueError::Closed)?;
    Ok(Some(Taken {
        prepared,
        positions,
        is_full,
        oldest,
        started,
    }))
}

/// What was read for a batch.
struct Collected {
    /// The queue's id when it was read.
    queue: Uuid,
    deliveries: Vec<Delivery>,
    /// More would be too many, or too large: there may be more behind it.
    is_full: bool,
}

/// Records to ask for, so that the largest ones there are do not exceed what is left of a batch.
fn records_that_fit(left_events: usize, left_bytes: usize) -> usize {
    left_events.min((left_bytes / limits::PROPERTIES_BYTES_MAX).max(READ_RECORDS_MIN))
}

/// Reads until the batch is full, [`limits::STORE_BATCH_WAIT`] has passed since its first record, or, without `wait`, nothing more lies
/// there: a queue hands out what it has in memory first, and that is seldom a whole batch.
async fn collect(
    engine: &Engine,
    batch_events_max: usize,
    wait: Duration,
    unfinished: &mut Vec<Position>,
) -> Result<Collected, QueueError> {
    let queue = engine.queue().id();
    let mut deliveries: Vec<Delivery> = Vec::new();
    let mut left_bytes = limits::STORE_BATCH_BYTES_MAX;
    let mut deadline = None;
    let is_full = loop {
        let left_events = batch_events_max - deliveries.len();
        if left_events == 0 || left_bytes == 0 {
            break true;
        }
        let rest = match deadline {
            None => wait,
            Some(_) if wait.is_zero() => Duration::ZERO,
            Some(deadline) => Instant::saturating_duration_since(&deadline, Instant::now()),
        };
        if rest.is_zero() && !wait.is_zero() {
            break false;
        }
        match engine
            .queue()
            .read(records_that_fit(left_events, left_bytes), rest)
            .await
        {
            // It was lost or another server took over: positions under one id must not stand in a checkpoint of another.
            Ok(more) if engine.queue().id() != queue => {
                let positions: Vec<Position> = more.iter().map(|delivery| delivery.position).collect();
                engine.queue().retry(&positions, Duration::ZERO).await?;
                break false;
            }
            Ok(more) if more.is_empty() && (deadline.is_none() || wait.is_zero()) => break false,
            Ok(more) => {
                deadline = deadline.or_else(|| Some(Instant::now() + limits::STORE_BATCH_WAIT));
                let bytes: usize = more.iter().map(|delivery| delivery.record.payload.len()).sum();
                left_bytes = left_bytes.saturating_sub(bytes);
                unfinished.extend(more.iter().map(|delivery| delivery.position));
                deliveries.extend(more);
            }
            Err(error) if deliveries.is_empty() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the queue failed while a batch was filling; storing what is there");
                break false;
            }
        }
    };
    Ok(Collected {
        queue,
        deliveries,
        is_full,
    })
}

/// Why a batch was not finished.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue failed; its records come again.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The worker was told to stop while the store was away; its records come again.
    #[error("stopped while the event store was unavailable: {0}")]
    Stopped(StoreError),
}

impl Worker {
    /// A worker that stores batches of at most `batch_events_max` events.
    pub fn new(engine: Arc<Engine>, batch_events_max: usize) -> Self {
        Self {
            engine,
            known_sources: HashSet::new(),
            batch_events_max: batch_events_max.clamp(1, limits::STORE_BATCH_EVENTS_MAX),
            report: ProcessReport::default(),
        }
    }

    /// Works until `stop`, then until the queue is empty or `abort`. Failures are logged and tried again.
    pub async fn run(mut self, stop: CancellationToken, abort: CancellationToken) {
        self.engine.consumers.fetch_add(1, Ordering::Relaxed);
        let mut is_away = false;
        loop {
            let stopping = stop.is_cancelled();
            match self
                .step(&abort, if stopping { Duration::ZERO } else { IDLE_WAIT })
                .await
            {
                Ok(0) if stopping => break,
                Ok(_) => is_away = false,
                Err(error) if abort.is_cancelled() => {
                    tracing::warn!(%error, "stopped before the queue was empty; its events are stored at the next start");
                    break;
                }
                // A queue that others keep is looked after by itself, and a stop need not wait for it.
                Err(WorkerError::Queue(QueueError::Unavailable(_))) if stopping => break,
                Err(error) => {
                    // Once: it is tried again and again.
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::error!(%error, "the worker could not read the queue; tried again until it can");
                    }
                    tokio::time::sleep(RETRY_WAIT_FIRST).await;
                }
            }
            if abort.is_cancelled() {
                break;
            }
        }
        self.engine.consumers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Works until the queue is empty or `max_batches` are stored.
    pub async fn process(mut self, max_batches: Option<u64>) -> Result<ProcessReport, WorkerError> {
        let started = Instant::now();
        let never = CancellationToken::new();
        while max_batches.is_none_or(|most| self.report.batches < most) {
            if self.step(&never, Duration::ZERO).await? == 0 {
                break;
            }
        }
        self.report.waiting = self.engine.queue().status().await?.waiting;
        self.report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(self.report)
    }

    /// One batch. Returns how many records it had.
    async fn step(&mut self, abort: &CancellationToken, wait: Duration) -> Result<usize, WorkerError> {
        let engine = Arc::clone(&self.engine);
        // Two batches at once would reach the store in any order, and the later checkpoint would swallow the earlier batch.
        let mut turn = engine.worker_turn.lock().await;
        let Turn { ahead, unfinished } = &mut *turn;
        if ahead.is_none() && !unfinished.is_empty() {
            // A caller went away, or the code broke. Overtaken, these events would count as stored.
            engine.queue().retry(unfinished, Duration::ZERO).await?;
            unfinished.clear();
        }
        let taken = match ahead.take() {
            Some(taken) => taken,
            None => match take(
                &engine,
                collect(&engine, self.batch_events_max, wait, unfinished).await?,
            )
            .await?
            {
                Some(taken) => taken,
                None => return Ok(0),
            },
        };
        let Taken {
            prepared,
            positions,
            is_full,
            oldest,
            started,
        } = taken;
        // Behind a full batch there is more: it is read and enriched while this one is stored.
        let batch_events_max = self.batch_events_max;
        let next = async {
            if !is_full {
                return Ok(None);
            }
            let collected = collect(&engine, batch_events_max, Duration::ZERO, unfinished).await?;
            let next = take(&engine, collected).await?;
            if let Some(next) = &next {
                engine.store().announce(&next.prepared.append());
            }
            Ok::<_, QueueError>(next)
        };
        let (next, finished) = tokio::join!(next, self.finish(prepared, abort));
        match next {
            Ok(next) => *ahead = next,
            Err(error) => {
                tracing::warn!(%error, "the next batch could not be read ahead; it is read again in its turn");
            }
        }
        if let Err(error) = finished {
            // Nothing may overtake this batch: what was taken ahead of its turn goes back with it.
            *ahead = None;
            engine.queue().retry(unfinished, RETRY_WAIT_FIRST).await?;
            unfinished.clear();
            return Err(error);
        }
        engine.queue().acknowledge(&positions).await?;
        let finished: HashSet<Position> = positions.iter().copied().collect();
        unfinished.retain(|position| !finished.contains(position));
        let metrics = &engine.metrics;
        metrics.batch_seconds.record(started.elapsed().as_secs_f64());
        if let Some(oldest) = oldest {
            let lag = engine.clock().now().micros_since(oldest);
            #[expect(clippy::cast_precision_loss, reason = "a duration for a histogram")]
            metrics.lag_seconds.record(lag.max(0) as f64 / 1e6);
        }
        self.report.batches += 1;
        Ok(positions.len())
    }

    async fn finish(&mut self, mut prepared: Prepared, abort: &CancellationToken) -> Result<(), WorkerError> {
        self.ensure_sources(&prepared).await;
        let mut dead = Vec::new();
        for Refused { delivery, reason } in std::mem::take(&mut prepared.refused) {
            dead.push(self.dead_letter(delivery, &reason).await?);
        }
        let mut batch = prepared.append();
        prepared.release_items();
        batch.counts.extend(dead);
        self.store(batch, &prepared, abort).await
    }

    /// Stores a batch. What the store refuses as a whole is halved until the events at fault are alone; those are dead letters.
    async fn store(
        &mut self,
        batch: AppendBatch,
        prepared: &Prepared,
        abort: &CancellationToken,
    ) -> Result<(), WorkerError> {
        // In order, first half first: see the module.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.append(&part, abort).await? {
                Ok(report) => self.count(&part, &report).await,
                Err(_) if part.items.len() > 1 => {
                    let (first, second) = halve(part);
                    parts.push(second);
                    parts.push(first);
                }
                Err(reason) => self.set_aside(part, &reason, prepared, abort).await?,
            }
        }
        Ok(())
    }

    /// Appends until the store takes the batch or refuses it for good.
    async fn append(
        &self,
        batch: &AppendBatch,
        abort: &CancellationToken,
    ) -> Result<Result<AppendReport, String>, WorkerError> {
        let mut wait = RETRY_WAIT_FIRST;
        loop {
            match self.engine.store().append(batch.clone()).await {
                Ok(report) => return Ok(Ok(report)),
                Err(error) if error.is_retriable() => {
                    self.engine.metrics.store_retries.increment(1);
                    tracing::warn!(%error, events = batch.items.len(), retry_ms = wait.as_millis(), "the store could not take a batch; its events wait");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY_WAIT_MAX),
                        () = abort.cancelled() => return Err(WorkerError::Stopped(error)),
                    }
                }
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    /// The last resort for a single event: a few more tries, then a dead letter, counted under its position.
    async fn set_aside(
        &mut self,
        part: AppendBatch,
        reason: &str,
        prepared: &Prepared,
        abort: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let mut wait = RETRY_WAIT_FIRST;
        for _ in 1..limits::EVENT_TRIES_MAX {
            tokio::time::sleep(wait).await;
            wait *= 2;
            if let Ok(report) = self.append(&part, abort).await? {
                self.count(&part, &report).await;
                return Ok(());
            }
        }
        let mut rest = AppendBatch {
            items: Arc::default(),
            ..part
        };
        for item in part.items.iter() {
            if let Some(delivery) = prepared.delivery(item.position) {
                let count = self.dead_letter(delivery.clone(), reason).await?;
                rest.counts.push(count);
            }
        }
        let report = self.append(&rest, abort).await?.unwrap_or_else(|reason| {
            tracing::error!(
                reason,
                "the store refused the ledger counts of a batch; the ledger will be short of them"
            );
            AppendReport::default()
        });
        self.count(&rest, &report).await;
        Ok(())
    }

    /// Sets a delivery aside. It is counted with the batch, and acknowledged after it: a crash in between brings it here once more.
    async fn dead_letter(&self, delivery: Delivery, reason: &str) -> Result<(u64, LedgerEntry), WorkerError> {
        let record = &delivery.record;
        tracing::error!(project.id = %record.project_id, position = delivery.position.0, reason, "an event was set aside");
        self.engine.queue().dead_letter(&delivery, reason).await?;
        let entry = LedgerEntry {
            project_id: record.project_id,
            day: utc_day(record.received_at),
            outcome: Outcome::DeadLettered,
            count: u64::from(record.events),
        };
        Ok((delivery.position.0, entry))
    }

    /// Makes the sources that are seen for the first time. A failure costs the listing of a source, never an event.
    async fn ensure_sources(&mut self, prepared: &Prepared) {
        let now = self.engine.clock().now();
        let mut new: Vec<Source> = Vec::new();
        let mut last: Option<(ProjectId, &String)> = None;
        for item in prepared.items.iter() {
            let Some(name) = &item.event.event_source else { continue };
            let project = item.event.project_id;
            // Neighbours mostly come from one source.
            if last.replace((project, name)) == Some((project, name)) {
                continue;
            }
            let listed = || {
                self.engine
                    .directory
                    .operator(project)
                    .is_none_or(|scope| scope.source(name).is_some())
            };
            if self.known_sources.contains(&(project, name.clone())) || listed() {
                continue;
            }
            self.known_sources.insert((project, name.clone()));
            new.push(Source::auto_created(project, name, now));
        }
        if new.is_empty() {
            return;
        }
        if let Err(error) = self.engine.meta().ensure_sources(&new).await {
            tracing::warn!(%error, "new sources could not be listed; tried again when they are seen next");
            for source in new {
                self.known_sources.remove(&(source.project_id, source.name));
            }
        }
        // Bounded: names come from clients. The directory knows by now what was in it.
        if self.known_sources.len() > limits::SOURCES_PER_PROJECT_MAX {
            self.known_sources.clear();
        }
    }
}

/// Splits a batch in two; the first half's checkpoint is its own last position.
fn halve(batch: AppendBatch) -> (AppendBatch, AppendBatch) {
    let mut items = Arc::unwrap_or_clone(batch.items);
    let rest = items.split_off(items.len() / 2);
    let last = items.last().map(|item| item.position);
    let (first_counts, counts) = batch
        .counts
        .into_iter()
        .partition(|(position, _)| Some(*position) <= last);
    let second = AppendBatch {
        items: rest.into(),
        counts,
        checkpoint: batch.checkpoint,
    };
    let checkpoint = batch
        .checkpoint
        .zip(last)
        .map(|(whole, position)| Checkpoint { position, ..whole });
    (
        AppendBatch {
            items: items.into(),
            counts: first_counts,
            checkpoint,
        },
        second,
    )
}

/// A tally's outcomes as ledger entries.
fn tally_entries(tally: &Tally) -> impl Iterator<Item = LedgerEntry> + '_ {
    let rejected = tally
        .rejected
        .iter()
        .map(|(rejection, count)| (Outcome::Rejected(*rejection), *count));
    let day = utc_day(tally.received_at);
    rejected
        .chain([(Outcome::SampledOut, tally.sampled_out)])
        .filter(|(_, count)| *count > 0)
        .map(move |(outcome, count)| LedgerEntry {
            project_id: tally.project_id,
            day,
            outcome,
            count,
        })
}
