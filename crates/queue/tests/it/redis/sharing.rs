//! What several processes, and several lives of one, do to each other.

use std::time::Duration;

use queue::{EventQueue, Position, QueueError, RedisOptions, RedisQueue};
use testkit::{
    build,
    suites::queue::{
        Harness, MOMENT, PATIENCE, assert_nothing_comes, contents, positions, read_exactly, record, records,
    },
};

use super::Redis;

/// A consumer that others take for dead soon.
async fn open_mortal(redis: &Redis, consumer: &str) -> RedisQueue {
    redis
        .open_with(RedisOptions {
            consumer_dead_after: Duration::from_secs(1),
            ..RedisOptions::new(consumer)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn what_a_dead_worker_held_comes_to_another_one_after_what_it_has() {
    let redis = Redis::new("everysec");
    let dead = open_mortal(&redis, "dead").await;
    dead.append(records(0..20).into()).await.unwrap();
    let held = read_exactly(&dead, 20).await;
    dead.acknowledge(&positions(&held[..5])).await.unwrap();
    drop(dead);

    let live = open_mortal(&redis, "live").await;
    live.append(records(20..25).into()).await.unwrap();
    let mut came = read_exactly(&live, 20).await;
    assert_eq!(contents(&came[..5]), records(20..25));
    assert_eq!(contents(&came[5..]), records(5..20), "in their order");
    // Later than anything that was given before: the store's checkpoints say nothing about it.
    let order = positions(&came);
    assert!(order.is_sorted() && order[5] > order[4] && order[5] > held[19].position);
    assert!(came[5..].iter().all(|delivery| delivery.attempt == 2), "{came:?}");
    assert_nothing_comes(&live).await;
    let status = live.status().await.unwrap();
    assert_eq!((status.waiting, status.delivered), (20, 20));

    // It was only slow, and comes back: nothing is left for it, and its acknowledgements harm nobody.
    let back = open_mortal(&redis, "dead").await;
    back.acknowledge(&positions(&held)).await.unwrap();
    assert_nothing_comes(&back).await;
    came.truncate(19);
    live.acknowledge(&positions(&came)).await.unwrap();
    assert_eq!(live.status().await.unwrap().waiting, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_record_that_no_worker_survives_becomes_a_dead_letter() {
    let redis = Redis::new("everysec");
    let first = redis.open_as("one").await;
    first.append(records(0..1).into()).await.unwrap();
    drop(first);
    for life in 1..=model::limits::QUEUE_DELIVERIES_MAX {
        // Each life ends without a word.
        let queue = redis.open_as("one").await;
        let came = read_exactly(&queue, 1).await;
        assert_eq!((came[0].attempt, &came[0].record), (life, &records(0..1)[0]));
    }
    let queue = redis.open_as("one").await;
    assert_nothing_comes(&queue).await;
    let letters = queue.dead_letters(Position(0), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attempts, model::limits::QUEUE_DELIVERIES_MAX);
    assert!(
        letters[0].reason.contains("20 times delivered"),
        "{}",
        letters[0].reason
    );
    assert_eq!(queue.status().await.unwrap().waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_clean_stop_counts_as_no_delivery() {
    let redis = Redis::new("everysec");
    redis.open().await.append(records(0..1).into()).await.unwrap();
    for _ in 0..3 {
        let queue = redis.open_as("one").await;
        assert_eq!(read_exactly(&queue, 1).await[0].attempt, 1);
        queue.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn workers_share_the_stream_and_each_has_a_checkpoint_of_its_own() {
    const COUNT: u64 = 3_000;
    let redis = Redis::new("everysec");
    let (one, two) = (redis.open_as("one").await, redis.open_as("two").await);
    assert_ne!(one.id(), two.id());
    for first in (0..COUNT).step_by(100) {
        one.append(records(first..first + 100).into()).await.unwrap();
    }
    let mut came = [Vec::new(), Vec::new()];
    while came.iter().map(Vec::len).sum::<usize>() < COUNT as usize {
        for (queue, came) in [&one, &two].into_iter().zip(&mut came) {
            let deliveries = queue.read(500, MOMENT).await.unwrap();
            queue.acknowledge(&positions(&deliveries)).await.unwrap();
            came.extend(deliveries);
        }
    }
    for came in &came {
        assert!(!came.is_empty());
        assert!(positions(came).is_sorted(), "what comes to one is in order");
    }
    let mut all: Vec<_> = came.concat();
    all.sort_by_key(|delivery| delivery.position);
    assert_eq!(contents(&all), records(0..COUNT));
    let status = two.status().await.unwrap();
    assert_eq!((status.waiting, status.delivered, status.consumers), (0, 0, Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn whoever_reads_under_a_name_that_another_has_taken_misses_nothing() {
    let redis = Redis::new("everysec");
    let first = redis.open_as("one").await;
    first.append(records(0..10).into()).await.unwrap();
    assert_eq!(read_exactly(&first, 4).await.len(), 4);
    // A copied data directory. All that was given under the name comes to the second one before anything new does.
    let second = redis.open_as("one").await;
    assert_eq!(contents(&read_exactly(&second, 10).await), records(0..10));
    first.append(records(10..12).into()).await.unwrap();
    assert_eq!(contents(&read_exactly(&second, 2).await), records(10..12));
    first.append(records(12..14).into()).await.unwrap();
    // The first one is refused until it has greeted again, and then knows what the second one has. Without that it would get the last two
    // alone, and its checkpoint would pass over the two before.
    let mut rest = Vec::new();
    while rest.len() < 10 {
        match first.read(100, PATIENCE).await {
            Ok(more) => rest.extend(more),
            Err(error) => assert!(matches!(error, QueueError::Unavailable(_)), "{error}"),
        }
    }
    assert!(positions(&rest).is_sorted());
    assert_eq!(contents(&rest), records(4..14));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn installations_with_other_prefixes_do_not_meet() {
    let redis = Redis::new("everysec");
    let shop = RedisOptions {
        prefix: "shop:".to_owned(),
        ..RedisOptions::new("one")
    };
    let (shop, other) = (redis.open_with(shop).await, redis.open_as("one").await);
    assert_ne!(shop.id(), other.id());
    shop.append(record(build::project(1), 1).into()).await.unwrap();
    assert_nothing_comes(&other).await;
    assert_eq!(read_exactly(&shop, 1).await.len(), 1);
    let keys = redis.0.command("KEYS shop:*");
    assert!(keys.contains("shop:events:queue"), "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn records_of_another_queue_are_copied_once_however_often_they_are_brought() {
    let redis = Redis::new("everysec");
    let queue = redis.open_as("one").await;
    let from = uuid::Uuid::from_u128(7);
    let all: Vec<_> = (0..100u64)
        .map(|number| Position(number * 10 + 1))
        .zip(records(0..100))
        .collect();
    queue.forward(from, &all[..60]).await.unwrap();
    queue.forward(from, &all[..60]).await.unwrap();
    queue.forward(from, &all[30..]).await.unwrap();
    assert_eq!(contents(&read_exactly(&queue, 100).await), records(0..100));
    assert_nothing_comes(&queue).await;
    // Of another queue the same positions are others.
    queue.forward(uuid::Uuid::from_u128(8), &all[..1]).await.unwrap();
    assert_eq!(read_exactly(&queue, 1).await.len(), 1);
}
