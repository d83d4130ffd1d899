//! Calendar buckets of a time zone (`semantics.md`, "Time"), prepared so that SQL can find an event's bucket without knowing zones.
//!
//! A [`Calendar`] cuts a range into segments of constant shift against UTC; a bucket is then found by truncating shifted time:
//! - **Days** begin at local midnight: the earlier one where a clock change repeats it, the first valid instant where it is skipped.
//!   So where a change turns the clock back across midnight, the hours until midnight comes again belong to the day that had begun.
//! - **Hours and 5 minutes** step in absolute time, aligned to the local clock. Only the part of the offset that is no whole bucket
//!   matters: none in most zones, 30 or 45 minutes in some. A repeated hour is thus two buckets, as it should be. Where a clock change
//!   moves the alignment (Lord Howe Island: by half an hour), the bucket before ends and the one after begins at the change.

use jiff::{
    civil::{Date, time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use model::{Project, Timestamp};
use store::{Parameters, Value};

use crate::{QueryError, TimeRange};

const SECOND_MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// A clock change may decide about the two days after it: none ever turned a clock by more than one day.
const LOOK_BACK_SECONDS: i64 = 2 * DAY_SECONDS;

/// The length of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// Local calendar days: 23, 24 or 25 hours, in history others.
    Day,
    /// Hours of absolute time.
    Hour,
    /// 5 minutes of absolute time.
    FiveMinutes,
}

impl Interval {
    /// Every interval.
    pub const ALL: [Self; 3] = [Self::Day, Self::Hour, Self::FiveMinutes];

    fn seconds(self) -> i64 {
        match self {
            Self::Day => DAY_SECONDS,
            Self::Hour => 3_600,
            Self::FiveMinutes => 300,
        }
    }
}

/// The zone of a project.
pub(crate) fn zone_of(project: &Project) -> Result<TimeZone, QueryError> {
    TimeZone::get(&project.time_zone).map_err(|_| {
        QueryError::Unreadable(format!(
            "project {} has the time zone {:?}, which this build does not know",
            project.id, project.time_zone
        ))
    })
}

/// Time of constant shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// The change that begins it; the smallest instant where none matters to the range.
    from: Timestamp,
    /// Added to an instant before it is truncated to a bucket.
    shift_seconds: i64,
}

/// The buckets of one range in one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    interval: Interval,
    /// Never empty, by time; neighbours differ in shift.
    segments: Vec<Segment>,
    /// The range begins so early that its first bucket may begin before the smallest instant.
    is_at_the_beginning: bool,
}

impl Calendar {
    /// The buckets that events of `range` fall into.
    pub fn new(zone: &TimeZone, interval: Interval, range: TimeRange) -> Self {
        let start = range.from.saturating_add_seconds(-LOOK_BACK_SECONDS);
        let mut calendar = Self {
            interval,
            segments: Vec::new(),
            is_at_the_beginning: start == Timestamp::MIN,
        };
        let mut offset = zone.to_offset(start.to_jiff());
        calendar.push(Timestamp::MIN, offset_seconds(offset));
        for change in zone.following(start.to_jiff()) {
            let at = Timestamp::from(change.timestamp());
            if at >= range.to {
                break;
            }
            let from = match interval {
                Interval::Day => day_change(at, offset, change.offset()),
                Interval::Hour | Interval::FiveMinutes => at,
            };
            offset = change.offset();
            calendar.push(from, offset_seconds(offset));
        }
        calendar.drop_before(range.from);
        calendar
    }

    /// Forgets what matters only to buckets that end before `first`.
    fn drop_before(&mut self, first: Timestamp) {
        let later = self.segments.iter().skip(1);
        let ended = later.take_while(|segment| segment.from <= first).count();
        self.segments.drain(..ended);
        if let Some(segment) = self.segments.first_mut()
            && segment.from.saturating_add_seconds(self.interval.seconds()) <= first
        {
            segment.from = Timestamp::MIN;
        }
    }

    fn push(&mut self, from: Timestamp, offset_seconds: i64) {
        let shift_seconds = match self.interval {
            Interval::Day => offset_seconds,
            Interval::Hour | Interval::FiveMinutes => offset_seconds.rem_euclid(self.interval.seconds()),
        };
        // A change before the one before it has begun to matter replaces it.
        self.segments.retain(|segment| segment.from < from);
        if self.segments.last().map(|last| last.shift_seconds) != Some(shift_seconds) {
            self.segments.push(Segment { from, shift_seconds });
        }
    }

    /// SQL for the bucket of the column `timestamp`: for days midnight of the local date as if it were UTC (see [`date_of_bucket`]),
    /// for hours and 5 minutes the bucket's first instant. Within the range only.
    pub(crate) fn bucket_sql(&self, parameters: &mut Parameters) -> String {
        let bucket = self.unheld_bucket_sql(parameters);
        if !self.is_at_the_beginning {
            return bucket;
        }
        let first = parameters.bind(Value::Instant(Timestamp::MIN));
        format!("greatest({bucket}, cast({first} as timestamp))")
    }

    /// The same without a hold at the beginning of time.
    fn unheld_bucket_sql(&self, parameters: &mut Parameters) -> String {
        let shift = self.shift_sql(parameters);
        let local = match &shift {
            None => "timestamp".to_owned(),
            Some(shift) => format!("timestamp + {shift}"),
        };
        let truncated = match self.interval {
            Interval::Day => return format!("date_trunc('day', {local})"),
            Interval::Hour => format!("date_trunc('hour', {local})"),
            Interval::FiveMinutes => format!(
                "date_trunc('minute', {local}) - cast(extract(minute from {local}) as integer) % 5 * interval '1 minute'"
            ),
        };
        let Some(shift) = shift else {
            return truncated;
        };
        let start = format!("{truncated} - {shift}");
        if self.segments.iter().all(|segment| self.is_aligned(*segment)) {
            return start;
        }
        let segment_start = self.per_segment(parameters, |segment| (Value::Instant(segment.from), "timestamp"));
        format!("greatest({start}, {segment_start})")
    }

