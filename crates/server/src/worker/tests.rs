//! The ledger's equation when answers of the store are lost and processes end half way; and the size of batches.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Mutex,
};

use async_trait::async_trait;
use model::{AcceptedEvent, EventId, LedgerTotals, Outcome};
use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue, Record, Records};
use store::{AppendOutcome, EventStore, Reclaimed, Rows, Statement, StoreStatus};
use testkit::{
    build::{accepted_event, project},
    clock::FixedClock,
    directory,
    suites::store::now,
};

use super::*;
use crate::{config::ServerConfig, engine::Backends, limit::LocalRateLimiter};

mod identity;

/// What a [`Store`] does instead of its next answer.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// Commits, and tells an error.
    LosesTheAnswer,
    /// Commits, and never answers.
    Hangs,
    /// Never answers, and has nothing.
    Dies,
}

/// A store in memory, for a queue that comes back.
#[derive(Default)]
struct Store(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    checkpoint: Option<u64>,
    ids: HashSet<EventId>,
    counts: BTreeMap<(ProjectId, i32, Outcome), u64>,
    batches_bytes: Vec<usize>,
    trouble: Option<Trouble>,
}

impl Kept {
    fn append(&mut self, batch: &AppendBatch) -> AppendReport {
        let applied = self.checkpoint;
        let mut report = AppendReport::default();
        for item in batch.items.iter() {
            let outcome = match Some(item.position) <= applied {
                true => AppendOutcome::AlreadyApplied,
                false if self.ids.insert(item.event.id) => AppendOutcome::Stored,
                false => AppendOutcome::Duplicate,
            };
            report.outcomes.push(outcome);
            if let Some(outcome) = outcome.counted() {
                let key = (item.event.project_id, utc_day(item.event.received_at), outcome);
                *self.counts.entry(key).or_default() += 1;
            }
        }
        for (position, entry) in &batch.counts {
            if Some(*position) > applied {
                *self
                    .counts
                    .entry((entry.project_id, entry.day, entry.outcome))
                    .or_default() += entry.count;
            }
        }
        self.checkpoint = applied.max(batch.checkpoint.map(|checkpoint| checkpoint.position));
        self.batches_bytes
            .push(batch.items.iter().map(|item| item.event.properties.len()).sum());
        report
    }
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("for a test".to_owned()))
}

#[async_trait]
impl EventStore for Store {
    async fn append(&self, batch: AppendBatch) -> Result<AppendReport, StoreError> {
        let (report, trouble) = {
            let mut kept = self.0.lock().unwrap();
            let trouble = kept.trouble.take();
            let report = (trouble != Some(Trouble::Dies)).then(|| kept.append(&batch));
            (report, trouble)
        };
        match (report, trouble) {
            (Some(report), None) => Ok(report),
            (_, Some(Trouble::LosesTheAnswer)) => away(),
            _ => std::future::pending().await,
        }
    }
    async fn checkpoint(&self, _: uuid::Uuid) -> Result<Option<u64>, StoreError> {
        Ok(self.0.lock().unwrap().checkpoint)
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        away()
    }
    async fn claims(&self, _: ProjectId, _: Vec<EventId>) -> Result<Vec<Option<Timestamp>>, StoreError> {
        away()
    }
    async fn read(&self, _: Statement) -> Result<Rows, StoreError> {
        away()
    }
    async fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        let kept = self.0.lock().unwrap();
        let entry = |((project_id, day, outcome), count): (&(ProjectId, i32, Outcome), &u64)| LedgerEntry {
            project_id: *project_id,
            day: *day,
            outcome: *outcome,
            count: *count,
        };
        Ok(kept.counts.iter().map(entry).collect())
    }
    async fn delete(&self, _: ProjectId, _: Option<Timestamp>, _: bool) -> Result<u64, StoreError> {
        away()
    }
    async fn reclaim(&self, _: bool) -> Result<Reclaimed, StoreError> {
        away()
    }
    async fn status(&self, _: Timestamp) -> Result<StoreStatus, StoreError> {
        away()
    }
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn start(directory: &Path, store: &Arc<Store>) -> Arc<Engine> {
    let clock = Arc::new(FixedClock::at(now()));
    let queue = EmbeddedQueue::open(directory, EmbeddedOptions::default(), Arc::clone(&clock) as _).unwrap();
    start_on(Arc::new(queue), directory, store, clock).await
}

async fn start_on(
    queue: Arc<dyn EventQueue>,
    directory: &Path,
    store: &Arc<Store>,
    clock: Arc<FixedClock>,
) -> Arc<Engine> {
    let backends = Backends {
        queue: (queue, "embedded"),
        store: (Arc::clone(store) as _, "memory"),
        meta: (directory::meta_store(Vec::new(), Vec::new()), "fixed"),
        limiter: Arc::new(LocalRateLimiter::default()),
        enricher: Arc::new(ingest::Enricher::new(None, None).unwrap()),
        clock,
    };
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_socket: directory.join("admin.sock"),
        roles: Vec::new(),
        trusted_proxies: Vec::new(),
        ip_rate_limit_per_minute: None,
        allowed_hosts: Vec::new(),
        cors_allowed_origins: Vec::new(),
        base_path: String::new(),
        shutdown_budget: Duration::ZERO,
        retention_interval: limits::RETENTION_INTERVAL_DEFAULT,
    };
    Engine::load(config, backends).await.unwrap()
}

