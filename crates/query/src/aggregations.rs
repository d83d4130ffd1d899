//! `GET /api/events/aggregations/{daily,hourly,5min}/`: counts by bucket, source and name.

use model::{FieldErrors, Timestamp};
use serde::Serialize;
use store::{EventStore, ProjectScope, Statement};
use utoipa::ToSchema;

use crate::{
    Filters, Page, PageRequest, QueryError,
    calendar::{self, Calendar, Interval},
    filters::Condition,
    page::Window,
    parameters::UrlParameters,
    row::Row,
};

/// A question for counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationRequest {
    /// Which events are counted: buckets at the ends of the range count only what lies inside it.
    pub filters: Filters,
    /// Which page of the counts.
    pub page: PageRequest,
}

impl AggregationRequest {
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

/// The counts of one source and name in one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketCounts {
    bucket: Timestamp,
    project_name: String,
    event_source_name: Option<String>,
    event_name: String,
    event_count: u64,
    unique_users: u64,
    unique_sessions: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A row of an answer; its type decides the interval.
pub trait AggregationRow: Sized + Send {
    /// The length of its buckets.
    const INTERVAL: Interval;

    /// The row with these counts.
    fn new(counts: BucketCounts) -> Self;
}

macro_rules! aggregation_row {
    ($(#[$doc:meta])* $name:ident, $interval:expr, $(#[$bucket_attribute:meta])* $bucket:ident: $bucket_type:ty = $of_bucket:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
        pub struct $name {
            /// The project's name.
            #[schema(example = "Shop")]
            pub project_name: String,
            /// Null for events without a source.
            #[schema(example = "web")]
            pub event_source_name: Option<String>,
            /// What happened.
            #[schema(example = "page_view")]
            pub event_name: String,
            $(#[$bucket_attribute])*
            pub $bucket: $bucket_type,
            /// Events.
            #[schema(example = 1200)]
            pub event_count: u64,
            /// Different users, exact.
            #[schema(example = 310)]
            pub unique_users: u64,
            /// Different sessions, exact.
            #[schema(example = 402)]
            pub unique_sessions: u64,
            /// When the first of these events was received.
            #[schema(value_type = String, format = DateTime, example = "2026-01-15T09:00:01Z")]
            pub created_at: Timestamp,
            /// When the last of these events was received.
            #[schema(value_type = String, format = DateTime, example = "2026-01-15T09:59:58Z")]
            pub updated_at: Timestamp,
        }

        impl AggregationRow for $name {
            const INTERVAL: Interval = $interval;

            fn new(counts: BucketCounts) -> Self {
                let of_bucket: fn(Timestamp) -> $bucket_type = $of_bucket;
                Self {
                    project_name: counts.project_name,
                    event_source_name: counts.event_source_name,
                    event_name: counts.event_name,
                    $bucket: of_bucket(counts.bucket),
                    event_count: counts.event_count,
                    unique_users: counts.unique_users,
                    unique_sessions: counts.unique_sessions,
                    created_at: counts.created_at,
                    updated_at: counts.updated_at,
                }
            }
        }
    };
}

aggregation_row!(
    /// The counts of one source and name on one day.
    DailyAggregation,
    Interval::Day,
    /// The day in the project's time zone.
    #[schema(format = Date, example = "2026-01-15")]
    date: String = |bucket| calendar::date_of_bucket(bucket).to_string()
);
aggregation_row!(
    /// The counts of one source and name in one hour.
    HourlyAggregation,
    Interval::Hour,
    /// The hour's first instant; hours begin where the clocks of the project's time zone say so.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T09:00:00Z")]
    datetime_hour: Timestamp = |bucket| bucket
);
aggregation_row!(
    /// The counts of one source and name in 5 minutes.
    FiveMinuteAggregation,
    Interval::FiveMinutes,
    /// The 5 minutes' first instant.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T09:55:00Z")]
    datetime_5min: Timestamp = |bucket| bucket
);

/// A page of counts: the newest bucket first, in it the larger count first, then by name and source (those without one last).
pub async fn read_aggregations<R: AggregationRow>(
    store: &dyn EventStore,
    scope: &ProjectScope,
    request: &AggregationRequest,
) -> Result<Page<R>, QueryError> {
    let page = request.page;
    let Some(condition) = request.filters.condition(scope) else {
        return page.page(0, Vec::new());
    };
    let zone = calendar::zone_of(scope.project())?;
    let calendar = Calendar::new(&zone, R::INTERVAL, request.filters.range);
    let rows = store
        .read(statement(scope, condition, &calendar, page.window()?))
        .await?;
    let mut count = 0;
    let mut results = Vec::with_capacity(rows.rows.len());
    for values in rows.rows {
        let mut row = Row::new(values);
        count = row.count()?;
        results.push(R::new(read_counts(&mut row, scope)?));
    }
    page.page(count, results)
}

fn statement(scope: &ProjectScope, condition: Condition<'_, '_>, calendar: &Calendar, window: Window) -> Statement {
    Statement::over_events(scope, |relation, parameters| {
        let condition = condition.sql(parameters);
        let bucket = calendar.bucket_sql(parameters);
        let window = window.sql(parameters);
        format!(
            "select count(*) over () as total, * from (\
             select {bucket} as bucket, event_source, event_name, count(*) as event_count, \
             count(distinct uid) as unique_users, count(distinct session_id) as unique_sessions, \
             min(received_at) as created_at, max(received_at) as updated_at \
             from {relation} as event where {condition} group by 1, 2, 3) as counted \
             order by bucket desc, event_count desc, event_name, event_source nulls last {window}"
        )
    })
}

fn read_counts(row: &mut Row, scope: &ProjectScope) -> Result<BucketCounts, QueryError> {
    Ok(BucketCounts {
        bucket: row.instant()?,
        project_name: scope.project().name.clone(),
        event_source_name: row.optional_text()?,
        event_name: row.text()?,
        event_count: row.count()?,
        unique_users: row.count()?,
        unique_sessions: row.count()?,
        created_at: row.instant()?,
        updated_at: row.instant()?,
    })
}
