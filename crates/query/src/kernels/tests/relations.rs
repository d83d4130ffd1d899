//! What `docs/semantics`, "Invariants", says of several reports of the same events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    funnel_properties, lifecycle_stickiness, retention_rules, sessions,
    support::{HISTORIES, at, bucket_of, buckets, instant, uneven_edges},
};
use crate::kernels::{
    Attribution, Breakdown, CountRow, Criterion, FunnelAnswer, FunnelOrder, FunnelRow, FunnelSettings, FunnelView,
    RetentionMode, RetentionRow, RetentionSettings, SessionRow,
};

/// An event: its user, its time, whether it is the one that is asked about.
type Event = (u32, i64, bool);

fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((1..8_u32, -2..24_i64, any::<bool>()), 0..60).prop_map(|mut events| {
        events.sort_unstable();
        events
    })
}

/// Distinct users of the event, of a bucket or (with `None`) of the range.
fn unique_users(edges: &[i64], events: &[Event], of_bucket: Option<usize>) -> u64 {
    let is_in = |time| bucket_of(edges, at(time)).is_some_and(|bucket| of_bucket.is_none_or(|of| of == bucket));
    let users = events.iter().filter(|(_, time, is_it)| *is_it && is_in(*time));
    users.map(|(user, ..)| *user).collect::<BTreeSet<_>>().len() as u64
}

fn in_range<'events>(edges: &'events [i64], events: &'events [Event]) -> impl Iterator<Item = &'events Event> {
    events
        .iter()
        .filter(|(_, time, _)| bucket_of(edges, at(*time)).is_some())
}

fn counts(events: &[Event]) -> Vec<CountRow> {
    let row = |(actor, time, is_it): &Event| CountRow {
        actor: *actor,
        count: u32::from(*is_it),
        time_micros: at(*time),
    };
    events.iter().map(row).collect()
}

