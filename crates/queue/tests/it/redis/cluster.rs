//! A Redis Cluster: three masters and a replica, real nodes. Servers are told the masters that do not have the queue.

use std::{sync::Arc, time::Duration};

use model::limits;
use queue::{
    EmbeddedOptions, EmbeddedQueue, EventQueue, FallbackQueue, QueueError, RedisAddress, RedisOptions, RedisQueue,
    redis::SharedWindow,
};
use testkit::{
    build::instant,
    clock::FixedClock,
    redis_cluster::{RedisCluster, until},
    redis_server::RedisServer,
    suites::queue::{MOMENT, PATIENCE, assert_nothing_comes, contents, positions, read_exactly, records},
};

use super::{Redis, open};

const PREFIX: &str = "{shop}:";

fn cluster(replicas: usize) -> RedisCluster {
    RedisCluster::start("everysec", &format!("{PREFIX}events:queue"), replicas)
}

fn options(consumer: &str) -> RedisOptions {
    RedisOptions {
        prefix: PREFIX.to_owned(),
        ..RedisOptions::new(consumer)
    }
}

async fn back(queue: &RedisQueue) {
    tokio::time::timeout(PATIENCE, queue.back()).await.unwrap();
}

/// Appends one record after another until one is refused; returns how many were confirmed.
async fn append_until_refused(queue: &RedisQueue, first: u64) -> Vec<u64> {
    let mut confirmed = Vec::new();
    for number in first.. {
        match queue.append(records(number..number + 1).into()).await {
            Ok(()) => confirmed.push(number),
            Err(error) => {
                assert!(matches!(error, QueueError::Unavailable(_)), "{error}");
                break;
            }
        }
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_master_that_is_killed_is_followed_by_its_replica_and_costs_nothing_that_the_replica_confirmed() {
    let cluster = cluster(1);
    let options = RedisOptions {
        wait_replicas: 1,
        ..options("one")
    };
    let queue = Arc::new(open(&cluster.url(), options).await);
    assert_eq!(queue.away(), None);
    queue.append(records(0..10).into()).await.unwrap();
    let taken = read_exactly(&*queue, 10).await;
    queue.acknowledge(&positions(&taken[..4])).await.unwrap();
    let appenders: Vec<_> = (1..=8u64)
        .map(|appender| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { append_until_refused(&queue, appender * 100_000).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.owner().kill();
    let mut confirmed = Vec::new();
    for appender in appenders {
        confirmed.extend(appender.await.unwrap());
    }
    assert!(confirmed.len() > 100, "only {} were confirmed", confirmed.len());
    back(&queue).await;
    let role = cluster.replicas()[0].command("ROLE");
    assert!(role.contains("master"), "{role}");

    // All that was confirmed is there, and what was taken before is taken up or comes again.
    let mut came = std::collections::HashSet::new();
    loop {
        let deliveries = queue.read(1_000, Duration::from_millis(300)).await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        assert!(positions(&deliveries).is_sorted());
        came.extend(contents(&deliveries));
        queue.acknowledge(&positions(&deliveries)).await.unwrap();
    }
    let lost = confirmed
        .iter()
        .filter(|number| !came.contains(&records(**number..**number + 1)[0]))
        .count();
    assert_eq!(lost, 0, "of {} confirmed", confirmed.len());

    // Without another replica nothing is confirmed, though it is appended.
    let refused = queue.append(records(20..21).into()).await.unwrap_err();
    assert!(
        matches!(&refused, QueueError::Unavailable(why) if why.contains("0 of the 1 replicas")),
        "{refused}"
    );
    assert_eq!(queue.away(), None, "it answers all the same");
    cluster.owner().start_again();
    until("the killed master follows", || {
        cluster.replicas()[0]
            .command("INFO replication")
            .contains("state=online")
    });
    queue.append(records(21..22).into()).await.unwrap();
    assert_eq!(contents(&read_exactly(&*queue, 2).await), records(20..22));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn while_no_node_has_the_queue_events_wait_on_the_local_disk() {
    let cluster = cluster(0);
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
    let local = EmbeddedQueue::open(directory.path(), EmbeddedOptions::default(), clock).unwrap();
    let queue = FallbackQueue::new(open(&cluster.url(), options("one")).await, local)
        .await
        .unwrap();
    queue.append(records(0..5).into()).await.unwrap();
    assert_eq!(contents(&read_exactly(&queue, 5).await), records(0..5));
    cluster.owner().kill();
    for number in 5..30 {
        queue.append(records(number..number + 1).into()).await.unwrap();
    }
    until("the others notice", || {
        cluster
            .others()
            .all(|node| node.command("CLUSTER INFO").contains("cluster_state:fail"))
    });
    queue.append(records(30..35).into()).await.unwrap();
    let note = queue.status().await.unwrap().note.unwrap();
    assert!(note.contains("Redis is away"), "{note}");
    cluster.owner().start_again();
    assert_eq!(
        contents(&read_exactly(&queue, 30).await),
        records(5..35),
        "in order, once"
    );
    assert_nothing_comes(&queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_slot_that_moves_is_followed_with_all_that_waits() {
    let cluster = cluster(0);
    let queue = open(&cluster.url(), options("one")).await;
    let address = RedisAddress::parse(&cluster.url(), None).unwrap();
    let window = SharedWindow::open(&address, PREFIX).await;
    tokio::time::timeout(PATIENCE, window.back()).await.unwrap();
    queue.append(records(0..10).into()).await.unwrap();
    let taken = read_exactly(&queue, 4).await;
    let id = queue.id();
    let (from, to) = (cluster.owner(), cluster.others().next().unwrap());
    let word = |answer: String| {
        answer
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches(':')
            .to_owned()
    };
    let slot = word(from.command("CLUSTER KEYSLOT {shop}:events:queue"));
    let (old, new) = (word(from.command("CLUSTER MYID")), word(to.command("CLUSTER MYID")));
    to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {old}"));
    from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {new}"));
    // Half way neither has all keys, and neither is used.
    let migrate = |key: &str| from.command(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port()));
    assert!(migrate("{shop}:events:queue").starts_with("+OK"));
    let refused = queue.append(records(10..11).into()).await;
    assert!(matches!(refused, Err(QueueError::Unavailable(_))), "{refused:?}");
    tokio::time::sleep(MOMENT).await;
    assert!(queue.away().is_some());
    let keys = from.command(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
    for key in keys.lines().filter(|line| line.starts_with("{shop}")) {
        assert!(migrate(key).starts_with("+OK"), "{key}");
    }
    for node in cluster.nodes() {
        node.command(&format!("CLUSTER SETSLOT {slot} NODE {new}"));
    }
    back(&queue).await;
    queue.append(records(10..12).into()).await.unwrap();
    // Positions that it gave are known at the new place too, so that a checkpoint goes on.
    assert_eq!(queue.id(), id);
    queue.acknowledge(&positions(&taken)).await.unwrap();
    let rest = read_exactly(&queue, 8).await;
    assert_eq!(contents(&rest), [records(4..10), records(10..12)].concat());
    assert!(rest.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert!(to.command("EXISTS {shop}:events:queue").starts_with(":1"));
    // Rate limits follow: the first question finds out.
    let mut verdict = None;
    while verdict.is_none() {
        verdict = window.check("one", 10, 1).await;
        tokio::time::timeout(PATIENCE, window.back()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn what_cannot_work_on_a_cluster_is_told_with_the_remedy() {
    let cluster = cluster(1);
    let without_tag = open(&cluster.url(), RedisOptions::new("one")).await.away().unwrap();
    assert!(without_tag.contains("set REDIS_PREFIX"), "{without_tag}");
    let single = [Redis::new("no"), Redis::new("no")];
    let urls = format!("{},{}", single[0].0.url(), single[1].0.url());
    let two = open(&urls, options("one")).await.away().unwrap();
    assert!(two.contains("no node of a cluster"), "{two}");
    // The replica alone names its master.
    let led = open(&cluster.replicas()[0].url(), options("one")).await;
    assert_eq!(led.away(), None);
}

/// The replica takes over without the last seconds: who was given what is forgotten, and nothing may be taken for stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_consumer_goes_on_under_a_new_checkpoint_when_it_is_forgotten_what_it_was_given() {
    let cluster = cluster(1);
    let (one, two) = (
        open(&cluster.url(), options("one")).await,
        open(&cluster.url(), options("two")).await,
    );
    // One read takes as many as it may: the rest is for the other one.
    const FIRST: u64 = limits::REDIS_FETCH_RECORDS as u64;
    one.append(records(0..FIRST + 20).into()).await.unwrap();
    let replica = &cluster.replicas()[0];
    let offset = |node: &RedisServer| {
        let info = node.command("INFO replication");
        let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        offset.map(str::to_owned)
    };
    until("the replica has all", || offset(cluster.owner()) == offset(replica));
    let (id_of_one, id_of_two) = (one.id(), two.id());
    // From here on the replica hears nothing.
    replica.freeze();
    assert!(cluster.owner().command("CLIENT KILL TYPE replica").starts_with(":1"));
    let given_to_two = read_exactly(&two, FIRST as usize).await;
    let given_to_one = read_exactly(&one, 20).await;
    one.acknowledge(&positions(&given_to_one)).await.unwrap();
    cluster.owner().kill();
    replica.thaw();
    for (queue, before) in [(&one, id_of_one), (&two, id_of_two)] {
        let changed = async {
            while queue.id() == before {
                // Whoever asks nothing hears nothing.
                let _ = queue.status().await;
                tokio::time::sleep(MOMENT).await;
            }
        };
        tokio::time::timeout(PATIENCE, changed)
            .await
            .expect("another checkpoint");
    }
    // The first half was given to the other one, who has not stored it: below the old checkpoint, and given again.
    drop(two);
    let again = read_exactly(&one, FIRST as usize + 20).await;
    assert_eq!(
        contents(&again),
        [contents(&given_to_two), contents(&given_to_one)].concat()
    );
}
