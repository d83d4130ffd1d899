//! `GET /api/events/summaries/daily/`: one row per day.

use std::collections::BTreeMap;

use jiff::civil::Date;
use model::{FieldErrors, Timestamp, limits::SUMMARY_SOURCES_MAX};
use serde::Serialize;
use store::{EventStore, ProjectScope, Rows, Statement, Value};
use utoipa::ToSchema;

use crate::{
    Filters, Page, PageRequest, QueryError, TimeRange,
    calendar::{self, Calendar, Interval, date_of_bucket, day_start},
    filters::Condition,
    parameters::UrlParameters,
    row::Row,
};

/// Events listed for a day (contract, "Reading").
const TOP_EVENTS: u32 = 10;
/// Stands for events without a source (`semantics.md`, "Trends": breakdown).
const NO_SOURCE: &str = "(none)";
/// Stands for the sources beyond [`SUMMARY_SOURCES_MAX`].
const OTHER_SOURCES: &str = "(other)";

/// A question for days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryRequest {
    /// Which events are counted: days at the ends of the range count only what lies inside it.
    pub filters: Filters,
    /// Which page of the days.
    pub page: PageRequest,
}

impl SummaryRequest {
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

/// A day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DailySummary {
    /// The project's name.
    #[schema(example = "Shop")]
    pub project_name: String,
    /// The day in the project's time zone.
    #[schema(format = Date, example = "2026-01-15")]
    pub date: String,
    /// Events.
    #[schema(example = 3000)]
    pub total_events: u64,
    /// Different users, exact.
    #[schema(example = 410)]
    pub unique_users: u64,
    /// Different sessions, exact.
    #[schema(example = 602)]
    pub unique_sessions: u64,
    /// Different names of events.
    #[schema(example = 7)]
    pub unique_event_names: u64,
    /// Events by source; "(none)" for those without one. Sources beyond the 1000 largest are "(other)".
    #[schema(example = json!({"(none)": 100, "web": 2900}))]
    pub source_breakdown: BTreeMap<String, u64>,
    /// The 10 most frequent names, the most frequent first, then by name.
    pub top_events: Vec<TopEvent>,
    /// When the first of these events was received.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T00:00:01Z")]
    pub created_at: Timestamp,
    /// When the last of these events was received.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T23:59:58Z")]
    pub updated_at: Timestamp,
}

/// A frequent name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopEvent {
    /// What happened.
    #[schema(example = "page_view")]
    pub event_name: String,
    /// Events.
    #[schema(example = 1200)]
    pub event_count: u64,
    /// Different users, exact.
    #[schema(example = 310)]
    pub unique_users: u64,
}

/// A page of the days that have events which meet the filters, newest first.
pub async fn read_daily_summaries(
    store: &dyn EventStore,
    scope: &ProjectScope,
    request: &SummaryRequest,
) -> Result<Page<DailySummary>, QueryError> {
    let page = request.page;
    let window = page.window()?;
    let Some(condition) = request.filters.condition(scope) else {
        return page.page(0, Vec::new());
    };
    let zone = calendar::zone_of(scope.project())?;
    let range = request.filters.range;
    let calendar = Calendar::new(&zone, Interval::Day, range);
    let days = read_days(store.read(days_statement(scope, condition, &calendar)).await?)?;
    let count = u64::try_from(days.len()).unwrap_or(u64::MAX);
    let days = window.of(days);
    let (Some(newest), Some(oldest)) = (days.first(), days.last()) else {
        return page.page(count, Vec::new());
    };
    // The days of a page follow one another in the list: between them there is no other day with events.
    let range = TimeRange {
        from: range.from.max(day_start(&zone, *oldest)),
        to: newest
            .tomorrow()
            .map_or(range.to, |next| range.to.min(day_start(&zone, next))),
    };
    // Anew: the narrower range needs fewer clock changes.
    let calendar = Calendar::new(&zone, Interval::Day, range);
    let parts = store.read(parts_statement(scope, condition, &calendar, range)).await?;
    page.page(count, assemble(parts, scope)?)
}

