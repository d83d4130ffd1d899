//! Rules of "Retention", by hand: intervals of 10 units from 0 on.

use super::support::{at, buckets, instant};
use crate::kernels::{
    Breakdown, Group, NO_VALUE, RetentionAnswer, RetentionKernel, RetentionMode, RetentionRow, RetentionSettings,
};

pub fn ask(settings: &RetentionSettings, rows: &[RetentionRow]) -> RetentionAnswer {
    let mut kernel = RetentionKernel::new(settings.clone()).unwrap();
    for row in rows {
        kernel.push(*row).unwrap();
    }
    kernel.finish(|left, right| left.cmp(&right)).unwrap()
}

fn three_periods() -> RetentionSettings {
    RetentionSettings {
        buckets: buckets(&[0, 10, 20, 30]),
        periods: 3,
        is_full: false,
        mode: RetentionMode::Recurring,
        is_cumulative: false,
        minimum_occurrences: 1,
        breakdown: None,
        now: instant(at(30)),
    }
}

fn row(actor: u32, time: i64, starts: u32, returns: u32) -> RetentionRow {
    RetentionRow {
        actor,
        value: NO_VALUE,
        time_micros: at(time),
        starts,
        returns,
    }
}

/// Counts of the cells of each cohort of the first group.
fn counts(settings: &RetentionSettings, rows: &[RetentionRow]) -> Vec<Vec<u64>> {
    let groups = ask(settings, rows);
    let cohorts = groups[0].cohorts.iter();
    cohorts
        .map(|cohort| cohort.cells.iter().map(|cell| cell.count).collect())
        .collect()
}

#[test]
fn recurring_an_actor_is_in_every_cohort_interval_in_which_it_did_s() {
    let rows = [
        row(1, 0, 1, 1),
        row(1, 9, 1, 1),
        row(1, 10, 1, 1),
        row(1, 29, 0, 1),
        row(2, 15, 1, 0),
    ];
    assert_eq!(counts(&three_periods(), &rows), [vec![1, 1, 1], vec![2, 1], vec![0]]);
}

#[test]
fn first_time_in_the_interval_of_its_first_s_ever_if_inside_the_range() {
    let settings = RetentionSettings {
        mode: RetentionMode::FirstTime,
        ..three_periods()
    };
    let rows = [
        row(1, 0, 1, 0),
        row(1, 10, 1, 1),
        row(1, 25, 1, 1),
        // Started before the range.
        row(2, -1, 1, 0),
        row(2, 10, 1, 1),
        row(2, 20, 0, 1),
        // Was there before the range, and started in it.
        row(3, -1, 0, 1),
        row(3, 10, 1, 1),
        row(3, 20, 0, 1),
    ];
    assert_eq!(counts(&settings, &rows), [vec![1, 1, 1], vec![1, 1], vec![0]]);
}

#[test]
fn cell_0_is_the_cohort_size_whatever_r_is() {
    let groups = ask(&three_periods(), &[row(1, 0, 1, 0), row(2, 0, 1, 5)]);
    assert_eq!((groups[0].cohorts[0].size, groups[0].cohorts[0].cells[0].count), (2, 2));
    assert_eq!(groups[0].cohorts[0].cells[0].rate, 1.0);
}

#[test]
fn cell_k_counts_actors_with_r_in_exactly_interval_k_after_on_or_after_k_or_later() {
    let rows = [row(1, 0, 1, 0), row(1, 25, 0, 1), row(2, 0, 1, 0), row(2, 15, 0, 3)];
    assert_eq!(counts(&three_periods(), &rows)[0], [2, 1, 1]);
    let cumulative = RetentionSettings {
        is_cumulative: true,
        ..three_periods()
    };
    assert_eq!(counts(&cumulative, &rows)[0], [2, 2, 1]);
}

