//! A small shop whose every number can be counted by hand, and the questions to ask about it.

use model::{EnrichedEvent, EventId, Project, ProjectId, Source, SourceId, Timestamp};
use query::{AggregationRequest, AggregationRow, EventsRequest, PageAnswer, SummaryRequest};
use serde::Serialize;
use serde_json::Value;
use store::{AppendBatch, AppendItem, AppendOutcome, EventStore, ProjectScope};
use uuid::Uuid;

use crate::{
    build::{self, enriched_event, instant},
    directory,
};

/// When the shop is asked, where nothing else is said: 10:30 on 15 January 2026 in Berlin.
pub(super) const NOW: &str = "2026-01-15T09:30:00Z";
/// A range that holds every event of the shop.
pub(super) const ALL: [(&str, &str); 2] = [
    ("start_date", "2026-01-14T00:00:00Z"),
    ("end_date", "2026-01-16T00:00:00Z"),
];

/// The project of most tests.
pub(super) fn shop_id() -> ProjectId {
    build::project(1)
}

/// The id of a source of the shop.
pub(super) fn source_id(number: u128) -> SourceId {
    SourceId(Uuid::from_u128(0xa000 + number))
}

fn source(project_id: ProjectId, number: u128, name: &str, is_active: bool) -> Source {
    Source {
        id: source_id(number),
        is_active,
        ..Source::auto_created(project_id, name, instant("2026-01-10T00:00:00Z"))
    }
}

/// A project of its own with the shop's sources.
pub(super) async fn scope(id: ProjectId, name: &str, time_zone: &str) -> ProjectScope {
    let mut project = Project::new(name.to_owned(), instant("2026-01-10T00:00:00Z"));
    project.id = id;
    project.time_zone = time_zone.to_owned();
    let sources = vec![
        source(id, 1, "web", true),
        source(id, 2, "app", true),
        source(id, 3, "old", false),
    ];
    directory::scope(project, sources).await
}

/// The shop, in Berlin.
pub(super) async fn shop() -> ProjectScope {
    scope(shop_id(), "Shop", "Europe/Berlin").await
}

/// An event, received a second after it happened.
pub(super) fn event(
    project_id: ProjectId,
    number: u128,
    time: &str,
    (source, name): (Option<&str>, &str),
    (user, session): (&str, &str),
) -> EnrichedEvent {
    let timestamp = instant(time);
    EnrichedEvent {
        id: EventId(Uuid::from_u128(number)),
        event_name: name.to_owned(),
        event_source: source.map(str::to_owned),
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        properties: "{}".to_owned(),
        timestamp,
        received_at: timestamp.saturating_add_seconds(1),
        ip_address: None,
        user_agent: None,
        ..enriched_event(project_id, number)
    }
}

/// The events of the shop. Midnight of 15 January in Berlin is 23:00 UTC of the 14th.
pub(super) fn shop_events() -> Vec<EnrichedEvent> {
    let shop = shop_id();
    let (web, app) = (Some("web"), Some("app"));
    let mut events = vec![
        event(shop, 1, "2026-01-14T22:30:00Z", (web, "login"), ("u1", "s1")),
        // The first instant of the 15th; the session goes on over midnight.
        event(shop, 2, "2026-01-14T23:00:00Z", (web, "page_view"), ("u1", "s1")),
        event(shop, 3, "2026-01-15T08:04:59.999999Z", (web, "page_view"), ("u2", "s2")),
        // Two events of one instant.
        event(shop, 4, "2026-01-15T08:05:00Z", (web, "purchase"), ("u2", "s2")),
        event(shop, 5, "2026-01-15T08:05:00Z", (None, "purchase"), ("u3", "s3")),
        event(shop, 6, "2026-01-15T09:00:00Z", (app, "page_view"), ("u1", "s4")),
        // The first instant of the 16th.
        event(shop, 7, "2026-01-15T23:00:00Z", (web, "page_view"), ("u4", "s5")),
    ];
    events[3].client_event_id = Some("order-17".to_owned());
    events[3].properties =
        r#"{"price":12.50, "items":["größe",{"b":1,"a":1e3}],"big":12345678901234567890123}"#.to_owned();
    events[3].ip_address = Some("2001:db8::1".to_owned());
    events[3].user_agent = Some("Mozilla/5.0 (test)".to_owned());
    events[5].received_at = instant("2026-01-16T10:00:00.25Z");
    events
}

/// Stores events in batches of 1000; all of them must be new.
pub(super) async fn append(store: &dyn EventStore, events: Vec<EnrichedEvent>) {
    for events in events.chunks(1000) {
        let items: Vec<AppendItem> = (1..)
            .zip(events)
            .map(|(position, event)| AppendItem {
                position,
                event: event.clone(),
            })
            .collect();
        let expected = vec![AppendOutcome::Stored; items.len()];
        let batch = AppendBatch {
            items: items.into(),
            ..AppendBatch::default()
        };
        assert_eq!(store.append(batch).await.unwrap().outcomes, expected);
    }
}

fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn now() -> Timestamp {
    instant(NOW)
}

fn json(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap()
}

fn page_json<T: Serialize>(page: query::Page<T>) -> Value {
    let answer: PageAnswer<T> = page.into_answer(|number| format!("page {number}"));
    json(&answer)
}

/// The answer of `events/query`.
pub(super) async fn events(store: &dyn EventStore, scope: &ProjectScope, parameters: &[(&str, &str)]) -> Value {
    let request = EventsRequest::parse(&pairs(parameters), now()).unwrap();
    page_json(query::read_events(store, scope, &request).await.unwrap())
}

/// The answer of `aggregations/…`.
pub(super) async fn counts<R: AggregationRow + Serialize>(
    store: &dyn EventStore,
    scope: &ProjectScope,
    parameters: &[(&str, &str)],
) -> Value {
    let request = AggregationRequest::parse(&pairs(parameters), now()).unwrap();
    let page = query::read_aggregations::<R>(store, scope, &request).await.unwrap();
    page_json(page)
}

/// The answer of `summaries/daily`.
pub(super) async fn summaries(store: &dyn EventStore, scope: &ProjectScope, parameters: &[(&str, &str)]) -> Value {
    let request = SummaryRequest::parse(&pairs(parameters), now()).unwrap();
    page_json(query::read_daily_summaries(store, scope, &request).await.unwrap())
}

/// The answer of `metrics/realtime`.
pub(super) async fn realtime(store: &dyn EventStore, scope: &ProjectScope, now: &str) -> Value {
    json(&query::read_realtime_metrics(store, scope, instant(now)).await.unwrap())
}

/// The answer of `names`.
pub(super) async fn names(store: &dyn EventStore, scope: &ProjectScope, now: &str) -> Value {
    json(&query::read_event_names(store, scope, instant(now)).await.unwrap())
}

/// One field of each result.
pub(super) fn column(answer: &Value, field: &str) -> Vec<Value> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|result| result[field].clone()).collect()
}

/// The numbers of the events of an answer: the ids that [`event`] gave.
pub(super) fn numbers(answer: &Value) -> Vec<u128> {
    column(answer, "id")
        .iter()
        .map(|id| Uuid::parse_str(id.as_str().unwrap()).unwrap().as_u128())
        .collect()
}
