//! Compaction that is interrupted, and compaction beside appends: no event is lost, none is there twice.

use std::{collections::BTreeSet, fs, sync::Arc};

use model::{EnrichedEvent, Outcome};
use store::{
    AppendOutcome::{AlreadyApplied, Duplicate, Stored},
    EventStore,
};
use store_duckdb::DuckdbStore;
use testkit::{
    build::{enriched_event, project},
    suites::store::{Harness, QUEUE, append, column, count, ledger, named_event, now},
};

use crate::it::{
    harness::TestStore,
    image::{Content, Image},
};

/// Events of the interrupted compactions, one in four of them deleted before.
const EVENTS: u64 = 400;

fn event(number: u64) -> EnrichedEvent {
    EnrichedEvent {
        timestamp: now().saturating_add_seconds(number as i64),
        ..named_event(project(1), number.into())
    }
}

async fn fill(store: &DuckdbStore) {
    append(store, 1, (1..=EVENTS).map(event)).await;
    let before = now().saturating_add_seconds(EVENTS as i64 / 4 + 1);
    assert_eq!(store.delete(project(1), Some(before), false).await.unwrap(), EVENTS / 4);
}

/// That everything is there, once, and that the store goes on.
async fn check(store: &dyn EventStore, what: &str) {
    assert_eq!(count(store, project(1)).await as u64, EVENTS * 3 / 4, "{what}");
    assert_eq!(ledger(store, project(1), Outcome::Stored).await, EVENTS, "{what}");
    assert_eq!(store.checkpoint(QUEUE).await.unwrap(), Some(EVENTS), "{what}");
    let again = append(store, EVENTS - 9, (EVENTS - 9..=EVENTS + 1).map(event)).await;
    assert_eq!(again[..10], [AlreadyApplied; 10], "{what}");
    assert_eq!(again[10..], [Stored], "{what}");
    // Of a row that was copied, and of one that was deleted.
    let retries = append(store, EVENTS + 2, [event(EVENTS), event(1)]).await;
    assert_eq!(retries, [Duplicate; 2], "{what}");
    store.reclaim(true).await.unwrap();
    assert_eq!(count(store, project(1)).await as u64, EVENTS * 3 / 4 + 1, "{what}");
    assert_eq!(ledger(store, project(1), Outcome::Duplicate).await, 2, "{what}");
}

