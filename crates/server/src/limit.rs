//! Rate limits: events per project and source, requests per address.

mod local;
mod shared;

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
pub use local::LocalRateLimiter;
use model::{ProjectId, SourceId};
pub use shared::{SharedDecision, SharedRateLimiter, SharedWindows};

/// What a limit counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// Requests of a client address.
    Address(IpAddr),
    /// Events of a project.
    Project(ProjectId),
    /// Events of a source.
    Source(SourceId),
}

/// The verdict on a request or its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Within the limit; what was asked for has been counted. Otherwise nothing has.
    pub allowed: bool,
    /// The limit, per minute.
    pub limit: u32,
    /// What may still pass now.
    pub remaining: u32,
    /// When as much as was asked for may pass; `None` = never, it is more than the limit.
    pub retry_after: Option<Duration>,
    /// When the whole limit is free again.
    pub reset_after: Duration,
}

/// Counts and decides. A shared implementation (Redis) answers over the network, so the call is asynchronous; when it cannot
/// reach its counter it lets pass.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Asks for `cost` units of `limit_per_minute` (at least 1): all of them are counted, or none.
    async fn check(&self, key: LimitKey, limit_per_minute: u32, cost: u32) -> Decision;
}
