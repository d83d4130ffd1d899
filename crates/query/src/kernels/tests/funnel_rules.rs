//! Rules of "Funnels", by hand. Times are small numbers of units; the window is 10 of them where nothing else is said.

use super::{
    funnel_properties::ask,
    support::{at, buckets},
};
use crate::kernels::{
    Attribution, Breakdown, Exclusion, FunnelAnswer, FunnelOrder, FunnelRow, FunnelSettings, FunnelView, Group,
    HistogramBin, NO_VALUE,
};

const A: u32 = 1;
const B: u32 = 1 << 1;
const C: u32 = 1 << 2;
/// An event of no step.
const OTHER: u32 = 0;
/// An excluded event, of no step.
const X: u32 = 1 << 31;

fn funnel(steps: usize, order: FunnelOrder) -> FunnelSettings {
    FunnelSettings {
        steps,
        order,
        window_micros: at(10),
        exclusions: Vec::new(),
        view: FunnelView::Steps(None),
    }
}

fn ordered(steps: usize) -> FunnelSettings {
    funnel(steps, FunnelOrder::Ordered)
}

fn excluding(steps: usize, from_step: usize, to_step: usize) -> FunnelSettings {
    FunnelSettings {
        exclusions: vec![Exclusion { from_step, to_step }],
        ..ordered(steps)
    }
}

/// An actor's events: what they match, when.
fn rows(actor: u32, events: &[(u32, i64)]) -> Vec<FunnelRow> {
    let row = |(steps, time): &(u32, i64)| FunnelRow {
        actor,
        value: NO_VALUE,
        time_micros: at(*time),
        steps: steps & !X,
        exclusions: steps >> 31,
    };
    events.iter().map(row).collect()
}

/// Counts by step.
fn counts(settings: &FunnelSettings, rows: &[FunnelRow]) -> Vec<u64> {
    let FunnelAnswer::Steps(groups) = ask(settings, rows) else {
        unreachable!()
    };
    groups[0].steps.iter().map(|step| step.count).collect()
}

/// Steps that one actor reached.
fn reached(settings: &FunnelSettings, events: &[(u32, i64)]) -> u64 {
    counts(settings, &rows(1, events)).iter().sum()
}

/// Median times from step to step, in units.
fn times(settings: &FunnelSettings, events: &[(u32, i64)]) -> Vec<i64> {
    let FunnelAnswer::Steps(groups) = ask(settings, &rows(1, events)) else {
        unreachable!()
    };
    let times = groups[0].steps.iter().filter_map(|step| step.time);
    times.map(|time| time.median_seconds.round() as i64).collect()
}

#[test]
fn conversion_window_w_from_the_actors_step_1_event_to_each_later_one_inclusive() {
    assert_eq!(reached(&ordered(3), &[(A, 0), (B, 5), (C, 10)]), 3);
    assert_eq!(reached(&ordered(3), &[(A, 0), (B, 5), (C, 11)]), 2);
    // Not from step to step.
    assert_eq!(reached(&ordered(3), &[(A, 0), (B, 9), (C, 18)]), 2);
    let just_over = [rows(1, &[(A, 0)]), rows(1, &[(B, 10)])].concat();
    let mut just_over = just_over;
    just_over[1].time_micros += 1;
    assert_eq!(counts(&ordered(2), &just_over), [1, 0]);
}

#[test]
fn step_k_counts_after_step_k_minus_1_other_events_may_lie_between() {
    assert_eq!(reached(&ordered(3), &[(A, 0), (C, 1), (B, 2), (A, 3), (C, 4)]), 3);
    assert_eq!(reached(&ordered(2), &[(B, 0), (A, 1)]), 1);
    assert_eq!(reached(&ordered(2), &[(B, 0), (C, 1)]), 0);
}

