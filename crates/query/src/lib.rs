//! Questions to statements, rows to answers: the reading endpoints (contract, "Reading").
//!
//! A request is checked in full when it is made from the parameters of a URL; what is left is answered exactly, from the stored events.
//! What must stay true:
//! - Every statement is made by [`store::Statement::over_events`] and selects from the relation that it hands out, from nothing else.
//! - Time zones are resolved here ([`calendar`]); SQL sees instants and whole seconds, never the name of a zone.
//! - The SQL is of the part that DuckDB and PostgreSQL share. Text is compared and sorted by its bytes: an adapter whose database
//!   does otherwise gives the columns of text a binary collation.
//! - What one answer says about one thing comes from one statement, so that events that arrive meanwhile cannot make it disagree
//!   with itself.

mod aggregations;
pub mod calendar;
mod error;
mod events;
pub mod export;
mod filters;
pub mod kernels;
mod names;
mod page;
mod parameters;
mod realtime;
mod row;
mod sources;
mod summaries;
pub mod transfer;

#[cfg(test)]
mod tests;

pub use aggregations::{
    AggregationRequest, AggregationRow, BucketCounts, DailyAggregation, FiveMinuteAggregation, HourlyAggregation,
    read_aggregations,
};
pub use error::QueryError;
pub use events::{EventsRequest, StoredEvent, read_events};
pub use filters::{Filters, TimeRange};
pub use names::{EventNames, read_event_names};
pub use page::{Page, PageAnswer, PageRequest};
pub use realtime::{RealtimeMetrics, RealtimeSource, read_realtime_metrics};
pub use sources::{EventSource, EventSources, list_event_sources};
pub use summaries::{DailySummary, SummaryRequest, TopEvent, read_daily_summaries};
