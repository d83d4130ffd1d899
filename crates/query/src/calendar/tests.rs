use jiff::{ToSpan, Zoned};
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn range(from: &str, to: &str) -> TimeRange {
    TimeRange {
        from: instant(from),
        to: instant(to),
    }
}

/// The first instants of the buckets of a range, found by walking through it in small steps, and their ends.
fn buckets(zone: &TimeZone, interval: Interval, range: TimeRange) -> Vec<String> {
    let calendar = Calendar::new(zone, interval, range);
    let mut buckets = Vec::new();
    let mut at = range.from;
    while at < range.to {
        let bucket = calendar.bucket(at).to_string();
        if buckets.last() != Some(&bucket) {
            buckets.push(bucket);
        }
        at = at.saturating_add_seconds(60);
    }
    buckets
}

fn day_starts(name: &str, from: Date, days: usize) -> Vec<String> {
    from.series(1.day())
        .take(days)
        .map(|date| day_start(&zone(name), date).to_string())
        .collect()
}

fn date(year: i16, month: i8, day: i8) -> Date {
    Date::constant(year, month, day)
}

#[test]
fn hours_of_a_clock_change_appear_once_or_twice() {
    // Berlin: 02:00 happens twice on 26 October 2025, and not at all on 30 March.
    let back = range("2025-10-25T23:00:00Z", "2025-10-26T03:00:00Z");
    assert_eq!(
        buckets(&zone("Europe/Berlin"), Interval::Hour, back),
        [
            "2025-10-25T23:00:00Z",
            "2025-10-26T00:00:00Z",
            "2025-10-26T01:00:00Z",
            "2025-10-26T02:00:00Z"
        ]
    );
    let forward = range("2025-03-30T00:00:00Z", "2025-03-30T02:00:00Z");
    assert_eq!(
        buckets(&zone("Europe/Berlin"), Interval::Hour, forward),
        ["2025-03-30T00:00:00Z", "2025-03-30T01:00:00Z"]
    );
}

#[test]
fn hours_begin_where_the_local_clock_says_so() {
    let hours = range("2026-01-01T00:20:00Z", "2026-01-01T02:20:00Z");
    for (name, expected) in [
        (
            "UTC",
            ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"],
        ),
        (
            "Asia/Kolkata",
            ["2025-12-31T23:30:00Z", "2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"],
        ),
        (
            "Asia/Kathmandu",
            ["2026-01-01T00:15:00Z", "2026-01-01T01:15:00Z", "2026-01-01T02:15:00Z"],
        ),
    ] {
        assert_eq!(buckets(&zone(name), Interval::Hour, hours), expected, "{name}");
    }
}

#[test]
fn a_change_by_half_an_hour_cuts_an_hour_in_two() {
    // Lord Howe Island goes from +11 to +10:30 at 15:00 UTC on 4 April 2026.
    let around = range("2026-04-04T14:00:00Z", "2026-04-04T17:00:00Z");
    let expected = [
        "2026-04-04T14:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-04-04T15:30:00Z",
        "2026-04-04T16:30:00Z",
    ];
    assert_eq!(buckets(&zone("Australia/Lord_Howe"), Interval::Hour, around), expected);
    // The same buckets, wherever the range begins.
    for (start, skipped) in [("2026-04-04T15:10:00Z", 1), ("2026-04-04T15:40:00Z", 2)] {
        let later = range(start, "2026-04-04T17:00:00Z");
        assert_eq!(
            buckets(&zone("Australia/Lord_Howe"), Interval::Hour, later),
            expected[skipped..]
        );
    }
}

