//! Several processes at once, each with connections and memory of its own.

use std::sync::Arc;

use model::{EnrichedEvent, Outcome};
use store::{AppendBatch, AppendOutcome, Checkpoint, EventStore};
use testkit::{
    build::{enriched_event, project},
    suites::store::{QUEUE, append, batch, count, imported_event, ledger, named_event, now},
};
use uuid::Uuid;

use super::harness::TestStore;

/// A batch of another queue, as another process's embedded one.
fn of_queue(queue: u128, first: u64, events: impl IntoIterator<Item = EnrichedEvent>) -> AppendBatch {
    let batch = batch(first, events);
    let checkpoint = batch.checkpoint.map(|checkpoint| Checkpoint {
        queue: Uuid::from_u128(queue),
        ..checkpoint
    });
    AppendBatch { checkpoint, ..batch }
}

/// How many of all outcomes are `wanted`.
fn of(outcomes: &[Vec<AppendOutcome>], wanted: AppendOutcome) -> usize {
    outcomes.iter().flatten().filter(|outcome| **outcome == wanted).count()
}

/// Appends what each of `processes` brings, all at once, in processes of their own.
async fn at_once(test: &TestStore, processes: Vec<Vec<AppendBatch>>) -> Vec<Vec<AppendOutcome>> {
    let mut tasks = Vec::new();
    for batches in processes {
        let store = Arc::new(test.open_another().await);
        tasks.push(tokio::spawn(async move {
            let mut outcomes = Vec::new();
            for batch in batches {
                outcomes.extend(store.append(batch).await.unwrap().outcomes);
            }
            outcomes
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_of_one_queue_store_each_position_once() {
    let test = TestStore::new();
    let store = test.open_another().await;
    let batches = || {
        (0..10_u64)
            .map(|number| {
                batch(
                    number * 50 + 1,
                    (0..50).map(|event| enriched_event(project(1), u128::from(number * 50 + event))),
                )
            })
            .collect::<Vec<_>>()
    };
    let outcomes = at_once(&test, vec![batches(), batches(), batches()]).await;
    assert_eq!(of(&outcomes, AppendOutcome::Stored), 500);
    assert_eq!(of(&outcomes, AppendOutcome::AlreadyApplied), 1_000);
    assert_eq!(count(&store, project(1)).await, 500);
    assert_eq!(ledger(&store, project(1), Outcome::Stored).await, 500);
    assert_eq!(store.checkpoint(QUEUE).await.unwrap(), Some(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_reach_different_processes_are_stored_once() {
    let test = TestStore::new();
    let store = test.open_another().await;
    // Half of them are received a week later: in another epoch of claims.
    let batches = |queue: u128| {
        (0..10_u64)
            .map(|number| {
                let events = (0..50).map(|event| {
                    // Each in an order of its own.
                    let event = if queue.is_multiple_of(2) { event } else { 49 - event };
                    EnrichedEvent {
                        received_at: now().saturating_add_seconds(if queue < 102 { 0 } else { 6 * 86_400 }),
                        ..named_event(project(1 + u128::from(event % 2)), u128::from(number * 50 + event))
                    }
                });
                of_queue(queue, number * 50 + 1, events)
            })
            .collect::<Vec<_>>()
    };
    let outcomes = at_once(&test, (100..104).map(batches).collect()).await;
    assert_eq!(of(&outcomes, AppendOutcome::Stored), 500);
    assert_eq!(of(&outcomes, AppendOutcome::Duplicate), 1_500);
    assert_eq!(count(&store, project(1)).await + count(&store, project(2)).await, 500);
    let epochs = test
        .database
        .sql("select count(*) from pg_tables where tablename like 'event_ids_%'");
    assert_eq!(epochs.trim(), "4", "two epochs with claims, and one before and after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_imports_of_one_file_store_it_once() {
    let test = TestStore::new();
    let store = test.open_another().await;
    let batches = |queue: u128| {
        (0..10_u64)
            .map(|number| {
                let events = (0..50).map(|event| EnrichedEvent {
                    timestamp: now().saturating_add_seconds(-i64::try_from(number * 50 + event).unwrap() * 86_400),
                    ..imported_event(project(1), u128::from(number * 50 + event))
                });
                of_queue(queue, number * 50 + 1, events)
            })
            .collect::<Vec<_>>()
    };
    let outcomes = at_once(&test, vec![batches(1), batches(2)]).await;
    assert_eq!(of(&outcomes, AppendOutcome::Stored), 500);
    assert_eq!(of(&outcomes, AppendOutcome::Duplicate), 500);
    assert_eq!(count(&store, project(1)).await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_have_one_number_whoever_sees_them_first() {
    let test = TestStore::new();
    let store = test.open_another().await;
    let batches = |queue: u128| {
        (0..10_u64)
            .map(|number| {
                let events = (0..50).map(|event| EnrichedEvent {
                    user_id: format!("user {}", (number * 50 + event) / 2),
                    ..enriched_event(project(1), queue * 10_000 + u128::from(number * 50 + event))
                });
                of_queue(queue, number * 50 + 1, events)
            })
            .collect::<Vec<_>>()
    };
    at_once(&test, vec![batches(1), batches(2), batches(3)]).await;
    assert_eq!(count(&store, project(1)).await, 1_500);
    let numbers = test
        .database
        .sql("select count(distinct uid), count(distinct (user_id, uid)), min(uid), max(uid) from project_events(1)");
    assert_eq!(numbers.trim(), "250|250|0|249");
}

#[tokio::test]
async fn what_another_process_dropped_is_made_again() {
    let test = TestStore::new();
    let (ours, theirs) = (test.open_another().await, test.open_another().await);
    let early = |number: u128| EnrichedEvent {
        timestamp: now().days_before(400),
        ..named_event(project(1), number)
    };
    append(&ours, 1, [early(1)]).await;
    assert_eq!(theirs.delete(project(1), None, false).await.unwrap(), 1);
    theirs.reclaim(false).await.unwrap();
    let partitions = test
        .database
        .sql("select string_agg(name, ' ' order by month) from event_partitions");
    assert_eq!(
        partitions.trim(),
        "events_2026_01 events_2026_02 events_2026_03",
        "the empty month is gone, those ahead stay"
    );
    assert_eq!(append(&ours, 2, [early(2)]).await, [AppendOutcome::Stored]);
    assert_eq!(count(&theirs, project(1)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_was_given_up_half_way_leaves_nothing_and_blocks_nobody() {
    let test = TestStore::new();
    let store = test.open_another().await;
    for millis in 0..12 {
        let events = (0..200).map(|event| enriched_event(project(1), event));
        let given_up = store.append(batch(1, events));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(millis * 2), given_up).await;
    }
    let outcomes = append(&store, 1, (0..200).map(|event| enriched_event(project(1), event))).await;
    // One of those before may have come to its end.
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]) && outcomes[0] != AppendOutcome::Duplicate);
    assert_eq!(count(&store, project(1)).await, 200);
    assert_eq!(ledger(&store, project(1), Outcome::Stored).await, 200);
}
