//! Counts over chance events, against an implementation that is slow and obvious.
#![expect(missing_docs, reason = "the name of a test says it all")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Zoned, tz::TimeZone};
use model::{EnrichedEvent, EventId, ProjectId, Timestamp};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use query::{AggregationRow, DailyAggregation, FiveMinuteAggregation, HourlyAggregation};
use serde::Serialize;
use serde_json::{Value, json};
use store::{EventStore, ProjectScope};
use uuid::Uuid;

use super::fixture::{append, counts, event, scope, summaries};
use crate::build::{self, instant};

/// Where clocks do what, and around when.
const PLACES: [(&str, &str); 10] = [
    ("UTC", "2026-02-27T00:00:00Z"),
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-10-31T00:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-03T00:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-02T00:00:00Z"),
    ("Asia/Kathmandu", "2026-01-01T00:00:00Z"),
    ("America/Havana", "2025-11-01T00:00:00Z"),
    ("America/St_Johns", "2010-11-06T00:00:00Z"),
    ("Pacific/Apia", "2011-12-29T00:00:00Z"),
];
const EVENTS: usize = 400;
/// Events lie within this time from the place's start: four days around the change.
const SPAN_SECONDS: i64 = 4 * 86_400;

/// What an event is made of, in numbers: second, kind of second, source, name, user, session, delay of receipt.
type Draw = (i64, u8, u8, u8, u8, u8, i64);

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let one = (
        0..SPAN_SECONDS,
        0..4_u8,
        0..4_u8,
        0..12_u8,
        0..9_u8,
        0..20_u8,
        0..200_000_i64,
    );
    proptest::collection::vec(one, EVENTS)
}

fn build_event(project: ProjectId, number: usize, start: Timestamp, draw: Draw) -> EnrichedEvent {
    let (second, kind, source, name, user, session, delay_seconds) = draw;
    // Often on an edge of 5 minutes or an hour, or the last instant before one.
    let second = match kind {
        0 => second,
        1 => second - second % 300,
        _ => second - second % 1800,
    };
    let micros = second * 1_000_000 - i64::from(kind == 3);
    let timestamp = start.saturating_add_micros(micros);
    let source = ["web", "app", "api"].get(usize::from(source)).copied();
    let made = event(
        project,
        0,
        &timestamp.to_string(),
        (source, &format!("name {name}")),
        (&format!("user {user}"), &format!("session {session}")),
    );
    EnrichedEvent {
        id: EventId(Uuid::from_u128(
            project.0.as_u128() ^ (u128::try_from(number).unwrap() << 64),
        )),
        received_at: timestamp.saturating_add_seconds(delay_seconds),
        ..made
    }
}

/// The local date whose first instant, as the calendar library knows it, is the latest one that is not after the event.
fn day(zone: &TimeZone, at: Timestamp) -> String {
    let wall = Zoned::new(at.to_jiff(), zone.clone()).date();
    let near = [wall.tomorrow().unwrap(), wall, wall.yesterday().unwrap()];
    let begun = |date: &jiff::civil::Date| {
        let first = date.to_zoned(zone.clone()).unwrap().start_of_day().unwrap();
        first.date() == *date && Timestamp::from(first.timestamp()) <= at
    };
    near.into_iter().find(begun).unwrap().to_string()
}

/// The latest minute, not after the event, at which the local clock shows a whole multiple of `size` seconds, or starts to show others.
/// Walks back minute by minute: no place here ever moved its clock within one.
fn step(zone: &TimeZone, at: Timestamp, size: i64) -> String {
    let grid = |instant: Timestamp| {
        let offset: i64 = zone.to_offset(instant.to_jiff()).seconds().into();
        (instant.as_micros().div_euclid(1_000_000) + offset).rem_euclid(size)
    };
    let mut start = Timestamp::from_micros(at.as_micros().div_euclid(60_000_000) * 60_000_000).unwrap();
    while grid(start) != 0 {
        let before = start.saturating_add_seconds(-60);
        if (grid(before) + 60) % size != grid(start) {
            break; // The clock was moved here, by no whole number of steps.
        }
        start = before;
    }
    start.to_string()
}

#[derive(Default)]
struct Counted {
    events: u64,
    users: BTreeSet<String>,
    sessions: BTreeSet<String>,
    received: BTreeSet<Timestamp>,
}

impl Counted {
    fn add(&mut self, event: &EnrichedEvent) {
        self.events += 1;
        self.users.insert(event.user_id.clone());
        self.sessions.insert(event.session_id.clone());
        self.received.insert(event.received_at);
    }
}

