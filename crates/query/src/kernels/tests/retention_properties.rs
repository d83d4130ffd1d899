//! Retention on random histories, against sets written down as the rules say them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    retention_rules::ask,
    support::{HISTORIES, actors_where, at, bucket_of, buckets, instant, part, uneven_edges},
};
use crate::kernels::{
    Breakdown, Cohort, Group, NO_VALUE, RetentionCell, RetentionGroup, RetentionMode, RetentionRow, RetentionSettings,
};

/// Settings and the edges of their intervals.
fn settings() -> impl Strategy<Value = (RetentionSettings, Vec<i64>)> {
    let mode = prop_oneof![Just(RetentionMode::Recurring), Just(RetentionMode::FirstTime)];
    let breakdown = prop_oneof![Just(None), (1..4_usize).prop_map(|limit| Some(Breakdown { limit }))];
    let edges = (1..5_usize, any::<bool>()).prop_flat_map(|(periods, is_full)| {
        let intervals = if is_full { 2 * periods - 1 } else { periods };
        (Just(periods), Just(is_full), uneven_edges(intervals))
    });
    (edges, mode, any::<bool>(), 1..4_u32, breakdown, 0..25_i64).prop_map(
        |((periods, is_full, edges), mode, is_cumulative, minimum_occurrences, breakdown, now)| {
            let settings = RetentionSettings {
                buckets: buckets(&edges),
                periods,
                is_full,
                mode,
                is_cumulative,
                minimum_occurrences,
                breakdown,
                now: instant(at(now)),
            };
            (settings, edges)
        },
    )
}

/// The value depends on the instant, so that the order within does not matter.
fn history() -> impl Strategy<Value = Vec<RetentionRow>> {
    let event = (1..7_u32, -3..26_i64, 0..3_u32, 0..3_u32).prop_map(|(actor, time, starts, returns)| RetentionRow {
        actor,
        value: [0, 3, NO_VALUE, 1, 2][time.rem_euclid(5) as usize],
        time_micros: at(time),
        starts,
        returns,
    });
    prop::collection::vec(event, 0..40).prop_map(|mut rows| {
        rows.sort_by_key(|row| (row.actor, row.time_micros));
        rows
    })
}

struct Oracle<'history> {
    rows: &'history [RetentionRow],
    edges: Vec<i64>,
    settings: RetentionSettings,
}

impl Oracle<'_> {
    fn events(&self, actor: u32) -> impl Iterator<Item = &RetentionRow> {
        self.rows.iter().filter(move |row| row.actor == actor)
    }

    fn is_in(&self, row: &RetentionRow, bucket: usize) -> bool {
        bucket_of(&self.edges, row.time_micros) == Some(bucket)
    }

    /// The value of the first start event in the interval.
    fn started(&self, actor: u32, bucket: usize) -> Option<u32> {
        let mut events = self.events(actor).filter(|row| row.starts > 0);
        if self.settings.mode == RetentionMode::FirstTime {
            return events.next().filter(|row| self.is_in(row, bucket)).map(|row| row.value);
        }
        events.find(|row| self.is_in(row, bucket)).map(|row| row.value)
    }

    fn returned(&self, actor: u32, bucket: usize) -> bool {
        let events = self.events(actor).filter(|row| self.is_in(row, bucket));
        events.map(|row| row.returns).sum::<u32>() >= self.settings.minimum_occurrences
    }

    fn cohort(&self, number: usize, values: &BTreeSet<u32>) -> Cohort {
        let settings = &self.settings;
        let actors: BTreeSet<u32> = self.rows.iter().map(|row| row.actor).collect();
        let is_of_group = |value| settings.breakdown.is_none() || values.contains(&value);
        let members = actors_where(&actors, |actor| self.started(actor, number).is_some_and(is_of_group));
        let cells = if settings.is_full {
            settings.periods
        } else {
            settings.periods - number
        };
        let cell = |distance: usize| {
            let came = actors_where(&members, |actor| match (distance, settings.is_cumulative) {
                (0, _) => true,
                (_, false) => self.returned(actor, number + distance),
                (_, true) => (distance..cells).any(|later| self.returned(actor, number + later)),
            });
            RetentionCell {
                count: came.len() as u64,
                rate: part(came.len(), members.len()),
                is_complete: at(self.edges[number + distance + 1]) <= settings.now.as_micros(),
            }
        };
        Cohort {
            size: members.len() as u64,
            cells: (0..cells).map(cell).collect(),
        }
    }

    fn group(&self, group: Group, values: &BTreeSet<u32>) -> RetentionGroup {
        let cohorts: Vec<Cohort> = (0..self.settings.periods)
            .map(|number| self.cohort(number, values))
            .collect();
        let mean = (0..self.settings.periods).map(|distance| {
            let has_complete = |cohort: &&Cohort| cohort.cells.get(distance).is_some_and(|cell| cell.is_complete);
            let size: u64 = cohorts.iter().filter(has_complete).map(|cohort| cohort.size).sum();
            let complete = cohorts.iter().filter(has_complete);
            let count: u64 = complete.map(|cohort| cohort.cells[distance].count).sum();
            (size > 0).then(|| part(count as usize, size as usize))
        });
        let mean = mean.collect();
        RetentionGroup { group, cohorts, mean }
    }

    fn answer(&self) -> Vec<RetentionGroup> {
        let Some(breakdown) = self.settings.breakdown else {
            return vec![self.group(Group::All, &BTreeSet::new())];
        };
        let values: BTreeSet<u32> = self.rows.iter().map(|row| row.value).collect();
        let size = |value: u32| {
            let cohorts = (0..self.settings.periods).map(|number| self.cohort(number, &BTreeSet::from([value])).size);
            cohorts.sum::<u64>()
        };
        let mut values: Vec<u32> = values.into_iter().filter(|value| size(*value) > 0).collect();
        values.sort_by_key(|value| (u64::MAX - size(*value), *value));
        let rest: BTreeSet<u32> = values.drain(values.len().min(breakdown.limit)..).collect();
        let mut groups: Vec<RetentionGroup> = values
            .into_iter()
            .map(|value| {
                let group = if value == NO_VALUE {
                    Group::NoValue
                } else {
                    Group::Value(value)
                };
                self.group(group, &BTreeSet::from([value]))
            })
            .collect();
        if !rest.is_empty() {
            groups.push(self.group(Group::Other, &rest));
        }
        groups
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * HISTORIES))]

    #[test]
    fn retention_is_what_the_sets_give((settings, edges) in settings(), rows in history()) {
        let oracle = Oracle { rows: &rows, edges, settings: settings.clone() };
        prop_assert_eq!(ask(&settings, &rows), oracle.answer());
    }

    #[test]
    fn events_may_come_counted_by_interval((settings, edges) in settings(), rows in history()) {
        let settings = RetentionSettings { breakdown: None, ..settings };
        let place = |row: &RetentionRow| (row.actor, bucket_of(&edges, row.time_micros), row.time_micros < 0);
        let counted: Vec<RetentionRow> = rows
            .chunk_by(|left, right| place(left) == place(right))
            .map(|rows| RetentionRow {
                starts: rows.iter().map(|row| row.starts).sum(),
                returns: rows.iter().map(|row| row.returns).sum(),
                ..rows[rows.len() - 1]
            })
            .collect();
        prop_assert_eq!(ask(&settings, &rows), ask(&settings, &counted));
    }
}
