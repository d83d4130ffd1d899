//! Funnels on random histories, against the oracle.

use proptest::prelude::*;

use super::{
    funnel_oracle,
    support::{HISTORIES, UNIT_MICROS, at, bucket_of, buckets},
};
use crate::kernels::{
    Attribution, Breakdown, Exclusion, FunnelAnswer, FunnelKernel, FunnelOrder, FunnelRow, FunnelSettings, FunnelView,
    NO_VALUE,
};

const EDGES: [i64; 5] = [0, 3, 4, 9, 100];

pub fn ask(settings: &FunnelSettings, rows: &[FunnelRow]) -> FunnelAnswer {
    let mut kernel = FunnelKernel::new(settings.clone()).unwrap();
    for row in rows {
        kernel.push(*row).unwrap();
    }
    kernel.finish(|left, right| left.cmp(&right)).unwrap()
}

/// Events of few instants, so that many are at the same one and at the edges of windows; steps that match the same event; a value that the
/// instant decides, so that it does not depend on the order within.
fn actor(events: std::ops::Range<usize>, instants: i64) -> impl Strategy<Value = Vec<FunnelRow>> {
    let steps = prop_oneof![
        4 => (0..4_u32).prop_map(|step| 1 << step),
        2 => 0..16_u32,
        1 => Just(0b11),
        1 => Just(0),
    ];
    let exclusions = prop_oneof![3 => Just(0), 1 => 0..4_u32];
    let event = (0..instants, steps, exclusions).prop_map(|(time, steps, exclusions)| FunnelRow {
        actor: 0,
        value: [0, 2, NO_VALUE, 1][(time % 4) as usize],
        time_micros: at(time),
        steps,
        exclusions,
    });
    prop::collection::vec(event, events)
}

