//! Rules about sessions, by hand and against sets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::{HISTORIES, UNIT_MICROS, at, bucket_of, buckets, uneven_edges};
use crate::kernels::{
    Buckets, Group, NO_VALUE, SessionFigures, SessionRow, SessionsAnswer, SessionsBy, SessionsKernel,
};

pub fn ask(buckets: Buckets, by: Option<SessionsBy>, rows: &[SessionRow]) -> SessionsAnswer {
    let mut kernel = SessionsKernel::new(buckets, by);
    for row in rows {
        kernel.push(*row).unwrap();
    }
    kernel.finish().unwrap()
}

/// A page view of page `value`, or with `None` another event, by the user of the session's number.
fn row(session: u32, time: i64, page: Option<u32>) -> SessionRow {
    SessionRow {
        session,
        user: session,
        time_micros: at(time),
        value: page.unwrap_or(NO_VALUE),
        is_page_view: page.is_some(),
    }
}

#[test]
fn bounce_exactly_one_page_view_no_other_event_and_duration_below_10_s() {
    let total = |rows: &[SessionRow]| ask(buckets(&[0, 100]), None, rows).total;
    assert_eq!(total(&[row(1, 0, Some(1))]).bounce_rate, 1.0);
    assert_eq!(total(&[row(1, 0, Some(1)), row(1, 1, Some(1))]).bounce_rate, 0.0);
    assert_eq!(total(&[row(1, 0, Some(1)), row(1, 1, None)]).bounce_rate, 0.0);
    // Sessions without a page view are not in the rates.
    let with_others = total(&[
        row(1, 0, Some(1)),
        row(2, 0, None),
        row(2, 50, None),
        row(3, 0, Some(1)),
        row(3, 4, Some(2)),
    ]);
    let expected = SessionFigures {
        visitors: 3,
        sessions: 3,
        page_views: 3,
        events: 5,
        views_per_session: 1.5,
        bounce_rate: 0.5,
        average_duration_seconds: 2.000_002,
    };
    assert_eq!(with_others, expected);
    assert_eq!(total(&[]), SessionFigures::default());
}

#[test]
fn sessions_of_a_bucket_one_across_midnight_is_in_both_days() {
    let rows = [
        row(1, 9, Some(1)),
        row(1, 10, Some(2)),
        row(1, 12, None),
        row(2, 11, Some(1)),
    ];
    let answer = ask(buckets(&[0, 10, 20, 30]), None, &rows);
    let figures = |of: &SessionFigures| (of.sessions, of.visitors, of.page_views, of.events);
    assert_eq!(
        answer.series.iter().map(figures).collect::<Vec<_>>(),
        [(1, 1, 1, 1), (2, 2, 2, 3), (0, 0, 0, 0)]
    );
    assert_eq!(figures(&answer.total), (2, 2, 3, 4));
    // As a whole in each.
    assert_eq!(answer.series[0].average_duration_seconds, 3.000_003);
    assert_eq!(answer.series[0].views_per_session, 2.0);
    assert_eq!(answer.series[1].bounce_rate, 0.5);
}

#[test]
fn duration_is_last_minus_first_time_over_all_its_events_attributes_are_those_of_its_first() {
    // It began before the range and ended after it.
    let rows = [
        row(1, -5, Some(7)),
        row(1, 1, Some(8)),
        row(1, 15, Some(9)),
        row(2, -3, Some(7)),
        row(2, 11, None),
    ];
    let answer = ask(buckets(&[0, 10]), Some(SessionsBy::FirstEvent), &rows);
    let expected = SessionFigures {
        visitors: 1,
        sessions: 1,
        page_views: 1,
        events: 1,
        views_per_session: 3.0,
        bounce_rate: 0.0,
        average_duration_seconds: 20.000_02,
    };
    assert_eq!(answer.total, expected);
    assert_eq!(answer.by, [(Group::Value(7), expected)]);
}

