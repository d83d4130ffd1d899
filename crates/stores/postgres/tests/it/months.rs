//! Partitions: where events go, and how they go away.

use std::time::{Duration, Instant};

use model::{EnrichedEvent, Outcome, ProjectId};
use store::{EventStore, StoreError};
use testkit::{
    build::{instant, project},
    suites::store::{append, batch, count, ledger, named_event, now},
};

use super::harness::TestStore;

fn at(project: ProjectId, number: u128, time: &str) -> EnrichedEvent {
    EnrichedEvent {
        timestamp: instant(time),
        ..named_event(project, number)
    }
}

/// The file that holds a table: another one after it was emptied at once.
fn file_of(test: &TestStore, table: &str) -> String {
    test.database.sql(&format!("select pg_relation_filenode('{table}')"))
}

#[tokio::test]
async fn events_lie_in_the_month_of_their_time_and_none_in_a_default() {
    let test = TestStore::new();
    let store = test.open_another().await;
    let times = [
        "0001-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2000-01-01T00:00:00Z",
        "2026-01-31T23:59:59.999999Z",
        "2026-02-01T00:00:00Z",
        "2150-06-01T00:00:00Z",
    ];
    append(
        &store,
        1,
        (0..).zip(times).map(|(number, time)| at(project(1), number, time)),
    )
    .await;
    let lying = test
        .database
        .sql("select tableoid::regclass::text collate \"C\", count(*) from events group by 1 order by 1");
    assert_eq!(
        lying.split_whitespace().collect::<Vec<_>>(),
        [
            "events_2000_01|1",
            "events_2026_01|1",
            "events_2026_02|1",
            "events_future|1",
            "events_past|2"
        ]
    );
    let defaults = test
        .database
        .sql("select count(*) from pg_partitioned_table where partdefid <> 0");
    assert_eq!(defaults.trim(), "0");
    assert_eq!(store.status(now()).await.unwrap().events, 6);
}

#[tokio::test]
async fn a_month_that_nobody_keeps_goes_at_once_and_others_row_by_row() {
    let test = TestStore::new();
    let store = test.open_another().await;
    let months = ["2025-09-10T00:00:00Z", "2025-10-10T00:00:00Z", "2025-11-10T00:00:00Z"];
    let mut number = 0;
    for time in months {
        let events: Vec<_> = (0..40)
            .map(|_| {
                number += 1;
                at(project(1 + number % 2), number, time)
            })
            .collect();
        append(&store, u64::try_from(number).unwrap(), events).await;
    }
    let names = ["events_2025_09", "events_2025_10", "events_2025_11"];
    let before: Vec<String> = names.iter().map(|name| file_of(&test, name)).collect();
    let expired = [
        (project(1), instant("2025-11-05T00:00:00Z")),
        (project(2), instant("2025-10-05T00:00:00Z")),
        (project(3), instant("2025-11-05T00:00:00Z")),
    ];
    assert_eq!(store.delete_expired(&expired).await.unwrap(), [40, 20, 0]);
    let after: Vec<String> = names.iter().map(|name| file_of(&test, name)).collect();
    assert_ne!(before[0], after[0], "both projects have done with September");
    assert_eq!(before[1..], after[1..]);
    assert_eq!(
        (count(&store, project(1)).await, count(&store, project(2)).await),
        (20, 40)
    );
    let status = store.status(now()).await.unwrap();
    assert_eq!(
        status.projects.iter().map(|project| project.events).collect::<Vec<_>>(),
        [20, 40]
    );
    assert_eq!(ledger(&store, project(1), Outcome::Stored).await, 60);

    store.reclaim(false).await.unwrap();
    let left = test
        .database
        .sql("select string_agg(name, ' ' order by month) from event_partitions");
    assert!(
        left.starts_with("events_2025_10 events_2025_11 events_2026_01"),
        "{left}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_long_delays_retention_and_does_not_stop_it() {
    let test = TestStore::new();
    let store = test.open_another().await;
    append(
        &store,
        1,
        [
            at(project(1), 1, "2025-09-10T00:00:00Z"),
            at(project(1), 2, "2026-01-10T00:00:00Z"),
        ],
    )
    .await;
    let database = test.database.clone();
    let reader = tokio::task::spawn_blocking(move || database.sql("select pg_sleep(4), count(*) from events"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    assert_eq!(
        store
            .delete(project(1), Some(instant("2025-12-01T00:00:00Z")), false)
            .await
            .unwrap(),
        1
    );
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(reader.await.unwrap().trim(), "|2");
    assert_eq!(count(&store, project(1)).await, 1);
}

#[tokio::test]
async fn claims_are_forgotten_by_the_epoch() {
    let test = TestStore::new();
    let store = test.open_another().await;
    for day in 0..60_u32 {
        let event = EnrichedEvent {
            received_at: now().saturating_add_seconds(i64::from(day) * 86_400),
            ..named_event(project(1), day.into())
        };
        append(&store, u64::from(day) + 1, [event]).await;
        testkit::suites::store::Harness::clock(&test).advance_seconds(86_400);
    }
    let tables = test
        .database
        .sql("select count(*) from pg_tables where tablename like 'event_ids_%'");
    assert!((2..=4).contains(&tables.trim().parse::<u32>().unwrap()), "{tables}");
    assert_eq!(count(&store, project(1)).await, 60);
}

#[tokio::test]
async fn a_database_that_is_away_is_told_soon_and_used_again_when_it_is_back() {
    let test = TestStore::new();
    let store = test.open_another().await;
    append(&store, 1, [named_event(project(1), 1)]).await;
    store.check().await.unwrap();
    let name = &test.database.name;
    let other = testkit::postgres::TestDatabase::create();
    other.sql(&format!("alter database {name} allow_connections false"));
    other.sql(&format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
    ));
    let began = Instant::now();
    let failures = [
        store.append(batch(2, [named_event(project(1), 2)])).await.err(),
        store.check().await.err(),
        store.status(now()).await.err(),
        store.checkpoint(testkit::suites::store::QUEUE).await.err(),
    ];
    for failure in failures {
        assert!(matches!(failure, Some(StoreError::Unavailable(_))), "{failure:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    other.sql(&format!("alter database {name} allow_connections true"));
    store.check().await.unwrap();
    append(&store, 2, [named_event(project(1), 2)]).await;
    assert_eq!(count(&store, project(1)).await, 2);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_told_by_check() {
    let test = TestStore::new();
    let store = test.open_another().await;
    store.check().await.unwrap();
    let name = &test.database.name;
    test.database
        .sql(&format!("alter database {name} set default_transaction_read_only = on"));
    // Connections that are made from now on have the setting.
    let other = testkit::postgres::TestDatabase::create();
    other.sql(&format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
    ));
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("takes no writes"), "{error}");
}