/// The days that have events, newest first; at most as many as the longest range has.
fn days_statement(scope: &ProjectScope, condition: Condition<'_, '_>, calendar: &Calendar) -> Statement {
    Statement::over_events(scope, |relation, parameters| {
        let condition = condition.sql(parameters);
        let bucket = calendar.bucket_sql(parameters);
        format!("select {bucket} as bucket from {relation} as event where {condition} group by 1 order by 1 desc")
    })
}

fn read_days(rows: Rows) -> Result<Vec<Date>, QueryError> {
    let days = rows.rows.into_iter();
    days.map(|values| Row::new(values).instant().map(date_of_bucket))
        .collect()
}

/// Totals (part 0), sources (part 1) and top events (part 2) of each day, in one statement: they agree with one another.
fn parts_statement(
    scope: &ProjectScope,
    condition: Condition<'_, '_>,
    calendar: &Calendar,
    range: TimeRange,
) -> Statement {
    Statement::over_events(scope, |relation, parameters| {
        let condition = condition.sql_within(range, parameters);
        let bucket = calendar.bucket_sql(parameters);
        let sources_max = parameters.bind(Value::Integer(SUMMARY_SOURCES_MAX.into()));
        let top_events = parameters.bind(Value::Integer(TOP_EVENTS.into()));
        format!(
            "select * from (\
             select 0 as part, {bucket} as bucket, null as label, 1 as place, count(*) as event_count, \
             count(distinct uid) as unique_users, count(distinct session_id) as unique_sessions, \
             count(distinct event_name) as unique_names, min(received_at) as created_at, max(received_at) as updated_at \
             from {relation} as event where {condition} group by 2 \
             union all \
             select 1, bucket, event_source, row_number() over (partition by bucket order by event_count desc, event_source), \
             event_count, 0, 0, 0, null, null \
             from (select {bucket} as bucket, event_source, count(*) as event_count \
             from {relation} as event where {condition} group by 1, 2) as by_source \
             union all \
             select 2, bucket, event_name, row_number() over (partition by bucket order by event_count desc, event_name), \
             event_count, unique_users, 0, 0, null, null \
             from (select {bucket} as bucket, event_name, count(*) as event_count, count(distinct uid) as unique_users \
             from {relation} as event where {condition} group by 1, 2) as by_name\
             ) as parts \
             where part = 0 or (part = 1 and place <= {sources_max}) or (part = 2 and place <= {top_events}) \
             order by bucket desc, part, place"
        )
    })
}

/// Rows come by day, in a day its totals first.
fn assemble(rows: Rows, scope: &ProjectScope) -> Result<Vec<DailySummary>, QueryError> {
    let mut days: Vec<DailySummary> = Vec::new();
    for values in rows.rows {
        let mut row = Row::new(values);
        let part = row.count()?;
        if part == 0 {
            days.push(read_totals(&mut row, scope)?);
            continue;
        }
        let Some(day) = days.last_mut() else {
            return Err(QueryError::Unreadable(
                "a day of the store's answer has no totals".to_owned(),
            ));
        };
        let _bucket = row.instant()?;
        let label = row.optional_text()?;
        let _place = row.count()?;
        let event_count = row.count()?;
        if part == 1 {
            let name = label.unwrap_or_else(|| NO_SOURCE.to_owned());
            *day.source_breakdown.entry(name).or_default() += event_count;
        } else {
            day.top_events.push(TopEvent {
                event_name: label.unwrap_or_default(),
                event_count,
                unique_users: row.count()?,
            });
        }
    }
    for day in &mut days {
        let named: u64 = day.source_breakdown.values().sum();
        let rest = day.total_events.saturating_sub(named);
        if rest > 0 {
            *day.source_breakdown.entry(OTHER_SOURCES.to_owned()).or_default() += rest;
        }
    }
    Ok(days)
}

fn read_totals(row: &mut Row, scope: &ProjectScope) -> Result<DailySummary, QueryError> {
    let date = date_of_bucket(row.instant()?).to_string();
    let _label = row.optional_text()?;
    let _place = row.count()?;
    Ok(DailySummary {
        project_name: scope.project().name.clone(),
        date,
        total_events: row.count()?,
        unique_users: row.count()?,
        unique_sessions: row.count()?,
        unique_event_names: row.count()?,
        source_breakdown: BTreeMap::new(),
        top_events: Vec::new(),
        created_at: row.instant()?,
        updated_at: row.instant()?,
    })
}
