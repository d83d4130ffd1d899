//! The queue in Redis with the local one behind it: the suite, and what happens while Redis is away. Each test has a server of its own.

use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue, FallbackQueue, OpenError, Record, RedisOptions};
use testkit::{
    build::instant,
    clock::FixedClock,
    queue_suite,
    suites::queue::{Harness, PATIENCE, SMALL_BYTES, assert_nothing_comes, contents, positions, read_exactly, records},
};

use super::redis::Redis;

struct Both {
    redis: Redis,
    directory: tempfile::TempDir,
}

impl Both {
    fn new() -> Self {
        Self {
            redis: Redis::new("everysec"),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn local(&self, options: &EmbeddedOptions) -> EmbeddedQueue {
        let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
        let directory = self.directory.path().join("queue");
        let deadline = Instant::now() + PATIENCE;
        loop {
            // What was dropped before ends with its task.
            match EmbeddedQueue::open(&directory, options.clone(), Arc::clone(&clock) as _) {
                Err(OpenError::Locked(_)) if Instant::now() < deadline => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    async fn open_with(&self, redis: RedisOptions, local: EmbeddedOptions) -> Arc<dyn EventQueue> {
        let redis = self.redis.open_with(redis).await;
        Arc::new(FallbackQueue::new(redis, self.local(&local)).await.unwrap())
    }
}

#[async_trait]
impl Harness for Both {
    async fn open(&self) -> Arc<dyn EventQueue> {
        self.open_with(RedisOptions::new("one"), EmbeddedOptions::default())
            .await
    }

    async fn open_small(&self) -> Arc<dyn EventQueue> {
        let redis = RedisOptions {
            bytes_max: SMALL_BYTES,
            ..RedisOptions::new("one")
        };
        let local = EmbeddedOptions {
            bytes_max: SMALL_BYTES,
            segment_bytes: 16 * 1024,
            ..EmbeddedOptions::default()
        };
        self.open_with(redis, local).await
    }
}

queue_suite!(attributes: [
    #[cfg_attr(not(has_redis_server), ignore = "no redis-server on this machine: scripts/setup.sh installs it")]
]; Both::new());

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn events_are_accepted_while_redis_is_away_and_come_in_order_when_it_is_back() {
    let both = Both::new();
    let queue = both.open().await;
    queue.append(records(0..3).into()).await.unwrap();
    both.redis.0.kill();
    for first in (3..303).step_by(3) {
        queue.append(records(first..first + 3).into()).await.unwrap();
    }
    queue.check().await.expect("events are taken");
    let status = queue.status().await.unwrap();
    assert_eq!(status.waiting, 300, "what Redis has is not known now");
    let note = status.note.unwrap();
    assert!(
        note.contains("Redis is away") && note.contains("300 events wait on the local disk"),
        "{note}"
    );
    assert_nothing_comes(&*queue).await;
    both.redis.0.start_again();
    let came = read_exactly(&*queue, 303).await;
    assert_eq!(contents(&came), records(0..303));
    queue.acknowledge(&positions(&came)).await.unwrap();
    // From here on they go to Redis again.
    queue.append(records(303..304).into()).await.unwrap();
    assert_eq!(contents(&read_exactly(&*queue, 1).await), records(303..304));
    let status = queue.status().await.unwrap();
    assert_eq!(status.waiting, 1);
    assert!(!status.note.unwrap().contains("local"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn nothing_accepted_is_lost_whatever_redis_does_meanwhile() {
    let both = Arc::new(Both::new());
    let queue = both.open().await;
    let (stop, stopped) = tokio::sync::watch::channel(());
    let appenders: Vec<_> = (0..8u64)
        .map(|appender| {
            let (queue, stopped) = (Arc::clone(&queue), stopped.clone());
            tokio::spawn(async move {
                let mut next = appender * 1_000_000;
                let mut slowest = Duration::ZERO;
                while stopped.has_changed().is_ok() {
                    let started = Instant::now();
                    queue
                        .append(records(next..next + 1).into())
                        .await
                        .expect("always accepted");
                    slowest = slowest.max(started.elapsed());
                    next += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (appender * 1_000_000..next, slowest)
            })
        })
        .collect();
    let moment = || tokio::time::sleep(Duration::from_millis(300));
    moment().await;
    both.redis.0.kill();
    moment().await;
    both.redis.0.start_again();
    moment().await;
    both.redis.0.freeze();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    both.redis.0.thaw();
    moment().await;
    drop(stop);
    let mut missing: HashSet<Record> = HashSet::new();
    let mut accepted = 0;
    for appender in appenders {
        let (numbers, slowest) = appender.await.unwrap();
        accepted += numbers.end - numbers.start;
        missing.extend(records(numbers));
        assert!(slowest < PATIENCE, "{slowest:?}");
    }
    let deadline = Instant::now() + PATIENCE;
    let mut came = 0;
    while !missing.is_empty() {
        assert!(
            Instant::now() < deadline,
            "{} of {accepted} did not come",
            missing.len()
        );
        let deliveries = queue.read(1_000, Duration::from_millis(100)).await.unwrap();
        queue.acknowledge(&positions(&deliveries)).await.unwrap();
        came += deliveries.len() as u64;
        for delivery in deliveries {
            missing.remove(&delivery.record);
        }
    }
    // Only what was under way when Redis went can be there twice: one append of each.
    assert!(came <= accepted + 2 * 8, "{came} came of {accepted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_crash_between_the_copy_and_its_acknowledgement_copies_nothing_twice() {
    let both = Both::new();
    both.redis.0.kill();
    let queue = both.open().await;
    queue.append(records(0..2_500).into()).await.unwrap();
    let _ = queue.close().await;
    drop(queue);
    let before = both.directory.path().join("before");
    copy(&both.directory.path().join("queue"), &before);
    both.redis.0.start_again();
    let queue = both.open().await;
    let deadline = Instant::now() + PATIENCE;
    while queue.status().await.unwrap().note.unwrap().contains("local") {
        assert!(Instant::now() < deadline, "not copied");
        tokio::task::yield_now().await;
    }
    queue.close().await.unwrap();
    drop(queue);
    // The local queue forgets that it was copied.
    std::fs::remove_dir_all(both.directory.path().join("queue")).unwrap();
    std::fs::rename(&before, both.directory.path().join("queue")).unwrap();
    let queue = both.open().await;
    queue.append(records(2_500..2_501).into()).await.unwrap();
    assert_eq!(contents(&read_exactly(&*queue, 2_501).await), records(0..2_501));
    assert_nothing_comes(&*queue).await;
}
