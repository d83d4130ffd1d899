//! `GET /api/events/metrics/realtime/`: what is going on.

use model::{SourceId, Timestamp};
use serde::Serialize;
use store::{EventStore, ProjectScope, Statement, Value};
use utoipa::ToSchema;

use crate::{
    QueryError,
    calendar::{self, day_at, hour_start},
    row::Row,
    sources::active_sources,
};

/// Names listed (contract, "Reading").
const TOP_EVENTS: i64 = 10;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// A session with an event in so many seconds is active (contract, "Reading": 60 minutes).
const ACTIVE_SECONDS: i64 = 60 * 60;

/// What is going on. Hours and days are those of the project's time zone; events with a time after `last_updated` are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RealtimeMetrics {
    /// The project's name.
    #[schema(example = "Shop")]
    pub project_name: String,
    /// Events since the hour began.
    #[schema(example = 120)]
    pub current_hour_events: u64,
    /// Events since the day began.
    #[schema(example = 2400)]
    pub current_day_events: u64,
    /// Events of the last 24 hours.
    #[schema(example = 3000)]
    pub last_24h_events: u64,
    /// Different users since the day began.
    #[schema(example = 410)]
    pub active_users_today: u64,
    /// Different sessions with an event in the last 60 minutes.
    #[schema(example = 17)]
    pub active_sessions_now: u64,
    /// The 10 most frequent names since the day began with their counts, the most frequent first, then by name.
    #[schema(example = json!([["page_view", 1200], ["purchase", 17]]))]
    pub top_events_today: Vec<(String, u64)>,
    /// The active sources, by name.
    pub event_sources: Vec<RealtimeSource>,
    /// When this was counted.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T12:00:00Z")]
    pub last_updated: Timestamp,
}

/// An active source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RealtimeSource {
    /// Its id: the value of the filter `event_source_id`.
    #[schema(value_type = String, format = Uuid, example = "01980d3c-7b5a-7c3e-9c1d-3f2a8b6e4d10")]
    pub id: SourceId,
    /// As events name it.
    #[schema(example = "web")]
    pub name: String,
    /// For people.
    #[schema(example = "Auto-created source: web")]
    pub description: String,
}

/// Counts until `now`.
pub async fn read_realtime_metrics(
    store: &dyn EventStore,
    scope: &ProjectScope,
    now: Timestamp,
) -> Result<RealtimeMetrics, QueryError> {
    let project = scope.project();
    let zone = calendar::zone_of(project)?;
    let edges = Edges {
        hour: hour_start(&zone, now),
        today: day_at(&zone, now).1,
        now,
    };
    let mut metrics = RealtimeMetrics {
        project_name: project.name.clone(),
        current_hour_events: 0,
        current_day_events: 0,
        last_24h_events: 0,
        active_users_today: 0,
        active_sessions_now: 0,
        top_events_today: Vec::new(),
        event_sources: active_sources(scope)
            .map(|source| RealtimeSource {
                id: source.id,
                name: source.name.clone(),
                description: source.description.clone(),
            })
            .collect(),
        last_updated: now,
    };
    for values in store.read(statement(scope, edges)).await?.rows {
        let mut row = Row::new(values);
        match row.optional_text()? {
            Some(name) => metrics.top_events_today.push((name, row.count()?)),
            None => {
                metrics.current_day_events = row.count()?;
                metrics.current_hour_events = row.count()?;
                metrics.last_24h_events = row.count()?;
                metrics.active_users_today = row.count()?;
                metrics.active_sessions_now = row.count()?;
            }
        }
    }
    Ok(metrics)
}

/// Where the counts begin and end.
#[derive(Clone, Copy)]
struct Edges {
    hour: Timestamp,
    today: Timestamp,
    now: Timestamp,
}

/// The totals (without a name) and the names of today, in one statement: they agree with one another.
fn statement(scope: &ProjectScope, edges: Edges) -> Statement {
    let day_ago = edges.now.saturating_add_seconds(-DAY_SECONDS);
    let active = edges.now.saturating_add_seconds(-ACTIVE_SECONDS);
    Statement::over_events(scope, |relation, parameters| {
        let mut bind = |instant: Timestamp| parameters.bind(Value::Instant(instant));
        // The day is at most 48 hours long, the hour is part of it: the earlier of both edges covers everything.
        let first = bind(edges.today.min(day_ago));
        let (now, hour, today) = (bind(edges.now), bind(edges.hour), bind(edges.today));
        let (day_ago, active) = (bind(day_ago), bind(active));
        let limit = parameters.bind(Value::Integer(TOP_EVENTS));
        format!(
            "select event_name, day_events, hour_events, last_24h_events, users, sessions from (\
             select cast(null as text) as event_name, \
             count(*) filter (where timestamp >= {today}) as day_events, \
             count(*) filter (where timestamp >= {hour}) as hour_events, \
             count(*) filter (where timestamp > {day_ago}) as last_24h_events, \
             count(distinct uid) filter (where timestamp >= {today}) as users, \
             count(distinct session_id) filter (where timestamp > {active}) as sessions \
             from {relation} as event where timestamp >= {first} and timestamp <= {now} \
             union all \
             select * from (select event_name, count(*), 0, 0, 0, 0 \
             from {relation} as event where timestamp >= {today} and timestamp <= {now} \
             group by event_name order by 2 desc, 1 limit {limit}) as named\
             ) as counted order by day_events desc, event_name"
        )
    })
}