#[test]
fn bounce_duration_and_views_per_session_by_page_are_of_the_sessions_that_entered_on_that_page() {
    let rows = [
        row(1, 0, None),
        row(1, 1, Some(1)),
        row(1, 2, Some(2)),
        row(1, 3, Some(2)),
        row(2, 0, Some(2)),
        row(3, 0, None),
    ];
    let figures = |by| {
        let answer = ask(buckets(&[0, 10]), Some(by), &rows);
        let figures = answer.by.iter().map(|(group, of)| {
            (
                *group,
                of.sessions,
                of.page_views,
                of.events,
                of.views_per_session,
                of.bounce_rate,
            )
        });
        figures.collect::<Vec<_>>()
    };
    let [one, two, none] = [Group::Value(1), Group::Value(2), Group::NoValue];
    let by_page = [
        (none, 2, 0, 2, 0.0, 0.0),
        (one, 1, 1, 1, 3.0, 0.0),
        (two, 2, 3, 3, 1.0, 1.0),
    ];
    assert_eq!(figures(SessionsBy::EachEvent), by_page);
    let by_entry = [
        (none, 1, 0, 1, 0.0, 0.0),
        (one, 1, 3, 4, 3.0, 0.0),
        (two, 1, 1, 1, 1.0, 1.0),
    ];
    assert_eq!(figures(SessionsBy::EntryPage), by_entry);
    assert_eq!(
        figures(SessionsBy::ExitPage),
        [(none, 1, 0, 1, 0.0, 0.0), (two, 2, 4, 5, 2.0, 0.5)]
    );
    assert_eq!(
        figures(SessionsBy::FirstEvent),
        [(none, 2, 3, 5, 3.0, 0.0), (two, 1, 1, 1, 1.0, 1.0)]
    );
}

/// All events of one session, by time.
type Session<'history> = &'history [SessionRow];

/// Figures of what `counts` says of each event, with the rates of `wholes`.
fn figures(sessions: &[Session], counts: impl Fn(&SessionRow) -> bool, wholes: &[Session]) -> SessionFigures {
    let events: Vec<&SessionRow> = sessions.iter().copied().flatten().filter(|row| counts(row)).collect();
    let views = |session: Session| session.iter().filter(|row| row.is_page_view).count() as f64;
    let micros = |session: Session| session[session.len() - 1].time_micros - session[0].time_micros;
    let viewed: Vec<Session> = wholes.iter().copied().filter(|session| views(session) > 0.0).collect();
    let is_bounce = |session: Session| views(session) == 1.0 && session.len() == 1 && micros(session) < 10_000_000;
    let bounces = viewed.iter().filter(|session| is_bounce(session)).count() as f64;
    let mean = |sum: f64| {
        if viewed.is_empty() {
            0.0
        } else {
            sum / viewed.len() as f64
        }
    };
    SessionFigures {
        visitors: events.iter().map(|row| row.user).collect::<BTreeSet<_>>().len() as u64,
        sessions: events.iter().map(|row| row.session).collect::<BTreeSet<_>>().len() as u64,
        page_views: events.iter().filter(|row| row.is_page_view).count() as u64,
        events: events.len() as u64,
        views_per_session: mean(viewed.iter().map(|session| views(session)).sum()),
        bounce_rate: mean(bounces),
        average_duration_seconds: mean(viewed.iter().map(|session| micros(session)).sum::<i64>() as f64) / 1e6,
    }
}

