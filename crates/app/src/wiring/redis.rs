//! What `REDIS_URL` chooses.

use std::{fs, io, path::Path, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use model::Clock;
use queue::{
    EmbeddedQueue, EventQueue, FallbackQueue, RedisAddress, RedisOptions, RedisQueue,
    redis::{SharedWindow, Verdict},
};
use server::limit::{RateLimiter, SharedDecision, SharedRateLimiter, SharedWindows};
use uuid::Uuid;

use super::EngineMode;
use crate::config::Settings;

/// The Redis that the settings name.
pub(super) fn address(settings: &Settings, url: &str) -> anyhow::Result<RedisAddress> {
    let authorities = match &settings.redis_ca_file {
        Some(file) => Some(fs::read(file).with_context(|| format!("cannot read REDIS_CA_FILE {}", file.display()))?),
        None => None,
    };
    RedisAddress::parse(url, authorities.as_deref()).context(if authorities.is_some() {
        "REDIS_URL, REDIS_CA_FILE"
    } else {
        "REDIS_URL"
    })
}

/// The queue in Redis, with `local` for the time that Redis is away. A process that `takes_part` reads under the name of its data directory;
/// one that only looks has a name that nobody remembers.
pub(super) async fn queue(
    settings: &Settings,
    address: &RedisAddress,
    mode: EngineMode,
    takes_part: bool,
    local: Option<EmbeddedQueue>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn EventQueue>> {
    let consumer = match takes_part {
        true => consumer_name(&settings.data_dir.join("redis-consumer"))?,
        false => Uuid::new_v4().to_string(),
    };
    let options = RedisOptions {
        prefix: settings.redis_prefix.clone(),
        bytes_max: settings.redis_queue_bytes_max,
        wait_replicas: settings.redis_wait_replicas,
        roles: roles(settings, mode),
        ..RedisOptions::new(consumer)
    };
    let redis = RedisQueue::open(address, options, clock).await;
    Ok(match local {
        Some(local) => Arc::new(FallbackQueue::new(redis, local).await?),
        None => Arc::new(redis),
    })
}

/// What this process tells the others that it does.
fn roles(settings: &Settings, mode: EngineMode) -> String {
    let roles: Vec<&str> = settings.roles.iter().map(|role| role.name()).collect();
    match mode {
        EngineMode::Serve => roles.join(","),
        EngineMode::Command => String::new(),
    }
}

/// The name under which this data directory's process reads. Its own for ever: the store's checkpoint goes by it.
fn consumer_name(file: &Path) -> anyhow::Result<String> {
    let name = match fs::read_to_string(file) {
        Ok(name) => name.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    if !name.is_empty() {
        return Ok(name);
    }
    let name = Uuid::new_v4().to_string();
    fs::write(file, &name).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(name)
}

/// Rate limits that all servers of this Redis share.
pub(super) async fn limiter(settings: &Settings, address: &RedisAddress) -> Arc<dyn RateLimiter> {
    let windows = SharedWindow::open(address, &settings.redis_prefix).await;
    Arc::new(SharedRateLimiter::new(Arc::new(Windows(windows))))
}

struct Windows(SharedWindow);

#[async_trait]
impl SharedWindows for Windows {
    async fn check(&self, name: &str, limit_per_minute: u32, cost: u32) -> Option<SharedDecision> {
        let verdict = self.0.check(name, limit_per_minute, cost).await?;
        let Verdict {
            allowed,
            remaining,
            retry_after,
            reset_after,
        } = verdict;
        Some(SharedDecision {
            allowed,
            remaining,
            retry_after,
            reset_after,
        })
    }
}