fn funnel(view: FunnelView, order: FunnelOrder, edges: &[i64], events: &[Event]) -> FunnelAnswer {
    let settings = FunnelSettings {
        steps: 2,
        order,
        window_micros: at(3),
        exclusions: Vec::new(),
        view,
    };
    let row = |(actor, time, is_it): &Event| FunnelRow {
        actor: *actor,
        value: (time % 3) as u32,
        time_micros: at(*time),
        steps: if *is_it { 1 } else { 2 },
        exclusions: 0,
    };
    let rows: Vec<FunnelRow> = in_range(edges, events).map(row).collect();
    funnel_properties::ask(&settings, &rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]

    #[test]
    fn funnel_step_1_is_unique_users_of_that_event_over_the_range(edges in uneven_edges(4), events in history()) {
        let expected = unique_users(&edges, &events, None);
        for order in [FunnelOrder::Ordered, FunnelOrder::Strict] {
            let FunnelAnswer::Steps(groups) = funnel(FunnelView::Steps(None), order, &edges, &events) else {
                unreachable!()
            };
            prop_assert_eq!(groups[0].steps[0].count, expected);
        }
    }

    #[test]
    fn a_funnels_groups_and_its_trend_add_up_to_the_funnel(edges in uneven_edges(4), events in history()) {
        let sums = |view| {
            let FunnelAnswer::Steps(groups) = funnel(view, FunnelOrder::Ordered, &edges, &events) else {
                unreachable!()
            };
            [0, 1].map(|step| groups.iter().map(|group| group.steps[step].count).sum::<u64>())
        };
        let total = sums(FunnelView::Steps(None));
        for limit in [1, 2, 10] {
            for attribution in [Attribution::FirstTouch, Attribution::LastTouch, Attribution::Step(1)] {
                prop_assert_eq!(sums(FunnelView::Steps(Some((Breakdown { limit }, attribution)))), total);
            }
        }
        let trend = funnel(FunnelView::Trend(buckets(&edges)), FunnelOrder::Ordered, &edges, &events);
        let FunnelAnswer::Trend(trend) = trend else { unreachable!() };
        let entered: u64 = trend.iter().map(|of| of.entered).sum();
        let converted: u64 = trend.iter().map(|of| of.converted).sum();
        prop_assert_eq!([entered, converted], total);
    }

    #[test]
    fn new_and_returning_and_resurrecting_are_unique_users_of_the_bucket(edges in uneven_edges(5), events in history()) {
        let answer = lifecycle_stickiness::lifecycle(buckets(&edges), &counts(&events));
        for (bucket, new) in answer.new.iter().enumerate() {
            let users = unique_users(&edges, &events, Some(bucket + 1));
            prop_assert_eq!(new + answer.returning[bucket] + answer.resurrecting[bucket], users);
            // dormant(b+1) = users(b) − returning(b+1)
            let before = unique_users(&edges, &events, Some(bucket));
            prop_assert_eq!(-answer.dormant[bucket], before as i64 - answer.returning[bucket] as i64);
        }
    }

    #[test]
    fn retention_cell_0_recurring_is_unique_users_of_s_in_that_interval(edges in uneven_edges(4), events in history()) {
        let settings = |breakdown| RetentionSettings {
            buckets: buckets(&edges),
            periods: 4,
            is_full: false,
            mode: RetentionMode::Recurring,
            is_cumulative: false,
            minimum_occurrences: 1,
            breakdown,
            now: instant(0),
        };
        let row = |(actor, time, is_it): &Event| RetentionRow {
            actor: *actor,
            value: time.rem_euclid(3) as u32,
            time_micros: at(*time),
            starts: u32::from(*is_it),
            returns: 1,
        };
        let rows: Vec<RetentionRow> = events.iter().map(row).collect();
        let whole = &retention_rules::ask(&settings(None), &rows)[0];
        let groups = retention_rules::ask(&settings(Some(Breakdown { limit: 1 })), &rows);
        for (bucket, cohort) in whole.cohorts.iter().enumerate() {
            let users = unique_users(&edges, &events, Some(bucket));
            prop_assert_eq!((cohort.size, cohort.cells[0].count), (users, users));
            for (distance, cell) in cohort.cells.iter().enumerate() {
                let sum: u64 = groups.iter().map(|group| group.cohorts[bucket].cells[distance].count).sum();
                prop_assert_eq!(sum, cell.count);
            }
        }
    }

    #[test]
    fn stickiness_adds_up_to_unique_users_of_the_range_and_to_those_of_its_buckets(
        edges in uneven_edges(4), events in history(),
    ) {
        let ask = |is_cumulative| {
            lifecycle_stickiness::stickiness(buckets(&edges), Criterion::AtLeast(1), is_cumulative, &counts(&events))
        };
        let users = unique_users(&edges, &events, None);
        let of_buckets: u64 = (0..4).map(|bucket| unique_users(&edges, &events, Some(bucket))).sum();
        let exactly = ask(false);
        let at_least = ask(true);
        prop_assert_eq!(exactly.iter().sum::<u64>(), users);
        prop_assert_eq!(at_least[0], users);
        prop_assert_eq!(at_least.iter().sum::<u64>(), of_buckets);
    }

    #[test]
    fn visitors_are_unique_users_of_the_range_and_of_each_bucket(edges in uneven_edges(4), events in history()) {
        let row = |(actor, time, _): &Event| SessionRow {
            session: *actor,
            user: actor / 2,
            time_micros: at(*time),
            value: 0,
            is_page_view: true,
        };
        let events: Vec<Event> = events.iter().map(|(user, time, _)| (*user, *time, true)).collect();
        let rows: Vec<SessionRow> = events.iter().map(row).collect();
        let answer = sessions::ask(buckets(&edges), None, &rows);
        let mut users: Vec<Event> = events.iter().map(|(user, time, is_it)| (user / 2, *time, *is_it)).collect();
        users.sort_unstable();
        prop_assert_eq!(answer.total.visitors, unique_users(&edges, &users, None));
        prop_assert_eq!(answer.total.sessions, unique_users(&edges, &events, None));
        for (bucket, figures) in answer.series.iter().enumerate() {
            prop_assert_eq!(figures.visitors, unique_users(&edges, &users, Some(bucket)));
            prop_assert_eq!(figures.sessions, unique_users(&edges, &events, Some(bucket)));
        }
        prop_assert_eq!(answer.series.iter().map(|of| of.events).sum::<u64>(), answer.total.events);
    }
}
