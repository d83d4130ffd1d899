//! Rate limits that several servers share: the windows are kept elsewhere, and asked over the network.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use metrics::counter;

use super::{Decision, LimitKey, RateLimiter};

/// What a shared window says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedDecision {
    /// Within the limit, and counted; otherwise nothing is.
    pub allowed: bool,
    /// What may still pass now.
    pub remaining: u32,
    /// When as much as was asked for may pass.
    pub retry_after: Duration,
    /// When the whole limit is free again.
    pub reset_after: Duration,
}

/// Sliding windows of a minute that several servers share.
#[async_trait]
pub trait SharedWindows: Send + Sync + 'static {
    /// Asks the window of this name for `cost` of `limit_per_minute` units. `None` when it does not answer in a moment.
    async fn check(&self, name: &str, limit_per_minute: u32, cost: u32) -> Option<SharedDecision>;
}

/// See the module. When the windows do not answer, requests pass, and a metric counts them: contract, "Limits".
pub struct SharedRateLimiter {
    windows: Arc<dyn SharedWindows>,
}

impl SharedRateLimiter {
    /// Over these windows.
    pub fn new(windows: Arc<dyn SharedWindows>) -> Self {
        Self { windows }
    }
}

#[async_trait]
impl RateLimiter for SharedRateLimiter {
    async fn check(&self, key: LimitKey, limit_per_minute: u32, cost: u32) -> Decision {
        let (limit, cost) = (limit_per_minute.max(1), cost.max(1));
        if cost > limit {
            return Decision {
                allowed: false,
                limit,
                remaining: limit,
                retry_after: None,
                reset_after: Duration::from_secs(60),
            };
        }
        let name = match key {
            LimitKey::Address(address) => format!("address:{address}"),
            LimitKey::Project(project) => format!("project:{project}"),
            LimitKey::Source(source) => format!("source:{source}"),
        };
        let Some(answer) = self.windows.check(&name, limit, cost).await else {
            counter!("simple_analytics_rate_limits_unanswered_total").increment(1);
            return Decision {
                allowed: true,
                limit,
                remaining: limit - cost,
                retry_after: Some(Duration::ZERO),
                reset_after: Duration::ZERO,
            };
        };
        Decision {
            allowed: answer.allowed,
            limit,
            remaining: answer.remaining,
            retry_after: Some(answer.retry_after),
            reset_after: answer.reset_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as told.
    struct Canned(Option<SharedDecision>);

    #[async_trait]
    impl SharedWindows for Canned {
        async fn check(&self, name: &str, limit_per_minute: u32, cost: u32) -> Option<SharedDecision> {
            assert_eq!((name, limit_per_minute, cost), ("address:127.0.0.1", 10, 3));
            self.0
        }
    }

    const KEY: LimitKey = LimitKey::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn limiter(answer: Option<SharedDecision>) -> SharedRateLimiter {
        SharedRateLimiter::new(Arc::new(Canned(answer)))
    }

    #[tokio::test]
    async fn passes_on_what_the_window_says() {
        let answer = SharedDecision {
            allowed: false,
            remaining: 2,
            retry_after: Duration::from_secs(6),
            reset_after: Duration::from_secs(48),
        };
        let decision = limiter(Some(answer)).check(KEY, 10, 3).await;
        assert!(!decision.allowed);
        assert_eq!((decision.limit, decision.remaining), (10, 2));
        assert_eq!(decision.retry_after, Some(answer.retry_after));
    }

    #[tokio::test]
    async fn lets_pass_without_an_answer_and_never_what_is_more_than_the_limit() {
        let decision = limiter(None).check(KEY, 10, 3).await;
        assert!(decision.allowed && decision.remaining == 7, "{decision:?}");
        let decision = limiter(None).check(KEY, 10, 11).await;
        assert!(!decision.allowed && decision.retry_after.is_none(), "{decision:?}");
    }
}
