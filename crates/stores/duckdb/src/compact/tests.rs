use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use store::{AppendOutcome, EventStore};
use testkit::{
    clock::FixedClock,
    suites::store::{append, count, named_event, now},
};

use super::*;
use crate::{DuckdbStore, watchdog::Watchdog};

fn open(directory: &Path) -> DuckdbStore {
    DuckdbStore::open(directory, DuckdbOptions::default(), Arc::new(FixedClock::at(now()))).expect("opens")
}

fn generations(files: &Files) -> Vec<u64> {
    (1..5)
        .filter(|generation| files.database(*generation).exists())
        .collect()
}

#[test]
fn copying_needs_room_for_the_copy_and_what_the_others_need() {
    let mebibytes = |count: u64| count << 20;
    let least = limits::DISK_FREE_BYTES_MIN;
    assert!(matches!(
        left_for_spilling(mebibytes(100), mebibytes(100) + least),
        Ok(0)
    ));
    assert!(matches!(left_for_spilling(mebibytes(100), mebibytes(107) + least), Ok(spill) if spill == mebibytes(7)));
    let Err(Failure::Unavailable(message)) = left_for_spilling(mebibytes(100), least) else {
        panic!("there is no room");
    };
    assert!(
        message.contains("164 MiB of disk must be free and 64 are; make room for 100 more"),
        "{message}"
    );
    assert!(left_for_spilling(u64::MAX, u64::MAX - 1).is_err());
}

#[test]
fn the_copy_has_what_sorting_needs_and_what_the_operator_grants() {
    for (granted, expected) in [(1 << 20, limits::STORE_COMPACT_MEMORY_BYTES_MIN), (1 << 30, 1 << 30)] {
        let options = DuckdbOptions {
            memory_bytes_max: granted,
            ..DuckdbOptions::default()
        };
        let copy = copy_options(&options);
        assert_eq!(copy.memory_bytes_max, expected);
        assert_eq!(copy.threads, 1);
    }
}

/// The storage version of a database, as DuckDB tells it.
fn storage_version(path: &Path) -> String {
    let connection = Connection::open(path).expect("opens");
    let sql = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal";
    connection.query_row(sql, [], |row| row.get(0)).expect("a version")
}

/// Replaces the database of a closed store by one of the first release: format 1.2, no migration but the first, one event.
fn lay_out_first_release(path: &Path, event: &model::EnrichedEvent) {
    std::fs::remove_file(path).expect("removed");
    let config = duckdb::Config::default().with("storage_compatibility_version", "v1.2.0");
    let connection = Connection::open_with_flags(path, config.expect("an option")).expect("made");
    connection
        .execute_batch(include_str!("../../migrations/0001_events.sql"))
        .expect("tables");
    let (project, id, name) = (event.project_id, event.id, event.client_event_id.as_ref());
    let (name, time) = (name.expect("a name"), event.received_at);
    connection
        .execute_batch(&format!(
            "CREATE TABLE schema_migrations (version INTEGER, name VARCHAR);
             INSERT INTO schema_migrations VALUES (1, 'events');
             INSERT INTO identity VALUES (uuid(), uuid());
             INSERT INTO projects VALUES (0, '{project}', 1);
             INSERT INTO events BY NAME SELECT '{id}'::UUID AS id, 0 AS project_id, '{name}' AS event_id, 'page_view' AS event_name,
             'ann' AS user_id, 0 AS uid, 's' AS session_id, '{{}}' AS properties,
             '{time}'::TIMESTAMPTZ::TIMESTAMP AS timestamp, '{time}'::TIMESTAMPTZ::TIMESTAMP AS received_at;
             CHECKPOINT"
        ))
        .expect("rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_first_release_is_opened_and_copied_into_the_format_of_today() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let path = store.files().database(1);
    store.close().await.expect("closed");
    drop(store);
    let project = testkit::build::project(1);
    let event = |number| named_event(project, number);
    lay_out_first_release(&path, &event(1));
    assert_eq!(storage_version(&path), "v1.2.0+");

    let store = open(directory.path());
    let outcomes = append(&store, 1, [event(1), event(2)]).await;
    assert_eq!(outcomes, [AppendOutcome::Duplicate, AppendOutcome::Stored]);
    store.reclaim(true).await.expect("copied");
    assert_eq!(append(&store, 3, [event(2), event(3)]).await, outcomes);
    assert_eq!(count(&store, project).await, 3);
    let path = store.files().database(2);
    store.close().await.expect("closed");
    drop(store);
    assert_eq!(storage_version(&path), format!("{STORAGE_VERSION}+"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_flush_of_current_removes_nothing_that_it_may_name() {
    for (failing_flushes, kept) in [(0b10, vec![1]), (0b110, vec![1, 2])] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        let files = store.files();
        // The first flush is that before the copy.
        files.failing_flushes.store(failing_flushes, Ordering::SeqCst);
        let told = store.reclaim(true).await.expect_err("the flush failed").to_string();
        assert!(told.contains("a flush fails"), "{told}");
        assert_eq!(generations(files), kept);
        assert_eq!(files.current().expect("a name"), 1);
        store.check().await.expect("it goes on with the old one");
        store.reclaim(true).await.expect("the next try");
        assert_eq!(generations(files), [2]);
        assert_eq!(files.current().expect("a name"), 2);
        store.check().await.expect("it goes on with the new one");
    }
}

#[test]
fn a_compaction_that_is_stopped_ends_soon_and_leaves_everything_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, _) = Files::open(directory.path()).expect("opens");
    let options = DuckdbOptions::default();
    let engine = Engine::open(&files, 1, &options).expect("opens");
    let connection = engine.connect().expect("connects");
    // Some seconds of copying.
    let many = "INSERT INTO events BY NAME SELECT uuid() AS id, 1 AS project_id, md5(i::VARCHAR) AS user_id, 1 AS uid, '' AS session_id, \
        'e' AS event_name, '{}' AS properties, TIMESTAMP '2026-01-01' AS timestamp, TIMESTAMP '2026-01-01' AS received_at \
        FROM range(1_000_000) AS numbers(i)";
    connection.execute_batch(many).expect("rows");
    let (watchdog, thread) = Watchdog::start().expect("starts");
    for stopped_after in [Duration::ZERO, Duration::from_millis(300)] {
        let (watch, stop) = watchdog.watch(Instant::now() + Duration::from_secs(60));
        let stopping = std::thread::spawn(move || {
            std::thread::sleep(stopped_after);
            drop(stop);
            Instant::now()
        });
        let stopped = compact(&files, 1, &connection, &options, &watch);
        assert!(matches!(stopped, Err(Failure::Interrupted)), "{:?}", stopped.map(drop));
        let late = stopping.join().expect("ends").elapsed();
        assert!(late < Duration::from_millis(1_500), "{late:?}");
        assert_eq!((generations(&files), files.current().expect("a name")), (vec![1], 1));
    }
    watchdog.stop();
    thread.join().expect("ends");
}
