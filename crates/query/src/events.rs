//! `GET /api/events/query/`: events as they are stored.

use model::{FieldErrors, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{EventStore, ProjectScope, Statement};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Filters, Page, PageRequest, QueryError, filters::Condition, page::Window, parameters::UrlParameters, row::Row,
};

/// A question for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsRequest {
    /// Which events.
    pub filters: Filters,
    /// Which page of them.
    pub page: PageRequest,
}

impl EventsRequest {
    /// Reads the decoded parameters of a URL; `now` ends the default range. Names every bad parameter at once.
    pub fn parse(pairs: &[(String, String)], now: Timestamp) -> Result<Self, FieldErrors> {
        let mut parameters = UrlParameters::new(pairs);
        let request = Self {
            filters: Filters::parse(&mut parameters, now),
            page: PageRequest::parse(&mut parameters),
        };
        parameters.finish(request)
    }
}

/// An event as it is stored.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StoredEvent {
    /// Given by the server.
    #[schema(example = "01980d3c-7b5a-7c3e-9c1d-3f2a8b6e4d10")]
    pub id: Uuid,
    /// Given by the client.
    #[schema(example = "order-1017")]
    pub event_id: Option<String>,
    /// The project's name.
    #[schema(example = "Shop")]
    pub project_name: String,
    /// Null for events without a source.
    #[schema(example = "web")]
    pub event_source_name: Option<String>,
    /// What happened.
    #[schema(example = "purchase")]
    pub event_name: String,
    /// As the client sent it: numbers and the order of keys are kept.
    #[schema(value_type = Object, example = json!({"price": 12.50, "plan": "pro"}))]
    pub event_properties: Box<RawValue>,
    /// The client's, or derived.
    #[schema(example = "user-17")]
    pub user_id: String,
    /// The client's, or derived.
    #[schema(example = "session-4")]
    pub session_id: String,
    /// The client's address.
    #[schema(example = "192.0.2.1")]
    pub ip_address: Option<String>,
    /// The client's `User-Agent`.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0")]
    pub user_agent: Option<String>,
    /// When it happened.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T12:00:00Z")]
    pub timestamp: Timestamp,
    /// When the server took it.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T12:00:00.250000Z")]
    pub created_at: Timestamp,
}

/// A page of the events that meet the filters, newest first; those of one instant by id, the largest first.
pub async fn read_events(
    store: &dyn EventStore,
    scope: &ProjectScope,
    request: &EventsRequest,
) -> Result<Page<StoredEvent>, QueryError> {
    let page = request.page;
    let Some(condition) = request.filters.condition(scope) else {
        return page.page(0, Vec::new());
    };
    let rows = store.read(statement(scope, condition, page.window()?)).await?;
    let mut count = 0;
    let mut events = Vec::with_capacity(rows.rows.len());
    for values in rows.rows {
        let mut row = Row::new(values);
        count = row.count()?;
        events.push(read_event(&mut row, scope)?);
    }
    page.page(count, events)
}

/// Pages by the narrow columns alone, then looks up the wide ones of the page: a deep page costs a sort of times and ids, not of rows.
fn statement(scope: &ProjectScope, condition: Condition<'_, '_>, window: Window) -> Statement {
    Statement::over_events(scope, |relation, parameters| {
        let condition = condition.sql(parameters);
        let window = window.sql(parameters);
        format!(
            "select (select count(*) from {relation} as event where {condition}) as total, \
             id, event_id, event_source, event_name, properties, user_id, session_id, ip_address, user_agent, timestamp, received_at \
             from {relation} as event \
             join (select timestamp, id from {relation} as event where {condition} \
             order by timestamp desc, id desc {window}) as page using (timestamp, id) \
             order by timestamp desc, id desc"
        )
    })
}

fn read_event(row: &mut Row, scope: &ProjectScope) -> Result<StoredEvent, QueryError> {
    Ok(StoredEvent {
        id: row.id()?,
        event_id: row.optional_text()?,
        project_name: scope.project().name.clone(),
        event_source_name: row.optional_text()?,
        event_name: row.text()?,
        event_properties: row.json()?,
        user_id: row.text()?,
        session_id: row.text()?,
        ip_address: row.optional_text()?,
        user_agent: row.optional_text()?,
        timestamp: row.instant()?,
        created_at: row.instant()?,
    })
}