#[test]
fn a_later_step_1_event_starts_a_fresher_chain() {
    // From the later A to B; the first of the Bs counts.
    assert_eq!(times(&ordered(2), &[(A, 0), (A, 4), (B, 5), (B, 6)]), [1]);
    // The later A has no B before C: the chain of the earlier one counts.
    assert_eq!(times(&ordered(3), &[(A, 0), (B, 1), (A, 2), (C, 3)]), [1, 2]);
    assert_eq!(times(&ordered(3), &[(A, 0), (B, 1), (A, 2), (B, 4), (C, 5)]), [2, 1]);
    // What comes after the funnel was finished is another matter.
    assert_eq!(times(&ordered(2), &[(A, 0), (B, 3), (A, 4), (B, 5)]), [3]);
}

#[test]
fn one_event_cannot_fill_two_consecutive_steps() {
    assert_eq!(reached(&ordered(2), &[(A | B, 0)]), 1);
    assert_eq!(reached(&ordered(2), &[(A | B, 0), (A | B, 3)]), 2);
    assert_eq!(reached(&ordered(3), &[(A | B | C, 0), (A | B | C, 0)]), 3);
    assert_eq!(reached(&ordered(3), &[(A | C, 0), (B, 0)]), 3);
    assert_eq!(reached(&ordered(3), &[(A | B | C, 0), (A | B | C, 1)]), 2);
}

#[test]
fn steps_at_the_same_instant_convert() {
    assert_eq!(reached(&ordered(3), &[(C, 0), (B, 0), (A, 0)]), 3);
    // The only event of the first step is that of the first row.
    assert_eq!(reached(&ordered(2), &[(A | B, 0), (A, 0)]), 2);
    assert_eq!(reached(&ordered(3), &[(A | B, 0), (C, 0)]), 1);
}

#[test]
fn an_expired_first_attempt_does_not_hide_a_later_good_one() {
    assert_eq!(reached(&ordered(2), &[(A, 0), (B, 11), (A, 20), (B, 21)]), 2);
    assert_eq!(reached(&ordered(3), &[(A, 0), (B, 1), (A, 12), (B, 13), (C, 14)]), 3);
}

#[test]
fn the_attempt_that_reaches_furthest_is_the_result_an_actor_counts_once() {
    let both = [
        rows(
            1,
            &[(A, 0), (A, 20), (B, 21), (A, 40), (B, 41), (C, 42), (A, 60), (B, 61)],
        ),
        rows(2, &[(A, 0)]),
        rows(3, &[(B, 0)]),
    ];
    assert_eq!(counts(&ordered(3), &both.concat()), [2, 1, 1]);
}

#[test]
fn strict_no_other_event_of_that_actor_between_consecutive_steps() {
    let strict = |steps| funnel(steps, FunnelOrder::Strict);
    assert_eq!(reached(&strict(3), &[(A, 0), (B, 1), (C, 2)]), 3);
    assert_eq!(reached(&strict(3), &[(A, 0), (B, 1), (OTHER, 2), (C, 3)]), 2);
    assert_eq!(reached(&strict(2), &[(A, 0), (A, 1), (B, 2)]), 2);
    assert_eq!(reached(&strict(2), &[(A, 0), (B, 11)]), 1);
    // At the same instant is not between.
    assert_eq!(reached(&strict(2), &[(OTHER, 0), (A, 0), (OTHER, 5), (B, 5)]), 2);
    // Another actor's events are nothing to it.
    let two = [rows(1, &[(A, 0), (B, 2)]), rows(2, &[(OTHER, 1)])].concat();
    assert_eq!(counts(&strict(2), &two), [1, 1]);
    // An attempt that failed does not hide a later one.
    assert_eq!(reached(&strict(3), &[(A, 0), (B, 1), (A, 2), (B, 3), (C, 4)]), 3);
}

