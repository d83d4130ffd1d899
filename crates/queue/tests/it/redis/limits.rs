//! Rate limits that several servers share.

use std::time::{Duration, Instant};

use queue::{
    RedisAddress,
    redis::{SharedWindow, Verdict},
};
use testkit::{redis_server::RedisServer, suites::queue::PATIENCE};

async fn connected(server: &RedisServer) -> SharedWindow {
    let window = SharedWindow::open(&RedisAddress::parse(&server.url(), None).unwrap(), "").await;
    tokio::time::timeout(PATIENCE, window.back()).await.unwrap();
    window
}

async fn ask(window: &SharedWindow, limit: u32, cost: u32) -> Verdict {
    // An answer that is late lets pass, and this machine is shared.
    for _ in 0..50 {
        if let Some(verdict) = window.check("project:one", limit, cost).await {
            return verdict;
        }
        tokio::time::timeout(PATIENCE, window.back()).await.unwrap();
    }
    panic!("no answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn two_servers_pass_the_limit_together_then_refuse_and_say_when() {
    let redis = RedisServer::start("no");
    let servers = [connected(&redis).await, connected(&redis).await];
    for used in 1..=10u32 {
        let verdict = ask(&servers[used as usize % 2], 10, 1).await;
        assert!(verdict.allowed, "{verdict:?}");
        assert_eq!(verdict.remaining, 10 - used);
    }
    for server in &servers {
        let refused = ask(server, 10, 1).await;
        assert!(!refused.allowed && refused.remaining == 0, "{refused:?}");
        let seconds = refused.retry_after.as_secs_f64();
        assert!(seconds > 4.0 && seconds <= 6.0, "{refused:?}");
        assert!(refused.reset_after > Duration::from_secs(50), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn the_first_question_is_answered() {
    let redis = RedisServer::start("no");
    // An answer may be late, but not each first one.
    for _ in 0..10 {
        let window = SharedWindow::open(&RedisAddress::parse(&redis.url(), None).unwrap(), "").await;
        if window.check("project:one", 100, 1).await.is_some() {
            return;
        }
    }
    panic!("no server's first question was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn all_or_nothing_is_counted_and_a_changed_limit_takes_effect() {
    let redis = RedisServer::start("no");
    let window = connected(&redis).await;
    assert!(ask(&window, 10, 7).await.allowed);
    let refused = ask(&window, 10, 5).await;
    assert!(!refused.allowed && refused.remaining == 3, "{refused:?}");
    assert!(ask(&window, 10, 3).await.allowed);
    assert!(ask(&window, 20, 20).await.allowed);
    // Nothing stays when a window is free again.
    let left = redis.command("PTTL limit:project:one:20");
    let millis: u64 = left.trim_start_matches(':').trim_end().parse().unwrap();
    assert!(millis <= 60_000, "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_redis_that_stands_still_delays_one_answer_and_then_none() {
    let redis = RedisServer::start("no");
    let window = connected(&redis).await;
    assert!(ask(&window, 2, 2).await.allowed);
    redis.freeze();
    assert_eq!(window.check("project:one", 2, 1).await, None);
    let started = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(window.check("project:one", 2, 1).await, None);
    }
    assert!(started.elapsed() < PATIENCE / 3, "{:?}", started.elapsed());
    redis.thaw();
    assert!(!ask(&window, 2, 1).await.allowed, "it counts again");
}
