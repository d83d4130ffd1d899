//! The queue in Redis: the suite of every queue, and what only it promises. Each test has a server of its own.

mod cluster;
mod limits;
mod outages;
mod sharing;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use queue::{EventQueue, RedisAddress, RedisOptions, RedisQueue};
use testkit::{
    build::instant,
    clock::FixedClock,
    queue_suite,
    redis_server::RedisServer,
    suites::queue::{Harness, SMALL_BYTES},
};

/// Opens a queue without certificates.
pub async fn open(url: &str, options: RedisOptions) -> RedisQueue {
    let address = RedisAddress::parse(url, None).unwrap();
    RedisQueue::open(&address, options, clock()).await
}

pub fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")))
}

/// A queue in a server of its own.
pub struct Redis(pub RedisServer);

impl Redis {
    pub fn new(appendfsync: &'static str) -> Self {
        Self(RedisServer::start(appendfsync))
    }

    pub async fn open_with(&self, options: RedisOptions) -> RedisQueue {
        open(&self.0.url(), options).await
    }

    pub async fn open_as(&self, consumer: &str) -> RedisQueue {
        self.open_with(RedisOptions::new(consumer)).await
    }
}

#[async_trait]
impl Harness for Redis {
    async fn open(&self) -> Arc<dyn EventQueue> {
        Arc::new(self.open_as("one").await)
    }

    async fn open_small(&self) -> Arc<dyn EventQueue> {
        let options = RedisOptions {
            bytes_max: SMALL_BYTES,
            ..RedisOptions::new("one")
        };
        Arc::new(self.open_with(options).await)
    }
}

queue_suite!(attributes: [
    #[cfg_attr(not(has_redis_server), ignore = "no redis-server on this machine: scripts/setup.sh installs it")]
]; Redis::new("everysec"));
