//! A project's events, oldest first, in the form that an import reads back (contract, commands `export` and `import`).

use model::{Timestamp, limits::EXPORT_PAGE_EVENTS};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{EventStore, Parameters, ProjectScope, Rows, Statement, StoreError, Value};
use uuid::Uuid;

use crate::{QueryError, row::Row};

/// Which events are exported; `None` = all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportRequest {
    /// First event time.
    pub from: Option<Timestamp>,
    /// First event time after it.
    pub to: Option<Timestamp>,
    /// This name alone.
    pub event_name: Option<String>,
    /// This source alone.
    pub event_source: Option<String>,
    /// This user alone.
    pub user_id: Option<String>,
}

/// The last event of a page: the next page begins behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    timestamp: Timestamp,
    id: Uuid,
    /// Events that the page was allowed; after large events fewer than at first.
    events_max: usize,
}

/// An event as it is exported.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedEvent {
    /// Kept by an import: the same event stays the same event.
    pub id: Uuid,
    /// The client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// What happened.
    pub event_name: String,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_source: Option<String>,
    /// Who.
    pub user_id: String,
    /// In which visit.
    pub session_id: String,
    /// As the client sent them.
    pub properties: Box<RawValue>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When the server took it.
    pub received_at: Timestamp,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// The client's `User-Agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// Some events, and where the next page begins; `None` = there is none.
#[derive(Clone, Debug)]
pub struct ExportPage {
    /// By time, those of one instant by id.
    pub events: Vec<ExportedEvent>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// The events behind `after`, at most [`EXPORT_PAGE_EVENTS`], fewer where they are large. What is stored while an export runs may be in
/// it or not.
pub async fn read_export_page(
    store: &dyn EventStore,
    scope: &ProjectScope,
    request: &ExportRequest,
    after: Option<Cursor>,
) -> Result<ExportPage, QueryError> {
    let (rows, events_max) = read_rows(store, scope, request, after).await?;
    let events = rows
        .rows
        .into_iter()
        .map(|values| read_event(Row::new(values)))
        .collect::<Result<Vec<_>, _>>()?;
    let is_full = events.len() >= events_max;
    let next = events.last().filter(|_| is_full).map(|event| Cursor {
        timestamp: event.timestamp,
        id: event.id,
        events_max,
    });
    Ok(ExportPage { events, next })
}

/// The rows of a page, and how many it was allowed. A store refuses answers that take too much memory
/// ([`model::limits::QUERY_ANSWER_BYTES_MAX`]): then half as many events are asked for, down to one.
async fn read_rows(
    store: &dyn EventStore,
    scope: &ProjectScope,
    request: &ExportRequest,
    after: Option<Cursor>,
) -> Result<(Rows, usize), QueryError> {
    let mut events_max = after.map_or(EXPORT_PAGE_EVENTS, |after| after.events_max);
    loop {
        match store.read(statement(scope, request, after, events_max)).await {
            Err(StoreError::Refused(_)) if events_max > 1 => events_max /= 2,
            rows => return Ok((rows?, events_max)),
        }
    }
}

fn statement(scope: &ProjectScope, request: &ExportRequest, after: Option<Cursor>, events_max: usize) -> Statement {
    Statement::over_events(scope, |relation, parameters| {
        let condition = condition(request, after, parameters);
        format!(
            "select id, event_id, event_name, event_source, user_id, session_id, properties, timestamp, received_at, ip_address, user_agent \
             from {relation} as event where {condition} order by timestamp, id limit {events_max}"
        )
    })
}

fn condition(request: &ExportRequest, after: Option<Cursor>, parameters: &mut Parameters) -> String {
    let mut conditions = vec!["true".to_owned()];
    let times = [(">=", request.from), ("<", request.to)];
    for (comparison, time) in times {
        if let Some(time) = time {
            conditions.push(format!(
                "timestamp {comparison} {}",
                parameters.bind(Value::Instant(time))
            ));
        }
    }
    let texts = [
        ("event_name", &request.event_name),
        ("event_source", &request.event_source),
        ("user_id", &request.user_id),
    ];
    for (column, text) in texts {
        if let Some(text) = text {
            conditions.push(format!("{column} = {}", parameters.bind(Value::Text(text.clone()))));
        }
    }
    if let Some(Cursor { timestamp, id, .. }) = after {
        let (timestamp, id) = (
            parameters.bind(Value::Instant(timestamp)),
            parameters.bind(Value::Id(id)),
        );
        // The first condition alone lets the store skip what lies before.
        conditions.push(format!(
            "timestamp >= {timestamp} and (timestamp > {timestamp} or id > {id})"
        ));
    }
    conditions.join(" and ")
}

fn read_event(mut row: Row) -> Result<ExportedEvent, QueryError> {
    Ok(ExportedEvent {
        id: row.id()?,
        event_id: row.optional_text()?,
        event_name: row.text()?,
        event_source: row.optional_text()?,
        user_id: row.text()?,
        session_id: row.text()?,
        properties: row.json()?,
        timestamp: row.instant()?,
        received_at: row.instant()?,
        ip_address: row.optional_text()?,
        user_agent: row.optional_text()?,
    })
}
