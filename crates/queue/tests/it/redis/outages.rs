//! What a Redis does that ends, stands still, comes back, or forgets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::limits;
use queue::{EventQueue, QueueError, RedisOptions};
use testkit::suites::queue::{PATIENCE, assert_nothing_comes, contents, positions, read_exactly, records};

use super::Redis;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn killing_redis_that_flushes_always_loses_nothing_that_was_confirmed() {
    let redis = Arc::new(Redis::new("always"));
    let queue = Arc::new(redis.open_as("one").await);
    let appenders: Vec<_> = (0..16u64)
        .map(|appender| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut confirmed = Vec::new();
                for number in appender * 100_000.. {
                    match queue.append(records(number..number + 1).into()).await {
                        Ok(()) => confirmed.push(number),
                        Err(error) => {
                            assert!(matches!(error, QueueError::Unavailable(_)), "{error}");
                            break;
                        }
                    }
                }
                confirmed
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    redis.0.kill();
    let mut confirmed = Vec::new();
    for appender in appenders {
        confirmed.extend(appender.await.unwrap());
    }
    assert!(confirmed.len() > 100, "only {} were confirmed", confirmed.len());
    assert!(queue.away().is_some());
    let started = Instant::now();
    let refused = queue.append(records(0..1).into()).await.unwrap_err();
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "nobody waits for it twice"
    );

    redis.0.start_again();
    tokio::time::timeout(PATIENCE, queue.back()).await.unwrap();
    let waiting = usize::try_from(queue.status().await.unwrap().waiting).unwrap();
    assert!(waiting >= confirmed.len());
    let came: std::collections::HashSet<_> = contents(&read_exactly(&*queue, waiting).await).into_iter().collect();
    let lost = confirmed
        .iter()
        .filter(|number| !came.contains(&records(**number..**number + 1)[0]))
        .count();
    assert_eq!(lost, 0, "of {} confirmed", confirmed.len());
    // The group that was under way may be there too, though nobody was told.
    assert!(waiting <= confirmed.len() + 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_restart_of_redis_changes_nothing_for_a_worker_at_work() {
    let redis = Redis::new("always");
    let queue = redis.open_as("one").await;
    queue.append(records(0..10).into()).await.unwrap();
    let id = queue.id();
    let taken = read_exactly(&queue, 4).await;
    redis.0.kill();
    // Done while it is away, and told later.
    queue.acknowledge(&positions(&taken[..2])).await.unwrap();
    queue.retry(&positions(&taken[2..]), Duration::ZERO).await.unwrap();
    assert_eq!(contents(&queue.read(2, PATIENCE).await.unwrap()), records(2..4));
    assert!(queue.status().await.is_err());
    redis.0.start_again();
    tokio::time::timeout(PATIENCE, queue.back()).await.unwrap();
    assert_eq!(queue.id(), id);
    let rest = read_exactly(&queue, 6).await;
    assert_eq!(contents(&rest), records(4..10), "nothing twice, nothing missing");
    assert_nothing_comes(&queue).await;
    let deadline = Instant::now() + PATIENCE;
    while queue.status().await.unwrap().waiting > 8 {
        assert!(Instant::now() < deadline, "the acknowledgements were not told");
        tokio::task::yield_now().await;
    }
    queue.append(records(10..11).into()).await.unwrap();
    let next = read_exactly(&queue, 1).await;
    // Redis may come back without its last seconds, with a clock that is behind: positions leave them out.
    assert!(next[0].position.0 > rest[5].position.0 + limits::REDIS_RESTART_SKIP_MICROS / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_redis_that_stands_still_is_away_after_a_bounded_time_and_loses_nothing_of_what_it_took() {
    let redis = Redis::new("everysec");
    let queue = Arc::new(redis.open_as("one").await);
    queue.append(records(0..10).into()).await.unwrap();
    redis.0.freeze();
    // A read that Redis takes without an answer: whatever it gives late must come all the same.
    let reader = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.read(10, Duration::from_secs(1)).await }
    });
    let started = Instant::now();
    let refused = queue.append(records(10..11).into()).await.unwrap_err();
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let mut came = reader.await.unwrap().unwrap_or_default();
    redis.0.thaw();
    tokio::time::timeout(PATIENCE, queue.back()).await.unwrap();
    while came.len() < 10 {
        came.extend(read_exactly(&*queue, 1).await);
    }
    assert!(positions(&came).is_sorted(), "the store's checkpoint relies on it");
    assert_eq!(contents(&came[..10]), records(0..10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_redis_that_has_lost_everything_is_a_new_queue_with_later_positions() {
    let redis = Redis::new("everysec");
    let queue = redis.open_as("one").await;
    queue.append(records(0..10).into()).await.unwrap();
    let id = queue.id();
    let taken = read_exactly(&queue, 10).await;
    redis.0.command("FLUSHALL");
    queue.append(records(10..12).into()).await.unwrap();
    // The next read finds its group missing, and greets again.
    let mut again = Vec::new();
    while again.len() < 2 {
        match queue.read(10, PATIENCE).await {
            Ok(more) => again.extend(more),
            Err(error) => assert!(matches!(error, QueueError::Unavailable(_)), "{error}"),
        }
    }
    assert_eq!(contents(&again), records(10..12));
    assert!(again[0].position > taken[9].position, "a position is not given again");
    assert_ne!(queue.id(), id, "a new queue has a new id");
    queue.acknowledge(&positions(&taken)).await.unwrap();
    assert_eq!(queue.status().await.unwrap().waiting, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_queue_is_opened_while_redis_is_away_and_works_when_it_is_there() {
    let redis = Redis::new("everysec");
    redis.0.kill();
    let queue = redis.open_with(RedisOptions::new("one")).await;
    assert!(!queue.id().is_nil());
    for refused in [queue.check().await, queue.append(records(0..1).into()).await] {
        assert!(matches!(refused, Err(QueueError::Unavailable(_))), "{refused:?}");
    }
    redis.0.start_again();
    tokio::time::timeout(PATIENCE, queue.back()).await.unwrap();
    queue.check().await.unwrap();
    queue.append(records(0..1).into()).await.unwrap();
    assert_eq!(contents(&read_exactly(&queue, 1).await), records(0..1));
    let note = queue.status().await.unwrap().note.unwrap();
    assert!(note.contains("appendfsync everysec"), "{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_redis_without_memory_refuses_appends_and_can_still_be_emptied() {
    let redis = Redis::new("everysec");
    let queue = redis.open_as("one").await;
    queue.append(records(0..50).into()).await.unwrap();
    assert!(redis.0.command("CONFIG SET maxmemory 1mb").starts_with("+OK"));
    let refused = queue.append(records(50..51).into()).await.unwrap_err();
    assert!(
        matches!(&refused, QueueError::Full(why) if why.contains("maxmemory")),
        "{refused:?}"
    );
    drop(queue);
    // By a worker that starts now, too.
    let queue = redis.open_as("one").await;
    assert_eq!(queue.away(), None);
    let came = read_exactly(&queue, 50).await;
    queue.dead_letter(&came[0], "unwanted").await.unwrap();
    queue.acknowledge(&positions(&came)).await.unwrap();
    let status = queue.status().await.unwrap();
    assert_eq!((status.waiting, status.dead_letters), (0, 1));
    assert!(redis.0.command("CONFIG SET maxmemory 0").starts_with("+OK"));
    queue.append(records(50..51).into()).await.unwrap();
}