    /// The shift as an interval; `None` when it is nothing throughout.
    fn shift_sql(&self, parameters: &mut Parameters) -> Option<String> {
        if self.segments.iter().all(|segment| segment.shift_seconds == 0) {
            return None;
        }
        let seconds = self.per_segment(parameters, |segment| (Value::Integer(segment.shift_seconds), "bigint"));
        Some(format!("{seconds} * interval '1 second'"))
    }

    /// A value of the segment that an event is in.
    fn per_segment(&self, parameters: &mut Parameters, value: impl Fn(&Segment) -> (Value, &'static str)) -> String {
        let cast = |segment: &Segment, parameters: &mut Parameters| {
            let (value, sql_type) = value(segment);
            format!("cast({} as {sql_type})", parameters.bind(value))
        };
        let mut sql = String::new();
        let mut segments = self.segments.iter().peekable();
        while let Some(segment) = segments.next() {
            let value = cast(segment, parameters);
            match segments.peek() {
                Some(next) => {
                    let until = parameters.bind(Value::Instant(next.from));
                    sql = format!("{sql}when timestamp < {until} then {value} ");
                }
                None if sql.is_empty() => sql = value,
                None => sql = format!("(case {sql}else {value} end)"),
            }
        }
        sql
    }

    /// Whether the segment begins where a bucket of its shift begins.
    fn is_aligned(&self, segment: Segment) -> bool {
        if segment.from == Timestamp::MIN {
            return true;
        }
        let shifted = segment.from.as_micros() + segment.shift_seconds * SECOND_MICROS;
        shifted.rem_euclid(self.interval.seconds() * SECOND_MICROS) == 0
    }

    /// What [`Self::bucket_sql`] computes, for an instant of the range.
    pub(crate) fn bucket(&self, instant: Timestamp) -> Timestamp {
        let mut segments = self.segments.iter().rev();
        let Some(segment) = segments
            .find(|segment| segment.from <= instant)
            .or(self.segments.first())
        else {
            return instant; // There is always a segment.
        };
        let shift = segment.shift_seconds * SECOND_MICROS;
        let size = self.interval.seconds() * SECOND_MICROS;
        let shifted = instant.as_micros() + shift;
        let truncated = shifted - shifted.rem_euclid(size);
        let bucket = match self.interval {
            Interval::Day => truncated,
            Interval::Hour | Interval::FiveMinutes => (truncated - shift).max(segment.from.as_micros()),
        };
        // Held within its range at the ends of time.
        instant.saturating_add_micros(bucket - instant.as_micros())
    }
}

/// From when on the offset `after` decides about days, given a change from `before` at `at`.
fn day_change(at: Timestamp, before: Offset, after: Offset) -> Timestamp {
    let last = at.saturating_add_micros(-1);
    let date_begun = before.to_datetime(last.to_jiff()).date();
    let midnight_again = midnight_at(date_begun, after);
    at.max(midnight_again)
}

/// The local date of a day's bucket.
pub(crate) fn date_of_bucket(bucket: Timestamp) -> Date {
    Offset::UTC.to_datetime(bucket.to_jiff()).date()
}

/// The first instant of a day. To the first day of time belongs what comes before it where the local clock is behind UTC.
pub fn day_start(zone: &TimeZone, date: Date) -> Timestamp {
    if date == date_of_bucket(Timestamp::MIN) {
        return Timestamp::MIN;
    }
    let midnight = date.to_datetime(time(0, 0, 0, 0));
    match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => midnight_at(date, offset),
        // The offset before the change makes the earlier instant.
        AmbiguousOffset::Fold { before, .. } => midnight_at(date, before),
        // The midnight that the clock skipped would have been after the change by the old offset, before it by the new one.
        AmbiguousOffset::Gap { after, .. } => {
            let before_change = midnight_at(date, after);
            let change = zone.following(before_change.to_jiff()).next();
            change.map_or(before_change, |change| Timestamp::from(change.timestamp()))
        }
    }
}

/// The local date at an instant, and the first instant of that day, by the rule for days.
pub fn day_at(zone: &TimeZone, instant: Timestamp) -> (Date, Timestamp) {
    let date = date_of_bucket(single(zone, Interval::Day, instant).bucket(instant));
    (date, day_start(zone, date))
}

/// The first instant of the hour that an instant is in, by the rule for hours.
pub fn hour_start(zone: &TimeZone, instant: Timestamp) -> Timestamp {
    single(zone, Interval::Hour, instant).bucket(instant)
}

fn single(zone: &TimeZone, interval: Interval, instant: Timestamp) -> Calendar {
    let range = TimeRange {
        from: instant,
        to: instant.saturating_add_micros(1),
    };
    Calendar::new(zone, interval, range)
}

fn midnight_at(date: Date, offset: Offset) -> Timestamp {
    let midnight = date.to_datetime(time(0, 0, 0, 0));
    // Out of range only at the ends of time, where a timestamp is held within its own range anyway.
    offset.to_timestamp(midnight).map_or_else(
        |_| {
            if date.year() > 0 {
                Timestamp::MAX
            } else {
                Timestamp::MIN
            }
        },
        Timestamp::from,
    )
}

fn offset_seconds(offset: Offset) -> i64 {
    offset.seconds().into()
}

#[cfg(test)]
mod tests;
