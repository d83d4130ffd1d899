//! Sampling (contract, "Sampling").

use model::{AcceptedEvent, ProjectId, Sampling, SamplingStrategy, Timestamp};
use sha2::{Digest, Sha256};

const MINUTE_MICROS: i64 = 60_000_000;

/// Whether an event is kept. `user` is [`sampled_user`]'s; `random` is uniform in `[0, 1)`, new for each event.
///
/// A rate that is not a number keeps everything: losing events by a broken setting is the worse mistake.
pub fn keeps(
    sampling: Sampling,
    project_id: ProjectId,
    user: Option<&str>,
    received_at: Timestamp,
    random: f64,
) -> bool {
    if !sampling.enabled || sampling.rate >= 1.0 || sampling.rate.is_nan() {
        return true;
    }
    let place = match (sampling.strategy, user) {
        (SamplingStrategy::Deterministic, Some(user)) => place_of_user(project_id, user),
        (SamplingStrategy::Deterministic, None) | (SamplingStrategy::Random, _) => random,
        (SamplingStrategy::TimeWindow, _) => share(
            received_at.as_micros().rem_euclid(MINUTE_MICROS).unsigned_abs(),
            MINUTE_MICROS.unsigned_abs(),
        ),
    };
    place < sampling.rate
}

/// The user that deterministic sampling goes by: the client's `user_id`, else its `anonymous_id`.
pub fn sampled_user(event: &AcceptedEvent) -> Option<&str> {
    event.user_id.as_deref().or(event.anonymous_id.as_deref())
}

/// A user's fixed place in `[0, 1)`: the first 53 bits of SHA-256(project id | user). The rate is a threshold over it, so
/// raising the rate only ever adds users. Never to be changed: a user would switch sides.
fn place_of_user(project_id: ProjectId, user: &str) -> f64 {
    const BITS: u32 = 53;
    let hash = Sha256::new()
        .chain_update(project_id.0.as_bytes())
        .chain_update(user)
        .finalize();
    let head = hash.iter().take(8).fold(0, |head, byte| head << 8 | u64::from(*byte));
    share(head >> (u64::BITS - BITS), 1 << BITS)
}

#[expect(clippy::cast_precision_loss, reason = "both are at most 2^53 and therefore exact")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests;