/// The databases and logs in a store's directory, and what CURRENT names.
fn databases(harness: &TestStore) -> (Vec<String>, String) {
    let names = fs::read_dir(harness.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("events-")).collect();
    names.sort_unstable();
    let current = fs::read_to_string(harness.path().join("CURRENT")).unwrap();
    (names, current.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_was_interrupted_anywhere_loses_nothing() {
    let harness = TestStore::new();
    let store = harness.try_open().unwrap();
    fill(&store).await;
    let before = Image::of(harness.path());
    store.reclaim(true).await.unwrap();
    let after = Image::of(harness.path());
    drop(store);
    assert!(!before.0["events-1.duckdb.wal"].bytes.is_empty(), "the log counts too");
    let copied = &after.0["events-2.duckdb"];
    let half = Content::new(&copied.bytes[..copied.bytes.len() / 2]);
    let staged = |name: &str| Content::new(name.as_bytes());

    let copying = before
        .with("temp/copy/spilled", Content::new(b"rows"))
        .with("events-2.duckdb.wal", before.0["events-1.duckdb.wal"].clone());
    let complete = before.with("events-2.duckdb", copied.clone());
    for (what, image, counts) in [
        (
            "the copy is empty",
            copying.with("events-2.duckdb", Content::new(&[])),
            1,
        ),
        ("the copy is half written", copying.with("events-2.duckdb", half), 1),
        (
            "the copy is garbage",
            copying.with("events-2.duckdb", Content::new(&[7; 5_000])),
            1,
        ),
        ("the copy is complete", complete.clone(), 1),
        (
            "CURRENT is half written",
            complete.with("CURRENT.new", staged("events-")),
            1,
        ),
        (
            "CURRENT is written",
            complete.with("CURRENT.new", staged("events-2.duckdb\n")),
            1,
        ),
        ("CURRENT is replaced", after.with_files_of(&before, "events-1."), 2),
        (
            "the old one is half removed",
            after.with_files_of(&before, "events-1.duckdb.wal"),
            2,
        ),
        ("all is done", after.clone(), 2),
        ("nothing is done", before.clone(), 1),
    ] {
        let harness = image.lay_out();
        let store = harness.try_open().unwrap_or_else(|error| panic!("{what}: {error}"));
        let (names, current) = databases(&harness);
        assert_eq!(current, format!("events-{counts}.duckdb"), "{what}");
        assert!(names.iter().all(|name| name.starts_with(&current)), "{what}: {names:?}");
        assert!(!harness.path().join("CURRENT.new").exists(), "{what}");
        check(&store, what).await;
        drop(store);
        let (names, current) = databases(&harness);
        assert_eq!(names, [current.as_str()], "{what}: the log is folded in");
        assert_eq!(current, format!("events-{}.duckdb", counts + 1), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_fails_leaves_everything_as_it_was() {
    let harness = TestStore::new();
    let store = harness.try_open().unwrap();
    fill(&store).await;
    // In the way of the copy, and not to be removed as a file.
    let obstacle = harness.path().join("events-2.duckdb");
    fs::create_dir(&obstacle).unwrap();
    let error = store.reclaim(true).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    // It costs nobody an event, and a store that is not ready is sent none.
    store.check().await.unwrap();
    assert_eq!(count(&store, project(1)).await as u64, EVENTS * 3 / 4);
    assert_eq!(databases(&harness).1, "events-1.duckdb");
    fs::remove_dir(&obstacle).unwrap();
    check(&store, "once the way is free").await;
    assert_eq!(databases(&harness).1, "events-2.duckdb");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redelivery_beside_compaction_is_exactly_once() {
    const ROUNDS: u64 = 24;
    const STEP: u64 = 20;
    let harness = TestStore::new();
    let store: Arc<dyn EventStore> = harness.open().await;
    append(&*store, 1, (1..=STEP).map(event)).await;
    let (done, finished) = tokio::sync::watch::channel(());
    let compacting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut compactions = 0;
            while finished.has_changed().is_ok() {
                store.reclaim(true).await.unwrap();
                compactions += 1;
            }
            compactions
        })
    };
    // Each batch comes with the one before it once more, and ends in a retry of an old event.
    for round in 1..ROUNDS {
        let (again, end) = ((round - 1) * STEP + 1, (round + 1) * STEP);
        let retry = EnrichedEvent {
            user_id: "late".to_owned(),
            ..event(round * 2 - 1)
        };
        let events = (again..end).map(event).chain([retry]);
        let outcomes = append(&*store, again, events).await;
        let (applied, new) = outcomes.split_at(STEP as usize);
        assert!(
            applied.iter().all(|outcome| *outcome == AlreadyApplied),
            "round {round}"
        );
        assert!(
            new[..new.len() - 1].iter().all(|outcome| *outcome == Stored),
            "round {round}"
        );
        assert_eq!(new[new.len() - 1], Duplicate, "round {round}");
    }
    drop(done);
    let compactions = compacting.await.unwrap();
    assert!(compactions > 2, "{compactions}");
    drop(store);

    let store = harness.open().await;
    let stored = ROUNDS * STEP - (ROUNDS - 1);
    assert_eq!(count(&*store, project(1)).await as u64, stored);
    let ids = column(&*store, project(1), "event_id").await;
    let different: BTreeSet<&str> = ids.iter().filter_map(|id| id.as_text()).collect();
    assert_eq!(different.len() as u64, stored);
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, stored);
    assert_eq!(ledger(&*store, project(1), Outcome::Duplicate).await, ROUNDS - 1);
    assert_eq!(store.checkpoint(QUEUE).await.unwrap(), Some(ROUNDS * STEP));
    append(&*store, ROUNDS * STEP + 1, [enriched_event(project(1), 1 << 100)]).await;
    let users: BTreeSet<i64> = column(&*store, project(1), "uid")
        .await
        .iter()
        .filter_map(|uid| uid.as_integer())
        .collect();
    assert_eq!(
        users,
        (0..10).collect(),
        "those of duplicates may be numbered, but after the others"
    );
    assert_ne!(databases(&harness).1, "events-1.duckdb");
}
