//! Rules of "Lifecycle" and "Stickiness", by hand and against sets; buckets of days around changes of the clock.

use std::collections::BTreeSet;

use jiff::{ToSpan, civil::date, tz::TimeZone};
use proptest::prelude::*;

use super::support::{HISTORIES, UNIT_MICROS, actors_where, at, bucket_of, buckets, uneven_edges};
use crate::{
    calendar::day_start,
    kernels::{Buckets, CountRow, Criterion, LifecycleAnswer, LifecycleKernel, StickinessKernel},
};

pub fn lifecycle(buckets: Buckets, rows: &[CountRow]) -> LifecycleAnswer {
    let mut kernel = LifecycleKernel::new(buckets).unwrap();
    for row in rows {
        kernel.push(*row).unwrap();
    }
    kernel.finish()
}

pub fn stickiness(buckets: Buckets, criterion: Criterion, is_cumulative: bool, rows: &[CountRow]) -> Vec<u64> {
    let mut kernel = StickinessKernel::new(buckets, criterion, is_cumulative);
    for row in rows {
        kernel.push(*row).unwrap();
    }
    kernel.finish()
}

fn row(actor: u32, time: i64, count: u32) -> CountRow {
    CountRow {
        actor,
        count,
        time_micros: at(time),
    }
}

#[test]
fn new_first_ever_such_event_in_it_returning_active_in_the_previous_interval_resurrecting_neither() {
    // The range is from 10 to 40; from 0 to 10 is the interval before it.
    let rows = [
        // New, returning, dormant.
        row(1, 10, 1),
        row(1, 20, 2),
        row(1, 29, 1),
        // Returning from before the range, dormant, resurrecting.
        row(2, 9, 1),
        row(2, 10, 1),
        row(2, 39, 1),
        // Long ago, then resurrecting, then dormant.
        row(3, -50, 1),
        row(3, 15, 1),
        // Active in the previous interval, dormant in the first of the range.
        row(4, 0, 1),
        row(4, 45, 1),
        // A row of no event is none.
        row(5, 12, 0),
    ];
    let answer = LifecycleAnswer {
        new: vec![1, 0, 0],
        returning: vec![1, 1, 0],
        resurrecting: vec![1, 0, 1],
        dormant: vec![-1, -2, -1],
    };
    assert_eq!(lifecycle(buckets(&[0, 10, 20, 30, 40]), &rows), answer);
}

#[test]
fn stickiness_actors_active_in_exactly_n_cumulative_at_least_n() {
    let rows = [
        row(1, 0, 1),
        row(1, 5, 1),
        row(1, 19, 1),
        row(1, 20, 1),
        row(2, 9, 3),
        row(2, 30, 9),
        row(3, 10, 1),
        row(3, 20, 1),
        row(4, 25, 0),
    ];
    let of = |criterion, is_cumulative| stickiness(buckets(&[0, 10, 20, 30]), criterion, is_cumulative, &rows);
    assert_eq!(of(Criterion::AtLeast(1), false), [1, 1, 1]);
    assert_eq!(of(Criterion::AtLeast(1), true), [3, 2, 1]);
    assert_eq!(of(Criterion::AtLeast(2), false), [2, 0, 0]);
    assert_eq!(of(Criterion::AtMost(1), false), [0, 2, 0]);
    assert_eq!(of(Criterion::Exactly(3), false), [1, 0, 0]);
}

#[test]
fn days_have_23_24_or_25_hours() {
    // Berlin: 30 March 2025 has 23 hours, 26 October has 25.
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    for (first, hours) in [(date(2025, 3, 30), 23), (date(2025, 10, 26), 25)] {
        let edges: Vec<_> = first.series(1.day()).take(3).map(|day| day_start(&zone, day)).collect();
        let start = edges[0].as_micros();
        let hour = |hour: i64| CountRow {
            actor: hour as u32,
            count: 1,
            time_micros: start + hour * 3_600_000_000,
        };
        let rows: Vec<CountRow> = (0..hours + 24).map(hour).collect();
        let answer = lifecycle(Buckets::new(&edges).unwrap(), &rows);
        assert_eq!((answer.new[0], answer.dormant[0]), (24, -hours), "{first}");
    }
}