#[test]
fn unordered_all_distinct_steps_within_some_window_of_length_w() {
    let unordered = |steps| funnel(steps, FunnelOrder::Unordered);
    assert_eq!(reached(&unordered(3), &[(C, 0), (A, 5), (B, 10)]), 3);
    assert_eq!(reached(&unordered(3), &[(C, 0), (A, 5), (B, 11)]), 2);
    assert_eq!(reached(&unordered(3), &[(C, 0), (A, 5), (B, 11), (C, 12)]), 3);
    // Different events for each step.
    assert_eq!(reached(&unordered(2), &[(A | B, 0)]), 1);
    assert_eq!(reached(&unordered(3), &[(A | B, 0), (A | B, 1), (A | C, 2)]), 3);
    // The only event for the last step comes first, and must not be spent on another.
    assert_eq!(reached(&unordered(3), &[(A | B | C, 0), (A, 1), (B, 2)]), 3);
    assert_eq!(times(&unordered(3), &[(B, 0), (C, 2), (A, 7)]), [2, 5]);
}

#[test]
fn an_actor_who_did_the_excluded_event_between_them_is_out_of_the_funnel_step_1_too() {
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (X, 1), (B, 2)]), 0);
    // Before or after the two steps, or between others, it changes nothing.
    assert_eq!(reached(&excluding(2, 0, 1), &[(X, 0), (A, 1), (B, 2)]), 2);
    assert_eq!(reached(&excluding(3, 1, 2), &[(A, 0), (X, 1), (B, 2), (C, 3)]), 3);
    assert_eq!(reached(&excluding(3, 0, 2), &[(A, 0), (B, 2), (X, 3), (C, 4)]), 0);
    // At the instant of a step is not between.
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (X, 0), (X, 2), (B, 2)]), 2);
    // An attempt that did not come to the second step is spoilt within its window.
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (X, 10)]), 0);
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (X, 11)]), 1);
    assert_eq!(reached(&excluding(3, 1, 2), &[(A, 0), (X, 1)]), 1);
}

#[test]
fn unless_another_attempt_is_clean() {
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (X, 1), (A, 2), (B, 3)]), 2);
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (X, 1), (B, 2), (A, 20)]), 1);
    // An attempt takes each step as soon as it can: the later B is not another attempt.
    assert_eq!(
        reached(&excluding(3, 1, 2), &[(A, 0), (B, 1), (X, 2), (B, 3), (C, 4)]),
        0
    );
}

#[test]
fn after_completion_it_changes_nothing() {
    assert_eq!(reached(&excluding(2, 0, 1), &[(A, 0), (B, 1), (X, 2)]), 2);
    assert_eq!(reached(&excluding(3, 0, 1), &[(A, 0), (B, 1), (X, 2)]), 2);
}

#[test]
fn conversion_from_first_and_from_previous_median_and_mean_time_among_those_who_made_both() {
    let actors = [
        rows(1, &[(A, 0), (B, 1), (C, 2)]),
        rows(2, &[(A, 0), (B, 2)]),
        rows(3, &[(A, 0), (B, 6)]),
        rows(4, &[(A, 0), (B, 9)]),
        rows(5, &[(A, 0)]),
    ];
    let FunnelAnswer::Steps(groups) = ask(&ordered(3), &actors.concat()) else {
        unreachable!()
    };
    let steps = &groups[0].steps;
    assert_eq!([steps[0].count, steps[1].count, steps[2].count], [5, 4, 1]);
    assert_eq!(
        [steps[0].conversion, steps[1].conversion, steps[2].conversion],
        [1.0, 0.8, 0.2]
    );
    let from_previous: Vec<f64> = steps.iter().map(|step| step.conversion_from_previous).collect();
    assert_eq!(from_previous, [1.0, 0.8, 0.25]);
    assert_eq!(steps[0].time, None);
    let time = steps[1].time.unwrap();
    assert_eq!((time.median_seconds, time.average_seconds), (4.000_004, 4.500_004_5));
    let nobody = ask(&ordered(2), &[]);
    let FunnelAnswer::Steps(groups) = nobody else {
        unreachable!()
    };
    assert_eq!((groups[0].group, groups[0].steps[0].count), (Group::All, 0));
    assert_eq!((groups[0].steps[1].conversion, groups[0].steps[1].time), (0.0, None));
}