/// Rows of several actors, ordered by actor and time, within an instant at random.
fn history(
    of_actor: impl Strategy<Value = Vec<FunnelRow>>,
    actors: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<FunnelRow>> {
    prop::collection::vec(of_actor, actors).prop_map(|actors| {
        let mut rows = Vec::new();
        for (actor, mut events) in (1..).zip(actors) {
            events.sort_by_key(|event| event.time_micros);
            rows.extend(events.into_iter().map(|event| FunnelRow { actor, ..event }));
        }
        rows
    })
}

fn exclusions(steps: usize) -> impl Strategy<Value = Vec<Exclusion>> {
    let exclusion = (0..steps - 1).prop_flat_map(move |from_step| {
        (from_step + 1..steps).prop_map(move |to_step| Exclusion { from_step, to_step })
    });
    prop::collection::vec(exclusion, 0..3)
}

fn view(steps: usize) -> impl Strategy<Value = FunnelView> {
    let attribution = prop_oneof![
        Just(Attribution::FirstTouch),
        Just(Attribution::LastTouch),
        (0..steps).prop_map(Attribution::Step),
    ];
    prop_oneof![
        2 => Just(FunnelView::Steps(None)),
        2 => (1..4_usize, attribution).prop_map(|(limit, by)| FunnelView::Steps(Some((Breakdown { limit }, by)))),
        1 => Just(FunnelView::TimeToConvert),
        1 => Just(FunnelView::Trend(buckets(&EDGES))),
    ]
}

fn settings(order: FunnelOrder) -> impl Strategy<Value = FunnelSettings> {
    (2..5_usize, 0..9_i64).prop_flat_map(move |(steps, window)| {
        (exclusions(steps), view(steps)).prop_map(move |(exclusions, view)| FunnelSettings {
            steps,
            order,
            window_micros: window * UNIT_MICROS,
            exclusions: if order == FunnelOrder::Unordered {
                Vec::new()
            } else {
                exclusions
            },
            view,
        })
    })
}

fn small() -> impl Strategy<Value = Vec<FunnelRow>> {
    history(actor(0..10, 14), 1..5)
}

fn expected(settings: &FunnelSettings, rows: &[FunnelRow]) -> FunnelAnswer {
    funnel_oracle::answer(rows, settings, |time_micros| bucket_of(&EDGES, time_micros))
}

/// The rows of each actor.
fn actors(rows: &[FunnelRow]) -> impl Iterator<Item = &[FunnelRow]> {
    rows.chunk_by(|left, right| left.actor == right.actor)
}

/// Counts and times of all groups together.
fn without_breakdown(settings: &FunnelSettings) -> FunnelSettings {
    let view = match &settings.view {
        FunnelView::Steps(_) => FunnelView::Steps(None),
        other => other.clone(),
    };
    FunnelSettings {
        view,
        ..settings.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]

    #[test]
    fn ordered_is_what_trying_every_attempt_gives(settings in settings(FunnelOrder::Ordered), rows in small()) {
        prop_assert_eq!(ask(&settings, &rows), expected(&settings, &rows));
    }

    #[test]
    fn strict_is_what_trying_every_attempt_gives(settings in settings(FunnelOrder::Strict), rows in small()) {
        prop_assert_eq!(ask(&settings, &rows), expected(&settings, &rows));
    }

    #[test]
    fn unordered_is_what_trying_every_way_to_fill_the_steps_gives(
        settings in settings(FunnelOrder::Unordered), rows in history(actor(0..8, 14), 1..5),
    ) {
        // The value of the first of several rows at an instant is the order's to decide only where values differ at it; they do not.
        prop_assert_eq!(ask(&settings, &rows), expected(&settings, &rows));
    }

    #[test]
    fn actors_with_many_events_are_what_trying_every_attempt_gives(
        settings in prop_oneof![settings(FunnelOrder::Ordered), settings(FunnelOrder::Strict)],
        rows in history(actor(20..40, 60), 1..3),
    ) {
        prop_assert_eq!(ask(&settings, &rows), expected(&settings, &rows));
    }

    #[test]
    fn the_attempt_that_reaches_furthest_is_the_result(settings in settings(FunnelOrder::Ordered), rows in small()) {
        let settings = FunnelSettings { exclusions: Vec::new(), view: FunnelView::Steps(None), ..settings };
        let FunnelAnswer::Steps(groups) = ask(&settings, &rows) else { unreachable!() };
        for (step, answered) in groups[0].steps.iter().enumerate() {
            let count = actors(&rows).filter(|rows| funnel_oracle::furthest(rows, &settings) > step).count();
            prop_assert_eq!(answered.count, count as u64);
        }
    }

    #[test]
    fn the_order_within_an_instant_changes_no_count_and_no_time(
        settings in prop_oneof![
            settings(FunnelOrder::Ordered), settings(FunnelOrder::Strict), settings(FunnelOrder::Unordered),
        ],
        rows in small(),
    ) {
        let settings = without_breakdown(&settings);
        let mut reversed: Vec<FunnelRow> = rows.iter().rev().copied().collect();
        reversed.sort_by_key(|row| (row.actor, row.time_micros));
        prop_assert_eq!(ask(&settings, &rows), ask(&settings, &reversed));
    }

    #[test]
    fn actors_in_another_order_give_the_same_answer(settings in settings(FunnelOrder::Ordered), rows in small()) {
        let mut renumbered: Vec<FunnelRow> =
            rows.iter().map(|row| FunnelRow { actor: 1_000 - row.actor, ..*row }).collect();
        renumbered.sort_by_key(|row| (row.actor, row.time_micros));
        prop_assert_eq!(ask(&settings, &rows), ask(&settings, &renumbered));
    }

    #[test]
    fn counts_never_grow_from_step_to_step_or_with_a_shorter_window(
        settings in settings(FunnelOrder::Ordered), rows in small(),
    ) {
        let settings = FunnelSettings { exclusions: Vec::new(), view: FunnelView::Steps(None), ..settings };
        let shorter = FunnelSettings { window_micros: settings.window_micros / 2, ..settings.clone() };
        let (FunnelAnswer::Steps(long), FunnelAnswer::Steps(short)) = (ask(&settings, &rows), ask(&shorter, &rows)) else {
            unreachable!()
        };
        prop_assert!(long[0].steps.is_sorted_by(|left, right| left.count >= right.count));
        for (long, short) in long[0].steps.iter().zip(&short[0].steps) {
            prop_assert!(short.count <= long.count);
        }
    }
}

/// One actor with a million events, as nasty as they come: were the work not rows times steps, this would not end.
#[test]
fn an_actor_with_a_million_events_is_work_of_rows_times_steps() {
    const HALF: i64 = 500_000;
    let row = |time, steps| FunnelRow {
        actor: 1,
        value: NO_VALUE,
        time_micros: time,
        steps,
        exclusions: 0b11,
    };
    // Each of the first half is an attempt, and all of them come to the one instant of the second half.
    let starts = (0..HALF).map(|time| row(time, 0b0001));
    let instant = (0..HALF).map(|number| row(HALF, if number % 2 == 0 { 0b1110 } else { 0 }));
    let rows: Vec<FunnelRow> = starts.chain(instant).collect();
    for order in [FunnelOrder::Ordered, FunnelOrder::Strict, FunnelOrder::Unordered] {
        let exclusion = |to_step| Exclusion { from_step: 0, to_step };
        for exclusions in [Vec::new(), vec![exclusion(1), exclusion(3)]] {
            if order == FunnelOrder::Unordered && !exclusions.is_empty() {
                continue;
            }
            let settings = FunnelSettings {
                steps: 4,
                order,
                window_micros: HALF,
                exclusions,
                view: FunnelView::Steps(None),
            };
            let FunnelAnswer::Steps(groups) = ask(&settings, &rows) else {
                unreachable!()
            };
            assert_eq!(groups[0].steps[3].count, 1, "{settings:?}");
        }
    }
}
