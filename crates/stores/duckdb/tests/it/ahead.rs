//! Batches that are announced are planned while the one before them is stored; nobody may see the difference.

use std::sync::Arc;

use model::{Deduplication, EnrichedEvent};
use store::{
    AppendBatch,
    AppendOutcome::{Duplicate, Stored},
    EventStore,
};
use testkit::{
    build::{enriched_event, project},
    suites::store::{Harness as _, append, batch, column, count, named_event},
};

use crate::it::harness::TestStore;

/// Large enough to be worth a plan.
const EVENTS: u64 = 600;

async fn store(store: &TestStore) -> Arc<dyn EventStore> {
    let open = store.open().await;
    // Nothing is planned behind the batch that brings a new project.
    append(&*open, 1, [enriched_event(project(1), 1)]).await;
    open
}

fn by(number: u64, user: u64) -> EnrichedEvent {
    EnrichedEvent {
        user_id: format!("user {user}"),
        ..named_event(project(1), number.into())
    }
}

/// Announces `next`, so that it is planned while `first` is stored.
async fn append_with_next(store: &dyn EventStore, first: AppendBatch, next: &AppendBatch) {
    store.announce(next);
    let outcomes = store.append(first).await.unwrap().outcomes;
    assert!(outcomes.iter().all(|outcome| *outcome == Stored));
}

/// Every user has one number, and no two have the same.
async fn check_users(store: &dyn EventStore, users: usize) {
    let pairs = column(store, project(1), "user_id || ' = ' || uid").await;
    let mut pairs: Vec<&str> = pairs.iter().filter_map(|pair| pair.as_text()).collect();
    pairs.dedup();
    let mut numbers: Vec<_> = pairs.iter().filter_map(|pair| pair.rsplit(' ').next()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((pairs.len(), numbers.len()), (users, users), "{pairs:?}");
}

#[tokio::test]
async fn a_retry_in_the_batch_behind_is_a_duplicate() {
    let directory = TestStore::new();
    let store = store(&directory).await;
    let first = batch(2, (0..EVENTS).map(|number| by(number, number)));
    // The second half of it is new.
    let next = batch(
        2 + EVENTS,
        (0..EVENTS).map(|number| by(number + EVENTS / 2, number + EVENTS / 2)),
    );
    append_with_next(&*store, first, &next).await;
    let outcomes = store.append(next).await.unwrap().outcomes;
    for (at, outcome) in (0..).zip(outcomes) {
        assert_eq!(outcome, if at < EVENTS / 2 { Duplicate } else { Stored }, "{at}");
    }
    assert_eq!(count(&*store, project(1)).await as u64, 1 + EVENTS + EVENTS / 2);
    check_users(&*store, 1 + (EVENTS + EVENTS / 2) as usize).await;
}

#[tokio::test]
async fn a_request_in_the_batch_behind_an_import_is_a_duplicate() {
    let directory = TestStore::new();
    let store = store(&directory).await;
    let imported = |number| EnrichedEvent {
        deduplication: Deduplication::History,
        ..by(number, 0)
    };
    let first = batch(2, (0..EVENTS).map(imported));
    let next = batch(2 + EVENTS, (0..EVENTS).map(|number| by(number, 0)));
    append_with_next(&*store, first, &next).await;
    let outcomes = store.append(next).await.unwrap().outcomes;
    assert!(outcomes.iter().all(|outcome| *outcome == Duplicate));
}

#[tokio::test]
async fn a_plan_for_a_batch_that_does_not_come_leaves_nothing() {
    let directory = TestStore::new();
    let store = store(&directory).await;
    let first = batch(2, (0..EVENTS).map(|number| by(number, 0)));
    let announced = batch(2 + EVENTS, (0..EVENTS).map(|number| by(EVENTS + number, 1 + number)));
    append_with_next(&*store, first, &announced).await;
    // The same events, but fewer: as after a redelivery. Then their users again, when memory has forgotten them.
    let other = batch(2 + EVENTS, (0..100).map(|number| by(EVENTS + number, 1 + number)));
    let outcomes = store.append(other).await.unwrap().outcomes;
    assert!(outcomes.iter().all(|outcome| *outcome == Stored));
    drop(store);
    let store = directory.open().await;
    // In another order: by chance they would get the same numbers.
    let rest = (0..EVENTS).rev().map(|number| by(2 * EVENTS + number, number));
    append(&*store, 102 + EVENTS, rest).await;
    check_users(&*store, 1 + EVENTS as usize).await;
}

#[tokio::test]
async fn users_who_are_forgotten_before_the_turn_of_a_plan_are_numbered_anew() {
    let directory = TestStore::new();
    let store = store(&directory).await;
    let first = batch(2, (0..EVENTS).map(|number| by(number, number)));
    let next = batch(2 + EVENTS, (0..EVENTS).map(|number| by(EVENTS + number, number)));
    append_with_next(&*store, first, &next).await;
    store.delete(project(1), None, false).await.unwrap();
    store.append(next).await.unwrap();
    let rest = (0..EVENTS).map(|number| by(2 * EVENTS + number, number));
    append(&*store, 2 + 2 * EVENTS, rest).await;
    check_users(&*store, EVENTS as usize).await;
}