/// The rows of an aggregation, in the order of the contract.
fn expected_counts(events: &[&EnrichedEvent], field: &str, bucket: impl Fn(Timestamp) -> String) -> Vec<Value> {
    let mut groups: BTreeMap<(String, &str, Option<&str>), Counted> = BTreeMap::new();
    for event in events {
        let key = (
            bucket(event.timestamp),
            event.event_name.as_str(),
            event.event_source.as_deref(),
        );
        groups.entry(key).or_default().add(event);
    }
    let mut rows: Vec<_> = groups.into_iter().collect();
    rows.sort_by(
        |((bucket, name, source), counted), ((other_bucket, other_name, other_source), other)| {
            let sourceless = source.is_none().cmp(&other_source.is_none());
            (other_bucket.cmp(bucket))
                .then(other.events.cmp(&counted.events))
                .then(name.cmp(other_name))
                .then(sourceless)
                .then(source.cmp(other_source))
        },
    );
    let row = |((bucket, name, source), counted): ((String, &str, Option<&str>), Counted)| {
        let mut row = json!({
            "project_name": "Any",
            "event_source_name": source,
            "event_name": name,
            "event_count": counted.events,
            "unique_users": counted.users.len(),
            "unique_sessions": counted.sessions.len(),
            "created_at": counted.received.first(),
            "updated_at": counted.received.last(),
        });
        row[field] = json!(bucket);
        row
    };
    rows.into_iter().map(row).collect()
}

/// The rows of the daily summaries.
fn expected_summaries(events: &[&EnrichedEvent], zone: &TimeZone) -> Vec<Value> {
    let mut days: BTreeMap<String, Vec<&EnrichedEvent>> = BTreeMap::new();
    for event in events {
        days.entry(day(zone, event.timestamp)).or_default().push(event);
    }
    let summary = |(date, events): (String, Vec<&EnrichedEvent>)| {
        let mut total = Counted::default();
        let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
        let mut names: BTreeMap<&str, Counted> = BTreeMap::new();
        for event in events {
            total.add(event);
            *sources
                .entry(event.event_source.as_deref().unwrap_or("(none)"))
                .or_default() += 1;
            names.entry(&event.event_name).or_default().add(event);
        }
        let unique_event_names = names.len();
        let mut top: Vec<_> = names.into_iter().collect();
        top.sort_by_key(|(name, counted)| (std::cmp::Reverse(counted.events), *name));
        let top: Vec<Value> = top
            .into_iter()
            .take(10)
            .map(|(name, counted)| {
                json!({"event_name": name, "event_count": counted.events, "unique_users": counted.users.len()})
            })
            .collect();
        json!({
            "project_name": "Any",
            "date": date,
            "total_events": total.events,
            "unique_users": total.users.len(),
            "unique_sessions": total.sessions.len(),
            "unique_event_names": unique_event_names,
            "source_breakdown": sources,
            "top_events": top,
            "created_at": total.received.first(),
            "updated_at": total.received.last(),
        })
    };
    days.into_iter().rev().map(summary).collect()
}

/// All pages of a kind of counts.
async fn all_counts<R: AggregationRow + Serialize>(
    store: &dyn EventStore,
    scope: &ProjectScope,
    range: [(&str, &str); 2],
) -> Vec<Value> {
    let mut rows = Vec::new();
    for page in 1.. {
        let page = page.to_string();
        let parameters = [range[0], range[1], ("page_size", "150"), ("page", page.as_str())];
        let mut answer = counts::<R>(store, scope, &parameters).await;
        rows.append(answer["results"].as_array_mut().unwrap());
        if answer["next"].is_null() {
            assert_eq!(answer["count"], rows.len());
            break;
        }
    }
    rows
}

fn assert_same(found: &[Value], expected: &[Value], what: &str) {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}, row {index}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

pub async fn counts_equal_those_of_an_obvious_implementation(store: &dyn EventStore) {
    // The same chance in every run.
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    for (index, (name, start)) in (10..).zip(PLACES) {
        let project = build::project(index);
        let (zone, start) = (TimeZone::get(name).unwrap(), instant(start));
        let draws = draws().new_tree(&mut runner).unwrap().current();
        let events: Vec<EnrichedEvent> = (0..)
            .zip(draws)
            .map(|(number, draw)| build_event(project, number, start, draw))
            .collect();
        append(store, events.clone()).await;
        let scope = scope(project, "Any", name).await;
        // The whole, and a part that begins and ends anywhere.
        for (from, to) in [(-1, SPAN_SECONDS), (SPAN_SECONDS / 5 + 17, SPAN_SECONDS / 5 * 4 + 3)] {
            let (from, to) = (start.saturating_add_seconds(from), start.saturating_add_seconds(to));
            let inside: Vec<&EnrichedEvent> = events
                .iter()
                .filter(|event| from <= event.timestamp && event.timestamp < to)
                .collect();
            let (from, to) = (from.to_string(), to.to_string());
            let range = [("start_date", from.as_str()), ("end_date", to.as_str())];
            let what = |kind: &str| format!("{kind} in {name} from {from} to {to}");
            assert_same(
                &all_counts::<DailyAggregation>(store, &scope, range).await,
                &expected_counts(&inside, "date", |at| day(&zone, at)),
                &what("days"),
            );
            assert_same(
                &all_counts::<HourlyAggregation>(store, &scope, range).await,
                &expected_counts(&inside, "datetime_hour", |at| step(&zone, at, 3_600)),
                &what("hours"),
            );
            assert_same(
                &all_counts::<FiveMinuteAggregation>(store, &scope, range).await,
                &expected_counts(&inside, "datetime_5min", |at| step(&zone, at, 300)),
                &what("5 minutes"),
            );
            let summaries = summaries(store, &scope, &range).await;
            assert_same(
                summaries["results"].as_array().unwrap(),
                &expected_summaries(&inside, &zone),
                &what("summaries"),
            );
        }
    }
}