async fn accept(engine: &Engine, events: impl IntoIterator<Item = AcceptedEvent>) {
    let mut records = Records::default();
    for event in events {
        records.push_event(&event, event.received_at).unwrap();
    }
    accept_records(engine, records).await;
}

async fn accept_records(engine: &Engine, records: Records) {
    let count = records.len() as u64;
    engine.queue().append(records).await.unwrap();
    engine.ledger.accepted(project(1), count);
}

fn unreadable() -> Records {
    let record = Record {
        project_id: project(1),
        received_at: now(),
        events: 1,
        payload: vec![0xff, 1].into(),
    };
    vec![record].into()
}

fn balanced(engine: &Engine) -> LedgerTotals {
    let totals = engine.ledger.totals(project(1));
    assert_eq!(totals.received, totals.accounted(), "{totals:?}");
    totals
}

async fn process(engine: &Arc<Engine>) -> ProcessReport {
    let worker = Worker::new(Arc::clone(engine), limits::STORE_BATCH_EVENTS_MAX);
    worker.process(None).await.unwrap()
}

/// Processes with a store in `trouble`, and goes away when that hangs.
async fn process_in(trouble: Trouble, engine: &Arc<Engine>, store: &Store) {
    store.0.lock().unwrap().trouble = Some(trouble);
    let _ = tokio::time::timeout(Duration::from_millis(500), process(engine)).await;
}

#[tokio::test]
async fn events_whose_answer_was_lost_are_counted() {
    for trouble in [Trouble::LosesTheAnswer, Trouble::Hangs] {
        let (directory, store) = (tempfile::tempdir().unwrap(), Arc::<Store>::default());
        let engine = start(directory.path(), &store).await;
        accept(&engine, [1, 2, 1].map(|number| accepted_event(project(1), number))).await;
        accept_records(&engine, unreadable()).await;
        process_in(trouble, &engine, &store).await;
        process(&engine).await;
        accept(&engine, [accepted_event(project(1), 3)]).await;
        process(&engine).await;
        let totals = balanced(&engine);
        let expected = LedgerTotals {
            received: 5,
            stored: 3,
            duplicate: 1,
            dead_lettered: 1,
            ..LedgerTotals::default()
        };
        assert_eq!(totals, expected);
        assert_eq!(engine.ledger.waiting(), 0);
    }
}

#[tokio::test]
async fn a_dead_letter_is_counted_once_whatever_ends_half_way() {
    for trouble in [Trouble::LosesTheAnswer, Trouble::Hangs, Trouble::Dies] {
        let (directory, store) = (tempfile::tempdir().unwrap(), Arc::<Store>::default());
        let engine = start(directory.path(), &store).await;
        accept_records(&engine, unreadable()).await;
        process_in(trouble, &engine, &store).await;
        balanced(&engine);
        assert_eq!(engine.queue().status().await.unwrap().dead_letters, 1);
        drop(engine);
        let engine = start(directory.path(), &store).await;
        balanced(&engine);
        process(&engine).await;
        for engine in [Arc::clone(&engine), {
            let again = Arc::clone(&engine);
            process(&again).await;
            again
        }] {
            let totals = balanced(&engine);
            assert_eq!((totals.received, totals.dead_lettered, totals.waiting), (1, 1, 0));
        }
        assert_eq!(engine.queue().status().await.unwrap().dead_letters, 1);
    }
}

#[tokio::test]
async fn batches_of_large_events_are_smaller() {
    let (directory, store) = (tempfile::tempdir().unwrap(), Arc::<Store>::default());
    let engine = start(directory.path(), &store).await;
    let text = "x".repeat(limits::PROPERTIES_BYTES_MAX - 20);
    let large = |number| AcceptedEvent {
        properties: format!(r#"{{"text":"{text}"}}"#),
        ..accepted_event(project(1), number)
    };
    for first in (0..900).step_by(100) {
        accept(&engine, (first..first + 100).map(large)).await;
    }
    let small = (900..8_000).map(|number| accepted_event(project(1), number));
    accept(&engine, small).await;
    let report = process(&engine).await;
    assert_eq!(report.stored, 8_000);
    let batches_bytes = store.0.lock().unwrap().batches_bytes.clone();
    let most = limits::STORE_BATCH_BYTES_MAX + READ_RECORDS_MIN * limits::PROPERTIES_BYTES_MAX;
    assert!(batches_bytes.iter().all(|bytes| *bytes <= most), "{batches_bytes:?}");
    // Full ones all the same: 900 large events, and what is left of the small ones in two.
    assert!(batches_bytes.len() <= 7, "{batches_bytes:?}");
}
