//! The index is derived data: lost or damaged, it comes back from the database, and nobody can tell.

use std::{fs, path::Path};

use model::{Deduplication, EnrichedEvent, Outcome};
use store::{
    AppendOutcome::{self, Duplicate, Stored},
    EventStore, StoreError, Value,
};
use store_duckdb::DuckdbStore;
use testkit::{
    build::{enriched_event, project},
    suites::store::{Harness, append, batch, column, count, ledger, named_event, now, read},
};

use crate::it::{
    harness::TestStore,
    image::{Content, Image},
};

/// Days of the seeded events: more epochs of claims than a claim lives.
const DAYS: u32 = 20;
/// Users of the seeded events.
const USERS: i64 = 10;
/// The first position after them.
const NEXT: u64 = DAYS as u64 * 3 + 7;

fn of_day(number: u128, day: u32) -> EnrichedEvent {
    EnrichedEvent {
        received_at: now().saturating_add_seconds(i64::from(day) * 86_400),
        ..named_event(project(1), number)
    }
}

/// An event that was imported under its client's name, with the time of receipt of an exporting server.
fn imported(number: u128) -> EnrichedEvent {
    EnrichedEvent {
        received_at: now().saturating_add_seconds(-900 * 86_400),
        deduplication: Deduplication::History,
        ..named_event(project(1), number)
    }
}

/// An event that was moved from another store, where it had been imported `days` after the beginning.
fn moved(number: u128, days: i64) -> EnrichedEvent {
    let claimed_at = Some(now().saturating_add_seconds(days * 86_400));
    EnrichedEvent {
        deduplication: Deduplication::Moved { claimed_at },
        ..imported(number)
    }
}

/// A project whose three users were deleted, an event from a clock that was wrong by years, and events of three weeks, an imported one
/// and a moved one among the last of them. Half way, `half` is
/// called: all users are known by then, and what follows are claims alone.
async fn seed(harness: &TestStore, store: &DuckdbStore, half: impl FnOnce()) {
    let deleted = (0..3).map(|number| enriched_event(project(2), 2_000 + number));
    assert_eq!(append(store, 1, deleted).await, [Stored; 3]);
    assert_eq!(store.delete(project(2), None, false).await.unwrap(), 3);
    assert_eq!(append(store, 4, [of_day(900, 3_000)]).await, [Stored]);
    let mut half = Some(half);
    for day in 0..DAYS {
        let number = u128::from(day) * 2;
        let events = [
            of_day(number, day),
            of_day(number + 1, day),
            enriched_event(project(1), 1_000 + number),
        ];
        assert_eq!(append(store, u64::from(day) * 3 + 5, events).await, [Stored; 3]);
        harness.clock().advance_seconds(86_400);
        if day == DAYS / 2 {
            half.take().unwrap()();
        }
    }
    let late = [imported(800), moved(820, i64::from(DAYS) - 2)];
    assert_eq!(append(store, NEXT - 2, late).await, [Stored; 2]);
}

/// The clock of a store that was laid out, when the seeded events end.
fn after_seeding(harness: &TestStore) {
    harness.clock().advance_seconds(i64::from(DAYS) * 86_400);
}

/// Appends as the worker does: what is unavailable is tried again.
async fn deliver(store: &dyn EventStore, first: u64, events: &[EnrichedEvent]) -> Vec<AppendOutcome> {
    let mut last = None;
    for _ in 0..3 {
        match store.append(batch(first, events.iter().cloned())).await {
            Ok(report) => return report.outcomes,
            Err(StoreError::Unavailable(message)) => last = Some(message),
            Err(error) => panic!("a damaged index is nothing that events are to blame for: {error}"),
        }
    }
    panic!("trying again must help: {last:?}");
}

