//! Whether an append would be taken, told without one.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use model::limits;

use super::shared::{Shared, lock};
use crate::QueueError;

/// How long a medium that failed counts as failing when nothing is appended: clients are told to come again after this.
const FAILURE_TIME: Duration = Duration::from_secs(limits::UNAVAILABLE_RETRY_AFTER_SECONDS);
/// Room that the last segment must have to take an event: about the largest one.
const EVENT_BYTES: u64 = limits::PROPERTIES_BYTES_MAX as u64;

/// How the last append went.
pub(super) struct Readiness(Mutex<Last>);

struct Last {
    /// The next append begins a segment: after a refusal, and after a start.
    needs_segment: bool,
    /// When the medium failed, and how.
    failure: Option<(Instant, String)>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Mutex::new(Last {
            needs_segment: true,
            failure: None,
        }))
    }
}

impl Readiness {
    /// An append was made durable, or refused.
    pub(super) fn tell(&self, refusal: Option<QueueError>) {
        let mut last = lock(&self.0);
        last.needs_segment = refusal.is_some();
        last.failure = match refusal {
            Some(QueueError::Unavailable(why)) => Some((Instant::now(), why)),
            _ => None,
        };
    }
}

/// [`crate::EventQueue::check`]. Blocking.
pub(super) fn check(shared: &Shared) -> Result<(), QueueError> {
    if shared.inbox.is_closed() {
        return Err(QueueError::Closed);
    }
    let (needs_segment, failure) = {
        let last = lock(&shared.readiness.0);
        (last.needs_segment, last.failure.clone())
    };
    if let Some((at, why)) = failure
        && at.elapsed() < FAILURE_TIME
    {
        return Err(QueueError::Unavailable(why));
    }
    let options = &shared.options;
    let used = {
        let state = lock(&shared.state);
        let wanted = EVENT_BYTES.min(options.segment_bytes / 2);
        let last = state.segments.back();
        if !needs_segment && last.is_some_and(|last| last.bytes + wanted <= last.reserved) {
            return Ok(());
        }
        state.segment_bytes()
    };
    if used.saturating_add(options.segment_bytes) > options.bytes_max {
        let most = options.bytes_max;
        return Err(QueueError::Full(format!("it holds {used} bytes and may hold {most}")));
    }
    let free = shared.files.free_bytes(&shared.directory);
    let free = free.map_err(|error| QueueError::Unavailable(format!("asking for free disk space: {error}")))?;
    let needed = options.disk_free_bytes_min.saturating_add(options.segment_bytes);
    if free < needed {
        return Err(QueueError::Full(format!(
            "{free} bytes of disk are free, {needed} must be"
        )));
    }
    Ok(())
}