fn expected(edges: &[i64], by: Option<SessionsBy>, rows: &[SessionRow]) -> SessionsAnswer {
    let is_in_range = |row: &SessionRow| bucket_of(edges, row.time_micros).is_some();
    let sessions: Vec<Session> = rows
        .chunk_by(|left, right| left.session == right.session)
        .filter(|session| session.iter().any(is_in_range))
        .collect();
    let of_bucket = |bucket| {
        let is_in = |row: &SessionRow| bucket_of(edges, row.time_micros) == Some(bucket);
        let touching: Vec<Session> = sessions
            .iter()
            .copied()
            .filter(|session| session.iter().any(is_in))
            .collect();
        figures(&sessions, is_in, &touching)
    };
    let own_value = |session: Session| {
        let mut views = session.iter().filter(|row| row.is_page_view);
        let row = match by {
            Some(SessionsBy::FirstEvent) => session.first(),
            Some(SessionsBy::ExitPage) => views.next_back(),
            _ => views.next(),
        };
        row.map_or(NO_VALUE, |row| row.value)
    };
    let mut groups = BTreeMap::new();
    let values = by
        .iter()
        .flat_map(|_| rows.iter().map(|row| row.value).chain([NO_VALUE]));
    for value in values {
        let own: Vec<Session> = sessions
            .iter()
            .copied()
            .filter(|session| own_value(session) == value)
            .collect();
        let figures = match by {
            Some(SessionsBy::EachEvent) => figures(&sessions, |row| is_in_range(row) && row.value == value, &own),
            _ => figures(&own, is_in_range, &own),
        };
        let has_viewed = own.iter().copied().flatten().any(|row| row.is_page_view);
        if figures.events > 0 || has_viewed {
            groups.insert(value.wrapping_add(1), figures);
        }
    }
    let group = |(slot, figures): (u32, SessionFigures)| match slot {
        0 => (Group::NoValue, figures),
        slot => (Group::Value(slot - 1), figures),
    };
    SessionsAnswer {
        total: figures(&sessions, is_in_range, &sessions),
        series: (0..edges.len() - 1).map(of_bucket).collect(),
        by: groups.into_iter().map(group).collect(),
    }
}

fn history() -> impl Strategy<Value = Vec<SessionRow>> {
    let event = (1..9_u32, 0..3_u32, -4..20_i64, 0..4_u32, any::<bool>());
    prop::collection::vec(event, 0..40).prop_map(|events| {
        let row = |(session, user, time, value, is_page_view)| SessionRow {
            session,
            // Mostly one of a session, sometimes another.
            user: if user == 0 { session } else { session % 3 },
            time_micros: time * UNIT_MICROS,
            value: if value == 3 { NO_VALUE } else { value },
            is_page_view,
        };
        let mut rows: Vec<SessionRow> = events.into_iter().map(row).collect();
        rows.sort_by_key(|row| (row.session, row.time_micros));
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * HISTORIES))]

    #[test]
    fn sessions_are_what_the_sets_give(
        edges in uneven_edges(4),
        by in prop_oneof![
            Just(None),
            Just(Some(SessionsBy::FirstEvent)),
            Just(Some(SessionsBy::EntryPage)),
            Just(Some(SessionsBy::ExitPage)),
            Just(Some(SessionsBy::EachEvent)),
        ],
        rows in history(),
    ) {
        prop_assert_eq!(ask(buckets(&edges), by, &rows), expected(&edges, by, &rows));
    }
}

#[test]
fn visitors_are_counted_once_however_they_are_numbered() {
    // Dense from below, dense from above, and far apart.
    let numberings: [fn(u32) -> u32; 3] = [
        |session| session % 301,
        |session| 1_000 - session % 301,
        |session| (session % 301).wrapping_mul(4_000_037),
    ];
    for number in numberings {
        let rows = (0..1_500_u32).map(|session| SessionRow {
            user: number(session),
            ..row(session, i64::from(session % 2), Some(session % 3))
        });
        let rows: Vec<SessionRow> = rows.collect();
        for by in [SessionsBy::EachEvent, SessionsBy::FirstEvent] {
            assert_eq!(
                ask(buckets(&[0, 1, 2]), Some(by), &rows),
                expected(&[0, 1, 2], Some(by), &rows)
            );
        }
    }
}
