//! When people come: by hour of the day and day of the week, UTC.

use model::Timestamp;

const HOUR_MICROS: i64 = 3_600_000_000;
/// Monday first.
const WEEKDAYS: [f64; 7] = [1.0, 1.08, 1.06, 1.02, 0.92, 0.58, 0.62];
/// From midnight; the quiet hour has a sixth of the busiest.
const HOURS: [f64; 24] = [
    0.30, 0.22, 0.18, 0.16, 0.17, 0.22, 0.34, 0.52, 0.72, 0.86, 0.94, 0.98, 0.96, 0.95, 0.99, 1.0, 0.97, 0.92, 0.88,
    0.86, 0.84, 0.76, 0.60, 0.44,
];

/// Turns shares of all visits into instants.
#[derive(Debug)]
pub struct Curve {
    from: Timestamp,
    span_micros: i64,
    /// Visits up to the end of each hour, summed.
    cumulative: Vec<f64>,
}

impl Curve {
    /// The curve over `[from, until)`.
    pub fn new(from: Timestamp, until: Timestamp) -> Self {
        let span_micros = until.micros_since(from).max(1);
        let hours = (span_micros as u64).div_ceil(HOUR_MICROS as u64);
        let mut sum = 0.0;
        let cumulative = (0..hours as i64)
            .map(|hour| {
                let begin = hour * HOUR_MICROS;
                let part = (span_micros - begin).min(HOUR_MICROS) as f64 / HOUR_MICROS as f64;
                sum += weight(from.saturating_add_micros(begin)) * part;
                sum
            })
            .collect();
        Self {
            from,
            span_micros,
            cumulative,
        }
    }

    /// The instant before which `share` (0 to 1) of all visits began.
    pub fn at(&self, share: f64) -> Timestamp {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let wanted = share.clamp(0.0, 1.0) * total;
        let hour = self
            .cumulative
            .partition_point(|sum| *sum <= wanted)
            .min(self.cumulative.len() - 1);
        let before = if hour == 0 { 0.0 } else { self.cumulative[hour - 1] };
        let inside = (wanted - before) / (self.cumulative[hour] - before).max(f64::MIN_POSITIVE);
        let begin = hour as i64 * HOUR_MICROS;
        let length = (self.span_micros - begin).min(HOUR_MICROS);
        let micros = begin + (inside.clamp(0.0, 1.0) * length as f64) as i64;
        self.from.saturating_add_micros(micros.min(self.span_micros - 1))
    }
}

fn weight(instant: Timestamp) -> f64 {
    let local = jiff::tz::TimeZone::UTC.to_datetime(instant.to_jiff());
    let weekday = local.date().weekday().to_monday_zero_offset();
    WEEKDAYS[usize::try_from(weekday).unwrap_or(0)] * HOURS[usize::try_from(local.hour()).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_follow_day_and_night_and_stay_inside() {
        // A Monday.
        let from: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
        let until: Timestamp = "2026-01-12T00:30:00Z".parse().unwrap();
        let curve = Curve::new(from, until);
        let mut by_hour = [0; 24];
        let mut by_day = [0; 8];
        let mut previous = from;
        for step in 0..100_000 {
            let at = curve.at(f64::from(step) / 100_000.0);
            assert!(at >= previous && at < until, "{at}");
            previous = at;
            let seconds = at.micros_since(from) / 1_000_000;
            by_hour[usize::try_from(seconds / 3600 % 24).unwrap()] += 1;
            by_day[usize::try_from(seconds / 86_400).unwrap()] += 1;
        }
        assert!(by_hour[15] > 5 * by_hour[3], "{by_hour:?}");
        assert!(by_day[1] > by_day[5] && by_day[5] > 0 && by_day[7] > 0, "{by_day:?}");
        assert_eq!(curve.at(0.0), from);
    }
}