fn history() -> impl Strategy<Value = Vec<CountRow>> {
    let event = (1..6_u32, -3..26_i64, 0..4_u32, 0..2_i64);
    prop::collection::vec(event, 0..40).prop_map(|events| {
        let row = |(actor, time, count, odd): (u32, i64, u32, i64)| CountRow {
            actor,
            count,
            // Also the last instant before an edge.
            time_micros: time * UNIT_MICROS - odd,
        };
        let mut rows: Vec<CountRow> = events.into_iter().map(row).collect();
        rows.sort_by_key(|row| (row.actor, row.time_micros));
        rows
    })
}

/// Events of an actor in a bucket.
fn events(edges: &[i64], rows: &[CountRow], actor: u32, bucket: usize) -> u32 {
    let rows = rows.iter().filter(|row| row.actor == actor);
    let of_bucket = rows.filter(|row| bucket_of(edges, row.time_micros) == Some(bucket));
    of_bucket.map(|row| row.count).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]

    #[test]
    fn lifecycle_is_what_the_sets_give(edges in uneven_edges(5), rows in history()) {
        let actors: BTreeSet<u32> = rows.iter().map(|row| row.actor).collect();
        let mut expected = LifecycleAnswer::default();
        for bucket in 1..edges.len() - 1 {
            let is_active = |actor, bucket| events(&edges, &rows, actor, bucket) > 0;
            let was_earlier = |actor| {
                rows.iter().any(|row| row.actor == actor && row.count > 0 && row.time_micros < at(edges[bucket]))
            };
            let active = actors_where(&actors, |actor| is_active(actor, bucket));
            let before = actors_where(&actors, |actor| is_active(actor, bucket - 1));
            let new = actors_where(&active, |actor| !was_earlier(actor));
            let returning = &active & &before;
            expected.resurrecting.push((&(&active - &new) - &returning).len() as u64);
            expected.dormant.push(-((&before - &active).len() as i64));
            expected.new.push(new.len() as u64);
            expected.returning.push(returning.len() as u64);
        }
        prop_assert_eq!(lifecycle(buckets(&edges), &rows), expected);
    }

    #[test]
    fn of_the_time_before_the_range_an_actors_last_event_is_enough(edges in uneven_edges(4), rows in history()) {
        let is_before = |row: &CountRow| row.time_micros < at(edges[1]);
        let mut fewer = Vec::new();
        for rows in rows.chunk_by(|left, right| left.actor == right.actor) {
            fewer.extend(rows.iter().rfind(|row| is_before(row) && row.count > 0));
            fewer.extend(rows.iter().filter(|row| !is_before(row)));
        }
        prop_assert_eq!(lifecycle(buckets(&edges), &rows), lifecycle(buckets(&edges), &fewer));
    }

    #[test]
    fn stickiness_is_what_the_sets_give(
        edges in uneven_edges(5), rows in history(), kind in 0..3_usize, value in 1..4_u32, is_cumulative: bool,
    ) {
        let criterion = [Criterion::AtLeast(value), Criterion::AtMost(value), Criterion::Exactly(value)][kind];
        let actors: BTreeSet<u32> = rows.iter().map(|row| row.actor).collect();
        let holds = |count: u32| match criterion {
            Criterion::AtLeast(value) => count >= value,
            Criterion::AtMost(value) => count != 0 && count <= value,
            Criterion::Exactly(value) => count == value,
        };
        let intervals = edges.len() - 1;
        let active = |actor| (0..intervals).filter(|bucket| holds(events(&edges, &rows, actor, *bucket))).count();
        let expected: Vec<u64> = (1..=intervals)
            .map(|n| actors_where(&actors, |actor| active(actor) == n || is_cumulative && active(actor) > n).len() as u64)
            .collect();
        prop_assert_eq!(stickiness(buckets(&edges), criterion, is_cumulative, &rows), expected);
    }
}
