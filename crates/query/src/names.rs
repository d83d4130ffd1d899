//! `GET /api/events/names/`: which names events have.

use jiff::ToSpan;
use model::{Timestamp, limits::EVENT_NAMES_MAX};
use serde::Serialize;
use store::{EventStore, ProjectScope, Statement, Value};
use utoipa::ToSchema;

use crate::{
    QueryError,
    calendar::{self, day_at, day_start},
    row::Row,
};

/// Local days looked at, today among them (contract, "Reading"; `semantics.md`, "Time": "last N days").
const DAYS: i64 = 30;

/// The names of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventNames {
    /// In the order of their bytes.
    #[schema(example = json!(["page_view", "purchase"]))]
    pub event_names: Vec<String>,
    /// How many.
    #[schema(example = 2)]
    pub count: usize,
}

/// The names of the last 30 days' events until `now`: of more than [`EVENT_NAMES_MAX`] the most frequent ones.
pub async fn read_event_names(
    store: &dyn EventStore,
    scope: &ProjectScope,
    now: Timestamp,
) -> Result<EventNames, QueryError> {
    let zone = calendar::zone_of(scope.project())?;
    let (today, _) = day_at(&zone, now);
    let from = day_start(&zone, today.saturating_sub((DAYS - 1).days()));
    let rows = store.read(statement(scope, from, now)).await?;
    let names = rows.rows.into_iter();
    let mut event_names = names
        .map(|values| Row::new(values).text())
        .collect::<Result<Vec<_>, _>>()?;
    event_names.sort_unstable();
    Ok(EventNames {
        count: event_names.len(),
        event_names,
    })
}

fn statement(scope: &ProjectScope, from: Timestamp, now: Timestamp) -> Statement {
    Statement::over_events(scope, |relation, parameters| {
        let from = parameters.bind(Value::Instant(from));
        let now = parameters.bind(Value::Instant(now));
        let limit = parameters.bind(Value::Integer(EVENT_NAMES_MAX.into()));
        format!(
            "select event_name from {relation} as event where timestamp >= {from} and timestamp <= {now} \
             group by event_name order by count(*) desc, event_name limit {limit}"
        )
    })
}
