//! Reading from a standby that streams, and from the primary while it is too far behind or away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use model::limits;
use store::{EventStore, ReplicaStatus};
use store_postgres::PostgresEventStore;
use testkit::{
    build::{enriched_event, project},
    clock::FixedClock,
    postgres::{PostgresServer, TestDatabase},
    suites::store::{append, count, now, read},
};

/// How long anything may take: machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(url: &str, replica_url: &str) -> Arc<PostgresEventStore> {
    let clock = Arc::new(FixedClock::at(now()));
    Arc::new(PostgresEventStore::open(url, Some(replica_url), clock).await.unwrap())
}

/// Waits until the replica is as wanted.
async fn until(store: &PostgresEventStore, what: &str, is_so: impl Fn(&ReplicaStatus) -> bool) -> ReplicaStatus {
    let started = Instant::now();
    loop {
        let status = store.replica().unwrap();
        if is_so(&status) {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "waited until {what}: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_count(store: &PostgresEventStore, wanted: i64) {
    let started = Instant::now();
    while count(store, project(1)).await != wanted {
        assert!(started.elapsed() < PATIENCE, "waited for {wanted} events");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every reader has got an answer that it had not when this was called.
async fn all_read_on(reads: &[AtomicU32]) {
    let before: Vec<u32> = reads.iter().map(|reads| reads.load(Ordering::Relaxed)).collect();
    let deadline = Instant::now() + limits::QUERY_TIMEOUT / 2;
    while reads
        .iter()
        .zip(&before)
        .any(|(reads, before)| reads.load(Ordering::Relaxed) == *before)
    {
        assert!(Instant::now() < deadline, "a reader waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Connections whose last statement asked for events.
fn asked(server: &PostgresServer) -> u32 {
    let asked = server.sql(
        "select count(*) from pg_stat_activity where query like '%project_events(%' and pid <> pg_backend_pid() \
         and application_name = 'simple-analytics'",
    );
    asked.trim().parse().unwrap()
}

/// Statements that sleep there now.
fn asked_slowly(server: &PostgresServer) -> u32 {
    let asked =
        server.sql("select count(*) from pg_stat_activity where query like '%pg_sleep(4)%' and wait_event = 'PgSleep'");
    asked.trim().parse().unwrap()
}

fn event(number: u128) -> model::EnrichedEvent {
    enriched_event(project(1), number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_standby_while_it_is_near_enough() {
    let (primary, standby) = PostgresServer::start_with_standby();
    let store = open(&primary.url(), &standby.url()).await;
    append(&*store, 1, [event(1), event(2)]).await;
    until(&store, "reads go to the standby", |status| status.serves).await;
    until_count(&store, 2).await;
    assert_eq!(
        (asked(&primary), asked(&standby) > 0),
        (0, true),
        "the standby answered, the primary did not"
    );

    standby.sql("select pg_wal_replay_pause()");
    append(&*store, 3, [event(3)]).await;
    let behind = until(&store, "the lag is too much", |status| !status.serves).await;
    assert!(behind.lag.unwrap() > limits::POSTGRES_REPLICA_LAG_MAX, "{behind:?}");
    assert!(behind.trouble.as_deref().unwrap().contains(" s behind"), "{behind:?}");
    assert_eq!(count(&*store, project(1)).await, 3, "the primary knows all");
    assert!(asked(&primary) > 0);
    assert_eq!(standby.sql("select count(*) from events").trim(), "2");

    standby.sql("select pg_wal_replay_resume()");
    let near = until(&store, "reads return to the standby", |status| status.serves).await;
    assert!(near.lag.unwrap() <= limits::POSTGRES_REPLICA_LAG_MAX, "{near:?}");
    assert_eq!(near.trouble, None);
    assert_eq!(count(&*store, project(1)).await, 3);
    // An idle primary is no lag.
    tokio::time::sleep(limits::POSTGRES_REPLICA_LAG_MAX + limits::POSTGRES_REPLICA_INTERVAL).await;
    until(&store, "the standby serves on", |status| status.serves).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_dies_or_stands_still_fails_no_read_and_is_read_again_when_it_is_back() {
    let (primary, standby) = PostgresServer::start_with_standby();
    let store = open(&primary.url(), &standby.url()).await;
    append(&*store, 1, [event(1)]).await;
    until(&store, "reads go to the standby", |status| status.serves).await;
    until_count(&store, 1).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reads: Arc<[AtomicU32; 3]> = Arc::default();
    let readers: Vec<_> = (0..reads.len())
        .map(|reader| {
            let (store, is_over, reads) = (Arc::clone(&store), Arc::clone(&is_over), Arc::clone(&reads));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    // Panics when a read fails.
                    assert_eq!(count(&*store, project(1)).await, 1);
                    reads[reader].fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    standby.kill();
    let away = until(&store, "the death is known", |status| !status.serves).await;
    assert!(away.trouble.as_deref().unwrap().contains("it is away"), "{away:?}");
    all_read_on(&*reads).await;
    standby.start_again();
    until(&store, "reads return", |status| status.serves).await;
    // This one is under way then.
    let slow = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            read(&*store, project(1), |events, _| {
                format!("select count(*), max(pg_sleep(4)::text) from {events}")
            })
            .await
        }
    });
    while asked_slowly(&standby) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    standby.freeze();
    until(&store, "the standstill is known", |status| !status.serves).await;
    all_read_on(&*reads).await;
    // Less than the time after which a statement that nobody answers is given up.
    let answered = tokio::time::timeout(limits::QUERY_TIMEOUT / 2, slow).await;
    assert_eq!(answered.expect("no wait for it").unwrap().rows.len(), 1);
    standby.thaw();
    until(&store, "reads return once more", |status| status.serves).await;
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(store.replica().unwrap().reads_taken_over > 0, "some were under way");
    // Reading goes on while the primary is away.
    primary.kill();
    assert_eq!(count(&*store, project(1)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_standby_of_the_database_is_never_read() {
    let (primary, standby) = PostgresServer::start_with_standby();
    let other = TestDatabase::create();
    let nobody = "postgres://postgres:secret@127.0.0.1:1/postgres".to_owned();
    for (url, replica_url, trouble) in [
        (primary.url(), primary.url(), "it is no standby"),
        (other.url.clone(), standby.url(), "it is a copy of another database"),
        (primary.url(), nobody, "it is away"),
    ] {
        let store = open(&url, &replica_url).await;
        append(&*store, 1, [event(1)]).await;
        let status = store.replica().unwrap();
        assert!(!status.serves, "{status:?}");
        assert!(status.trouble.as_deref().unwrap().contains(trouble), "{status:?}");
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
        assert_eq!(count(&*store, project(1)).await, 1);
        store.close().await.unwrap();
        primary.sql("drop schema public cascade; create schema public");
    }
}