/// That the store is as it was before its index was lost.
async fn check(store: &dyn EventStore, what: &str) {
    let before = count(store, project(1)).await;
    let recent: Vec<EnrichedEvent> = (DAYS - 7..DAYS)
        .flat_map(|day| [u128::from(day) * 2, u128::from(day) * 2 + 1])
        .map(|number| of_day(number, DAYS))
        .collect();
    let outcomes = deliver(store, NEXT, &recent).await;
    assert_eq!(outcomes, vec![Duplicate; recent.len()], "{what}: retries of clients");
    let outcomes = deliver(store, NEXT + 50, &[of_day(900, 3_001)]).await;
    assert_eq!(outcomes, [Duplicate], "{what}: a retry to the wrong clock");

    let late = [
        of_day(800, DAYS + 6),
        imported(801),
        imported(800),
        of_day(820, DAYS + 5),
    ];
    let outcomes = deliver(store, NEXT + 51, &late).await;
    assert_eq!(
        outcomes,
        [Duplicate, Stored, Duplicate, Duplicate],
        "{what}: of an import"
    );

    let known = (0..USERS as u128).map(|number| enriched_event(project(1), 3_000 + number));
    let new = EnrichedEvent {
        user_id: "new".to_owned(),
        ..enriched_event(project(1), 4_000)
    };
    let events: Vec<_> = known.chain([new]).collect();
    let outcomes = deliver(store, NEXT + 100, &events).await;
    assert_eq!(outcomes, vec![Stored; events.len()], "{what}");
    let users = read(store, project(1), |events, _| {
        format!("select user_id, min(uid), max(uid) from {events} group by user_id order by min(uid)")
    })
    .await;
    assert_eq!(users.rows.len() as i64, USERS + 1, "{what}");
    for (number, row) in (0..).zip(users.rows) {
        assert_eq!(
            row[1..],
            [Value::Integer(number), Value::Integer(number)],
            "{what}: {row:?}"
        );
    }
    let newcomer = EnrichedEvent {
        user_id: "new".to_owned(),
        ..enriched_event(project(2), 5_000)
    };
    let outcomes = deliver(store, NEXT + 200, &[newcomer]).await;
    assert_eq!(outcomes, [Stored], "{what}");
    assert_eq!(
        column(store, project(2), "uid").await,
        [Value::Integer(3)],
        "{what}: numbers of deleted users"
    );
    let after = count(store, project(1)).await;
    assert_eq!(after, before + USERS + 2, "{what}");
    // All but the moved one.
    let counted = ledger(store, project(1), Outcome::Stored).await as i64;
    assert_eq!(counted, after - 1, "{what}");
    store.check().await.unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// The files of a seeded store that was closed.
async fn seeded() -> (TestStore, Image) {
    let harness = TestStore::new();
    let store = harness.try_open().unwrap();
    seed(&harness, &store, || ()).await;
    store.close().await.unwrap();
    let image = Image::of(harness.path());
    (harness, image)
}

/// Moves what the index has in memory and in its log into tables, as it does by itself when it has grown.
fn write_tables(index: &Path) {
    let database = fjall::Database::builder(index).open().unwrap();
    for name in database.list_keyspace_names() {
        let keyspace = database.keyspace(&name, fjall::KeyspaceCreateOptions::default).unwrap();
        keyspace.rotate_memtable_and_wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_index_is_made_anew() {
    let (harness, _) = seeded().await;
    for part in ["index", "index/keyspaces"] {
        fs::remove_dir_all(harness.path().join(part)).unwrap();
        let store = harness.try_open().unwrap();
        drop(store);
    }
    fs::remove_dir_all(harness.path().join("index")).unwrap();
    fs::write(harness.path().join("index"), "a file in its place").unwrap();
    let refused = harness.try_open().map(drop).unwrap_err().to_string();
    assert!(refused.contains("cannot remove the old index"), "{refused}");
    fs::remove_file(harness.path().join("index")).unwrap();
    check(&harness.try_open().unwrap(), "deleted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_another_time_is_made_anew() {
    let harness = TestStore::new();
    let store = harness.try_open().unwrap();
    let mut half = None;
    seed(&harness, &store, || half = Some(Image::of(harness.path()))).await;
    let late = Image::of(harness.path());
    drop(store);
    // As of the same opening: only what is missing tells that it is older.
    let older = late.with_files_of(&half.unwrap(), "index/");
    let harness = older.lay_out();
    after_seeding(&harness);
    check(&harness.try_open().unwrap(), "older").await;
    // Without any damage, for comparison.
    let harness = late.lay_out();
    after_seeding(&harness);
    check(&harness.try_open().unwrap(), "a power cut").await;
}

/// Ways in which a file is damaged: cut, and flipped at some places.
fn damages(content: &Content, places: usize) -> Vec<(String, Content)> {
    let used = content.bytes.len();
    let mut damages = vec![("cut".to_owned(), Content::new(&content.bytes[..used * 2 / 3]))];
    for place in (0..places).map(|place| used * (2 * place + 1) / (2 * places)) {
        let mut flipped = content.clone();
        flipped.bytes[place] ^= 0xff;
        damages.push((format!("flipped at {place} of {used}"), flipped));
    }
    damages
}

async fn check_damages(image: &Image, cases: impl Iterator<Item = (String, String, Content)>) {
    // They mostly wait for the disk: several at a time.
    let mut checks = tokio::task::JoinSet::new();
    for (name, damage, content) in cases {
        let (what, image) = (format!("{name} {damage}"), image.with(&name, content));
        if checks.len() == 8 {
            checks.join_next().await.unwrap().unwrap();
        }
        checks.spawn(async move {
            let harness = image.lay_out();
            after_seeding(&harness);
            let store = harness.try_open().unwrap_or_else(|error| panic!("{what}: {error}"));
            check(&store, &what).await;
        });
    }
    while let Some(checked) = checks.join_next().await {
        checked.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_with_a_damaged_log_is_made_anew() {
    let (_, image) = seeded().await;
    let log = "index/0.jnl";
    let damages = damages(&image.0[log], 12).into_iter();
    check_damages(
        &image,
        damages.map(|(damage, content)| (log.to_owned(), damage, content)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_with_damaged_tables_is_made_anew() {
    let (harness, _) = seeded().await;
    write_tables(&harness.path().join("index"));
    let image = Image::of(harness.path());
    let files = || image.0.iter().filter(|(name, _)| name.starts_with("index/keyspaces/"));
    assert!(files().filter(|(name, _)| name.contains("/tables/")).count() >= 4);
    let cases = files().flat_map(|(name, content)| {
        let places = if name.contains("/tables/") { 4 } else { 1 };
        let damages = damages(content, places).into_iter();
        damages.map(|(damage, content)| (name.clone(), damage, content))
    });
    check_damages(&image, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_opener_is_told_what_to_do() {
    let harness = TestStore::new();
    let store = harness.try_open().unwrap();
    append(&store, 1, [named_event(project(1), 1)]).await;
    for _ in 0..2 {
        let Err(StoreError::Unavailable(message)) = harness.try_open().map(drop) else {
            panic!("must be unavailable");
        };
        assert!(
            message.contains("another process has the event store") && message.contains("stop the server"),
            "{message}"
        );
    }
    // The first one has not noticed.
    assert_eq!(append(&store, 2, [named_event(project(1), 2)]).await, [Stored]);
    assert_eq!(count(&store, project(1)).await, 2);
    // Closed is enough, though it is still there.
    store.close().await.unwrap();
    let second = harness.try_open().unwrap();
    assert_eq!(append(&second, 3, [named_event(project(1), 1)]).await, [Duplicate]);
    drop(store);
    assert_eq!(append(&second, 4, [named_event(project(1), 3)]).await, [Stored]);
}