#[test]
fn time_to_convert_histogram() {
    let view = FunnelView::TimeToConvert;
    let settings = FunnelSettings {
        view,
        window_micros: at(100),
        ..ordered(2)
    };
    // 9 values make 3 bins: 2 to 20 seconds, 7 seconds each.
    let took = [2, 2, 3, 8, 9, 15, 16, 20, 20];
    let actors = (0..).zip(took).map(|(actor, took)| rows(actor, &[(A, 0), (B, took)]));
    let mut all: Vec<FunnelRow> = actors.collect::<Vec<_>>().concat();
    all.extend(rows(100, &[(A, 0)]));
    let FunnelAnswer::TimeToConvert { bins, summary } = ask(&settings, &all) else {
        unreachable!()
    };
    let bin = |from_seconds, to_seconds, count| HistogramBin {
        from_seconds,
        to_seconds,
        count,
    };
    assert_eq!(bins, [bin(2, 9, 4), bin(9, 16, 2), bin(16, 23, 3)]);
    assert_eq!(summary.unwrap().median_seconds, 9.000_009);
    let FunnelAnswer::TimeToConvert { bins, summary } = ask(&settings, &[]) else {
        unreachable!()
    };
    assert_eq!((bins, summary), (vec![], None));
}

#[test]
fn trend_conversion_by_the_bucket_of_entry() {
    let view = FunnelView::Trend(buckets(&[0, 10, 20, 30]));
    let actors = [
        rows(1, &[(A, 9), (B, 10)]),
        rows(2, &[(A, 9)]),
        rows(3, &[(A, 0), (A, 20), (B, 30)]),
    ];
    let FunnelAnswer::Trend(trend) = ask(&FunnelSettings { view, ..ordered(2) }, &actors.concat()) else {
        unreachable!()
    };
    let figures: Vec<_> = trend
        .iter()
        .map(|of| (of.entered, of.converted, of.conversion))
        .collect();
    assert_eq!(figures, [(2, 1, 0.5), (0, 0, 0.0), (1, 1, 1.0)]);
}

#[test]
fn breakdown_by_the_first_steps_value_first_touch_default_last_touch_step_n() {
    let with = |values: &[u32], mut rows: Vec<FunnelRow>| {
        for (row, value) in rows.iter_mut().zip(values) {
            row.value = *value;
        }
        rows
    };
    let actors = [
        with(&[7, 8], rows(1, &[(A, 0), (B, 1)])),
        with(&[7, 9], rows(2, &[(A, 0), (B, 1)])),
        with(&[NO_VALUE], rows(3, &[(A, 0)])),
        with(&[8], rows(4, &[(A, 0)])),
    ];
    let groups = |limit, attribution| {
        let view = FunnelView::Steps(Some((Breakdown { limit }, attribution)));
        let FunnelAnswer::Steps(groups) = ask(&FunnelSettings { view, ..ordered(2) }, &actors.concat()) else {
            unreachable!()
        };
        let counts = groups
            .iter()
            .map(|group| (group.group, group.steps[0].count, group.steps[1].count));
        counts.collect::<Vec<_>>()
    };
    let [seven, eight, nine] = [7, 8, 9].map(Group::Value);
    assert_eq!(
        groups(10, Attribution::FirstTouch),
        [(seven, 2, 2), (eight, 1, 0), (Group::NoValue, 1, 0)]
    );
    assert_eq!(
        groups(10, Attribution::LastTouch),
        [(eight, 2, 1), (nine, 1, 1), (Group::NoValue, 1, 0)]
    );
    assert_eq!(
        groups(10, Attribution::Step(1)),
        [(Group::NoValue, 2, 0), (eight, 1, 1), (nine, 1, 1)]
    );
    assert_eq!(
        groups(1, Attribution::FirstTouch),
        [(seven, 2, 2), (Group::Other, 2, 0)]
    );
}
