//! How long ago the primary was where a standby is now.

use std::{collections::VecDeque, time::Duration};

use model::limits;
use tokio::time::Instant;

/// Positions of the primary that the standby has not replayed, oldest first, each with when it was noted.
#[derive(Debug, Default)]
pub(super) struct Lag {
    marks: VecDeque<(i64, Instant)>,
    /// Whether any was ever replayed. Before that nobody knows what was written before the first.
    is_known: bool,
}

impl Lag {
    /// Notes where the primary is.
    pub(super) fn primary_is_at(&mut self, position: i64, now: Instant) {
        if self.marks.back().is_some_and(|(newest, _)| *newest >= position) {
            return;
        }
        self.marks.push_back((position, now));
        if self.marks.len() > limits::POSTGRES_REPLICA_MARKS_MAX {
            // The oldest stays: it is the lag.
            let mut number = 0_usize;
            self.marks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
    }

    /// How far a standby is behind that has replayed up to `position`; `None` until it has reached what was first noted.
    pub(super) fn of_standby_at(&mut self, position: i64, now: Instant) -> Option<Duration> {
        while self.marks.front().is_some_and(|(oldest, _)| *oldest <= position) {
            self.marks.pop_front();
            self.is_known = true;
        }
        let oldest = self.marks.front().map(|(_, noted)| now.duration_since(*noted));
        self.is_known.then_some(oldest.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_lag_is_the_age_of_the_oldest_position_that_is_not_replayed() {
        let (mut lag, start) = (Lag::default(), Instant::now());
        lag.primary_is_at(100, start);
        assert_eq!(lag.of_standby_at(90, start), None, "who knows what was written before");
        lag.primary_is_at(110, start + SECOND);
        assert_eq!(lag.of_standby_at(100, start + 2 * SECOND), Some(SECOND));
        assert_eq!(lag.of_standby_at(105, start + 5 * SECOND), Some(4 * SECOND));
        assert_eq!(lag.of_standby_at(110, start + 5 * SECOND), Some(Duration::ZERO));
        // An idle primary: no lag, however long.
        lag.primary_is_at(110, start + 60 * SECOND);
        assert_eq!(lag.of_standby_at(110, start + 60 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn a_long_outage_takes_no_memory_and_stays_as_long() {
        let (mut lag, start) = (Lag::default(), Instant::now());
        lag.primary_is_at(0, start);
        assert_eq!(lag.of_standby_at(0, start), Some(Duration::ZERO));
        for number in 1..100_000 {
            lag.primary_is_at(number.into(), start + number * SECOND);
        }
        assert!(
            lag.marks.len() <= limits::POSTGRES_REPLICA_MARKS_MAX,
            "{}",
            lag.marks.len()
        );
        assert_eq!(lag.of_standby_at(0, start + 100_000 * SECOND), Some(99_999 * SECOND));
        assert_eq!(
            lag.of_standby_at(99_999, start + 100_000 * SECOND),
            Some(Duration::ZERO)
        );
    }
}