#[test]
fn r_within_interval_0_does_not_count_for_later_cells() {
    let rows = [row(1, 0, 1, 0), row(1, 5, 0, 1)];
    for is_cumulative in [false, true] {
        let settings = RetentionSettings {
            is_cumulative,
            ..three_periods()
        };
        assert_eq!(counts(&settings, &rows)[0], [1, 0, 0]);
    }
}

#[test]
fn minimum_occurrences_are_return_events_of_one_interval() {
    let settings = RetentionSettings {
        minimum_occurrences: 3,
        ..three_periods()
    };
    let rows = [
        row(1, 0, 1, 9),
        row(1, 10, 0, 2),
        row(1, 19, 0, 1),
        row(1, 20, 0, 2),
        row(2, 0, 1, 0),
        row(2, 10, 0, 2),
        row(2, 20, 0, 4),
    ];
    assert_eq!(counts(&settings, &rows)[0], [2, 1, 1]);
}

#[test]
fn the_row_for_interval_k_has_periods_minus_k_cells_unless_full() {
    let settings = RetentionSettings {
        buckets: buckets(&[0, 10, 20, 30, 40, 50]),
        is_full: true,
        ..three_periods()
    };
    let rows = [row(1, 20, 1, 0), row(1, 49, 0, 1), row(2, 30, 1, 1)];
    assert_eq!(counts(&settings, &rows), [vec![0, 0, 0], vec![0, 0, 0], vec![1, 0, 1]]);
}

#[test]
fn unfinished_cells_are_marked_and_left_out_of_the_mean_row_size_weighted() {
    let settings = RetentionSettings {
        now: instant(at(30) - 1),
        ..three_periods()
    };
    // 3 of 4 return at once in the first cohort, 0 of 1 in the second, whose next interval has not ended.
    let rows = [
        row(1, 0, 1, 0),
        row(1, 10, 1, 1),
        row(2, 0, 1, 0),
        row(2, 10, 0, 1),
        row(3, 0, 1, 0),
        row(3, 10, 0, 1),
        row(3, 20, 0, 1),
        row(4, 0, 1, 0),
    ];
    let group = &ask(&settings, &rows)[0];
    let complete = |cohort: usize| {
        group.cohorts[cohort]
            .cells
            .iter()
            .map(|cell| cell.is_complete)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (complete(0), complete(1), complete(2)),
        (vec![true, true, false], vec![true, false], vec![false])
    );
    assert_eq!(group.mean, [Some(1.0), Some(0.75), None]);
    // Once it has ended, it counts by its size: (3 + 0) of (4 + 1).
    let ended = &ask(&three_periods(), &rows)[0];
    assert_eq!(ended.mean, [Some(1.0), Some(0.6), Some(0.25)]);
    assert_eq!(ended.cohorts[0].cells[1].rate, 0.75);
}

#[test]
fn breakdown_is_by_the_first_start_event_of_the_cohorts_interval() {
    let with = |value, row: RetentionRow| RetentionRow { value, ..row };
    let settings = RetentionSettings {
        breakdown: Some(Breakdown { limit: 1 }),
        ..three_periods()
    };
    let rows = [
        with(4, row(1, 0, 1, 0)),
        with(5, row(1, 1, 1, 0)),
        with(5, row(1, 10, 1, 1)),
        with(5, row(2, 0, 1, 0)),
        with(4, row(2, 12, 0, 1)),
        with(NO_VALUE, row(3, 10, 1, 0)),
    ];
    let groups = ask(&settings, &rows);
    let sizes = |group: usize| {
        groups[group]
            .cohorts
            .iter()
            .map(|cohort| cohort.size)
            .collect::<Vec<_>>()
    };
    assert_eq!((groups[0].group, sizes(0)), (Group::Value(5), vec![1, 1, 0]));
    assert_eq!((groups[1].group, sizes(1)), (Group::Other, vec![1, 1, 0]));
    assert_eq!(groups[0].cohorts[0].cells[1].count, 1);
    assert_eq!(groups.len(), 2);
}
