//! Lengths of time: medians of all values, means from exact sums, a histogram.

use model::limits::{HISTOGRAM_BINS_MAX, SEQUENCE_TIMES_MAX};

use super::KernelError;

const SECOND_MICROS: i64 = 1_000_000;

/// Median and mean of lengths of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeSummary {
    /// Of an even number of values: the middle between the two in the middle.
    pub median_seconds: f64,
    /// The mean.
    pub average_seconds: f64,
}

/// Values of `[from_seconds, to_seconds)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistogramBin {
    /// The least value that counts here, whole seconds.
    pub from_seconds: i64,
    /// The least value that counts in the next one.
    pub to_seconds: i64,
    /// How many values there are.
    pub count: u64,
}

/// How many times a kernel may still keep, over all its groups.
#[derive(Debug)]
pub(super) struct TimesLeft(usize);

impl Default for TimesLeft {
    fn default() -> Self {
        Self(SEQUENCE_TIMES_MAX)
    }
}

impl TimesLeft {
    /// Reserves room for one more.
    #[inline]
    pub(super) fn take(&mut self) -> Result<(), KernelError> {
        self.0 = self.0.checked_sub(1).ok_or(KernelError::TooManyTimes {
            limit: SEQUENCE_TIMES_MAX,
        })?;
        Ok(())
    }
}

/// Median and mean; `None` of nothing. Changes the order of `micros`.
pub(super) fn summary(micros: &mut [i64]) -> Option<TimeSummary> {
    if micros.is_empty() {
        return None;
    }
    let count = micros.len();
    let sum: i128 = micros.iter().map(|value| i128::from(*value)).sum();
    let (below, upper, _) = micros.select_nth_unstable(count / 2);
    let upper = *upper;
    let lower = if count.is_multiple_of(2) {
        below.iter().copied().max().unwrap_or(upper)
    } else {
        upper
    };
    Some(TimeSummary {
        median_seconds: seconds(i128::from(lower) + i128::from(upper), 2),
        average_seconds: seconds(sum, count),
    })
}

/// `micros / count` in seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of times is far below 2^53 microseconds (285 years) for all but absurd inputs, and rounds once then"
)]
fn seconds(micros: i128, count: usize) -> f64 {
    micros as f64 / (count as f64 * SECOND_MICROS as f64)
}

/// Bins of one width, whole seconds, from the smallest to the largest value: the cube root of the number of values (rounded up) of them at
/// most, and never more than a chart shows.
pub(super) fn histogram(micros: &[i64]) -> Vec<HistogramBin> {
    let seconds = || micros.iter().map(|value| value.div_euclid(SECOND_MICROS));
    let (Some(first), Some(last)) = (seconds().min(), seconds().max()) else {
        return Vec::new();
    };
    let wanted = (1..HISTOGRAM_BINS_MAX).find(|bins| i128::from(*bins).pow(3) >= micros.len() as i128);
    let width = (last - first) / wanted.unwrap_or(HISTOGRAM_BINS_MAX) + 1;
    let mut bins: Vec<HistogramBin> = (0..=(last - first) / width)
        .map(|bin| HistogramBin {
            from_seconds: first + bin * width,
            to_seconds: first + (bin + 1) * width,
            count: 0,
        })
        .collect();
    for value in seconds() {
        let bin = usize::try_from((value - first) / width).unwrap_or(0);
        bins[bin].count += 1;
    }
    bins
}