#[test]
fn days_begin_at_local_midnight_or_as_soon_as_there_is_time() {
    assert_eq!(
        day_starts("Europe/Berlin", date(2025, 10, 25), 3),
        ["2025-10-24T22:00:00Z", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"],
        "a day of 25 hours"
    );
    assert_eq!(
        day_starts("America/Havana", date(2025, 11, 1), 3),
        ["2025-11-01T04:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"],
        "midnight happens twice on 2 November: the earlier one counts"
    );
    assert_eq!(
        day_starts("America/Havana", date(2025, 3, 8), 3),
        ["2025-03-08T05:00:00Z", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"],
        "there is no midnight on 9 March: 01:00 is the first instant"
    );
    assert_eq!(
        day_starts("Pacific/Apia", date(2011, 12, 29), 3),
        ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"],
        "30 December 2011 did not happen in Samoa"
    );
    assert_eq!(
        day_starts("America/St_Johns", date(2010, 11, 6), 3),
        ["2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"],
        "a minute after midnight the clock went back to 23:01: the day that had begun goes on"
    );
}

#[test]
fn an_hour_turned_back_across_midnight_belongs_to_the_day_that_had_begun() {
    let around = range("2010-11-07T02:00:00Z", "2010-11-07T05:00:00Z");
    assert_eq!(
        buckets(&zone("America/St_Johns"), Interval::Day, around),
        ["2010-11-06T00:00:00Z", "2010-11-07T00:00:00Z"]
    );
    let (day, start) = day_at(&zone("America/St_Johns"), instant("2010-11-07T03:00:00Z"));
    assert_eq!(
        (day, start),
        (date(2010, 11, 7), instant("2010-11-07T02:30:00Z")),
        "the wall clock says 23:30 on the 6th"
    );
}

#[test]
fn sql_shifts_only_where_it_must() {
    let year = range("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let sql = |name: &str, interval| {
        let mut parameters = Parameters::default();
        Calendar::new(&zone(name), interval, year).bucket_sql(&mut parameters)
    };
    assert_eq!(sql("UTC", Interval::Day), "date_trunc('day', timestamp)");
    assert_eq!(sql("Europe/Berlin", Interval::Hour), "date_trunc('hour', timestamp)");
    assert_eq!(
        sql("Asia/Kolkata", Interval::Hour),
        "date_trunc('hour', timestamp + cast($1 as bigint) * interval '1 second') - cast($1 as bigint) * interval '1 second'"
    );
    assert_eq!(
        sql("Europe/Berlin", Interval::Day),
        "date_trunc('day', timestamp + (case when timestamp < $2 then cast($1 as bigint) when timestamp < $4 then cast($3 as bigint) \
         else cast($5 as bigint) end) * interval '1 second')"
    );
    for interval in [Interval::Hour, Interval::FiveMinutes] {
        let needs_change = sql("Australia/Lord_Howe", interval).contains("greatest");
        assert_eq!(needs_change, interval == Interval::Hour, "{interval:?}");
    }
}

/// Every zone of the database, some more often than by chance: those with odd offsets and odd changes.
fn any_zone() -> impl Strategy<Value = String> {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let odd = [
        "Australia/Lord_Howe",
        "America/St_Johns",
        "America/Havana",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "America/Scoresbysund",
        "Antarctica/Troll",
        "Pacific/Apia",
        "Asia/Manila",
        "America/Juneau",
    ];
    prop_oneof![
        3 => proptest::sample::select(names),
        1 => proptest::sample::select(odd.map(str::to_owned).to_vec()),
    ]
}

/// An instant near a clock change of the zone where it has one, else anywhere between 1900 and 2100.
fn any_instant(zone: &TimeZone, seed: i64, near: i64) -> Timestamp {
    let anywhere = Timestamp::from_micros(seed).unwrap();
    let change = zone.following(anywhere.to_jiff()).next();
    change.map_or(anywhere, |change| {
        Timestamp::from(change.timestamp()).saturating_add_micros(near)
    })
}

/// The day by another way: the latest date whose first instant, as the calendar library knows it, is not after the instant.
fn day_by_edges(zone: &TimeZone, at: Timestamp) -> Date {
    let wall = Zoned::new(at.to_jiff(), zone.clone()).date();
    let candidates = [wall.yesterday().unwrap(), wall, wall.tomorrow().unwrap()];
    let begun = candidates.into_iter().filter(|date| {
        // A skipped date begins when the next one does: it never lasts.
        let first = date.to_zoned(zone.clone()).unwrap().start_of_day().unwrap();
        Timestamp::from(first.timestamp()) <= at && first.date() == *date
    });
    begun.max().unwrap()
}

const YEAR_MICROS: i64 = 31_556_952_000_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn an_instant_is_in_the_day_whose_edges_hold_it(
        name in any_zone(),
        seed in -70 * YEAR_MICROS..130 * YEAR_MICROS,
        near in -30 * 3_600_000_000_i64..30 * 3_600_000_000,
        reach_hours in 0..1_000_i64,
    ) {
        let zone = zone(&name);
        let at = any_instant(&zone, seed, near);
        let range = TimeRange { from: at.saturating_add_seconds(-reach_hours * 3_600), to: at.saturating_add_micros(1) };
        let expected = day_by_edges(&zone, at);
        let day = date_of_bucket(Calendar::new(&zone, Interval::Day, range).bucket(at));
        prop_assert_eq!(day, expected, "{} in {}", at, name);
        let start = day_start(&zone, day);
        prop_assert!(start <= at && at < day_start(&zone, day.tomorrow().unwrap()), "{} in {}", at, name);
        prop_assert_eq!(day_at(&zone, at), (day, start));
    }

    #[test]
    fn hours_and_5_minutes_tile_every_range(
        name in any_zone(),
        seed in -70 * YEAR_MICROS..130 * YEAR_MICROS,
        near in -3 * 3_600_000_000_i64..3 * 3_600_000_000,
        is_hour in any::<bool>(),
        reach_hours in 0..1_000_i64,
    ) {
        let zone = zone(&name);
        let interval = if is_hour { Interval::Hour } else { Interval::FiveMinutes };
        let at = any_instant(&zone, seed, near);
        let size = interval.seconds();
        let range = TimeRange {
            from: at.saturating_add_seconds(-reach_hours * 3_600),
            to: at.saturating_add_seconds(2 * size),
        };
        let calendar = Calendar::new(&zone, interval, range);
        let start = calendar.bucket(at);
        prop_assert!(start <= at && at < start.saturating_add_seconds(size), "{} in {}", at, name);
        // The bucket is one piece: its first instant is in it, the instant before is not.
        prop_assert_eq!(calendar.bucket(start.max(range.from)), start);
        let before = start.saturating_add_micros(-1);
        if before >= range.from {
            prop_assert!(calendar.bucket(before) < start, "{} in {}", at, name);
        }
        // It begins on the local clock's grid, or at the change that moved the grid.
        let offset = zone.to_offset(start.to_jiff()).seconds();
        let on_grid = (start.as_micros() / SECOND_MICROS + i64::from(offset)).rem_euclid(size) == 0;
        let is_change = zone.preceding(start.saturating_add_micros(1).to_jiff()).next()
            .is_some_and(|change| Timestamp::from(change.timestamp()) == start);
        prop_assert!(on_grid || is_change, "{} in {}", start, name);
        // The same bucket, whatever the range.
        let narrow = TimeRange { from: at, to: at.saturating_add_micros(1) };
        prop_assert_eq!(Calendar::new(&zone, interval, narrow).bucket(at), start);
    }

    #[test]
    fn segments_are_in_order_and_differ(
        name in any_zone(),
        seed in -70 * YEAR_MICROS..130 * YEAR_MICROS,
        days in 1..3_660_i64,
    ) {
        let zone = zone(&name);
        let from = Timestamp::from_micros(seed).unwrap();
        let range = TimeRange { from, to: from.saturating_add_seconds(days * DAY_SECONDS) };
        for interval in Interval::ALL {
            let segments = Calendar::new(&zone, interval, range).segments;
            for pair in segments.windows(2) {
                prop_assert!(pair[0].from < pair[1].from && pair[0].shift_seconds != pair[1].shift_seconds);
            }
            prop_assert!(segments.iter().skip(1).all(|segment| segment.from > range.from), "{} {:?}", name, segments);
            prop_assert!(segments.len() <= 60, "{} has {} segments", name, segments.len());
        }
    }
}

#[test]
fn the_ends_of_time_are_in_some_bucket() {
    for name in ["UTC", "Pacific/Kiritimati", "Pacific/Niue"] {
        for interval in Interval::ALL {
            for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::MAX.saturating_add_micros(-1)] {
                let calendar = Calendar::new(
                    &zone(name),
                    interval,
                    TimeRange {
                        from: at,
                        to: at.saturating_add_micros(1),
                    },
                );
                let distance = at.micros_since(calendar.bucket(at)).abs();
                assert!(
                    distance <= 2 * DAY_SECONDS * SECOND_MICROS,
                    "{name} {interval:?} {at}: {distance}"
                );
            }
        }
    }
}
