//! The only way to learn what time it is.

use crate::Timestamp;

/// Tells the current time. Passed in everywhere, so that tests decide what time it is.
pub trait Clock: Send + Sync + 'static {
    /// The current instant, UTC, microseconds.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from(jiff::Timestamp::now())
    }
}
