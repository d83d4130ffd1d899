//! Rate limits of one process: the generic cell rate algorithm (ITU-T I.371), one cell per key, from crate `governor`.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use governor::{
    Quota,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use model::limits;
use moka::sync::Cache;

use super::{Decision, LimitKey, RateLimiter};

type Cell = governor::RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// See the module.
#[derive(Clone)]
pub struct LocalRateLimiter {
    clock: DefaultClock,
    /// The limit is part of the key: a changed setting takes effect with a fresh cell.
    cells: Cache<(LimitKey, u32), Arc<Cell>>,
}

impl Default for LocalRateLimiter {
    fn default() -> Self {
        // A cell that was idle for a minute is full again, and so is a new one: it can be forgotten.
        let cells = Cache::builder()
            .max_capacity(limits::RATE_LIMIT_KEYS_MAX)
            .time_to_idle(Duration::from_secs(61))
            .build();
        Self {
            clock: DefaultClock::default(),
            cells,
        }
    }
}

#[async_trait]
impl RateLimiter for LocalRateLimiter {
    async fn check(&self, key: LimitKey, limit_per_minute: u32, cost: u32) -> Decision {
        let limit = NonZeroU32::new(limit_per_minute).unwrap_or(NonZeroU32::MIN);
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        let cell = self.cells.get_with((key, limit.get()), || {
            let quota = Quota::per_minute(limit);
            let cell = governor::RateLimiter::direct_with_clock(quota, self.clock.clone());
            Arc::new(cell.with_middleware())
        });
        let full_after = |used: u32| Duration::from_secs(60) * used.min(limit.get()) / limit.get();
        let refused = |remaining, retry_after, reset_after| Decision {
            allowed: false,
            limit: limit.get(),
            remaining,
            retry_after,
            reset_after,
        };
        match cell.check_n(cost) {
            Ok(Ok(snapshot)) => {
                let remaining = snapshot.remaining_burst_capacity();
                let reset_after = full_after(limit.get() - remaining.min(limit.get()));
                Decision {
                    allowed: true,
                    limit: limit.get(),
                    remaining,
                    retry_after: Some(Duration::ZERO),
                    reset_after,
                }
            }
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                // What is missing comes back at the limit's pace; the rest of the cost is there already.
                let missing = (wait.as_secs_f64() * f64::from(limit.get()) / 60.0).ceil();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and cost"
                )]
                let remaining = cost.get().saturating_sub(missing as u32).min(limit.get());
                refused(remaining, Some(wait), full_after(limit.get() - remaining))
            }
            Err(governor::InsufficientCapacity(_)) => refused(limit.get(), None, Duration::from_secs(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LimitKey = LimitKey::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn passes_the_limit_then_refuses_and_says_when() {
        let limiter = LocalRateLimiter::default();
        for used in 1..=10 {
            let decision = limiter.check(KEY, 10, 1).await;
            assert!(decision.allowed);
            assert_eq!(decision.remaining, 10 - used);
        }
        let decision = limiter.check(KEY, 10, 1).await;
        assert!(!decision.allowed);
        assert_eq!((decision.limit, decision.remaining), (10, 0));
        let retry_after = decision.retry_after.expect("a time");
        assert!(
            retry_after > Duration::from_secs(5) && retry_after <= Duration::from_secs(6),
            "{retry_after:?}"
        );
        assert!(decision.reset_after > Duration::from_secs(50), "{decision:?}");
    }

    #[tokio::test]
    async fn counts_all_or_nothing_and_tells_what_can_never_pass() {
        let limiter = LocalRateLimiter::default();
        assert!(limiter.check(KEY, 10, 7).await.allowed);
        let refused = limiter.check(KEY, 10, 5).await;
        assert!(!refused.allowed && refused.remaining == 3, "{refused:?}");
        assert!(limiter.check(KEY, 10, 3).await.allowed);
        assert_eq!(limiter.check(KEY, 10, 11).await.retry_after, None);
    }

    #[tokio::test]
    async fn keys_do_not_share_and_a_changed_limit_takes_effect() {
        let limiter = LocalRateLimiter::default();
        let other = LimitKey::Project(model::ProjectId(uuid::Uuid::from_u128(1)));
        assert!(limiter.check(KEY, 1, 1).await.allowed);
        assert!(!limiter.check(KEY, 1, 1).await.allowed);
        assert!(limiter.check(other, 1, 1).await.allowed);
        assert!(limiter.check(KEY, 2, 1).await.allowed);
    }
}
