//! Which events a question is about (contract, "Reading": filters).

use std::fmt::Write;

use model::{SourceId, Timestamp, limits::QUERY_RANGE_DAYS_MAX};
use store::{Parameters, ProjectScope, Value};

use crate::parameters::UrlParameters;

const DAY_SECONDS: i64 = 24 * 60 * 60;
const TIME_EXPECTED: &str = "Enter a time in RFC 3339 form, such as 2026-01-31T12:00:00Z.";

/// The instants `[from, to)`; `from` is before `to`, by at most [`QUERY_RANGE_DAYS_MAX`] days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

/// Which events a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Event times.
    pub range: TimeRange,
    /// This name alone.
    pub event_name: Option<String>,
    /// This source alone.
    pub event_source_id: Option<SourceId>,
    /// This user alone.
    pub user_id: Option<String>,
}

impl Filters {
    pub(crate) fn parse(parameters: &mut UrlParameters<'_>, now: Timestamp) -> Self {
        Self {
            range: parse_range(parameters, now),
            // Stored names are trimmed, user ids are as the client sent them (contract, "Ingestion").
            event_name: parameters.text("event_name").map(|name| name.trim().to_owned()),
            event_source_id: parameters.parsed("event_source_id", "Enter the id of a source: a UUID."),
            user_id: parameters.text("user_id").map(str::to_owned),
        }
    }

    /// The condition that an event must meet, as SQL. `None` when no event can: the project has no such source.
    pub(crate) fn condition<'scope>(&self, scope: &'scope ProjectScope) -> Option<Condition<'_, 'scope>> {
        let source_name = match self.event_source_id {
            Some(id) => Some(scope.source_by_id(id)?.name.as_str()),
            None => None,
        };
        Some(Condition {
            filters: self,
            source_name,
        })
    }
}

/// Filters whose source is resolved.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'filters, 'scope> {
    filters: &'filters Filters,
    source_name: Option<&'scope str>,
}

impl Condition<'_, '_> {
    /// Binds the values and returns the condition. The text may be used several times in one statement.
    pub(crate) fn sql(&self, parameters: &mut Parameters) -> String {
        self.sql_within(self.filters.range, parameters)
    }

    /// The same with another range.
    pub(crate) fn sql_within(&self, range: TimeRange, parameters: &mut Parameters) -> String {
        let from = parameters.bind(Value::Instant(range.from));
        let to = parameters.bind(Value::Instant(range.to));
        let mut sql = format!("timestamp >= {from} and timestamp < {to}");
        let texts = [
            ("event_name", self.filters.event_name.as_deref()),
            ("event_source", self.source_name),
            ("user_id", self.filters.user_id.as_deref()),
        ];
        for (column, text) in texts {
            if let Some(text) = text {
                let value = parameters.bind(Value::Text(text.to_owned()));
                // Writing to a string cannot fail.
                let _ = write!(sql, " and {column} = {value}");
            }
        }
        sql
    }
}

/// Neither end given: the last 24 hours. One given: 24 hours from or to it.
fn parse_range(parameters: &mut UrlParameters<'_>, now: Timestamp) -> TimeRange {
    let start: Option<Timestamp> = parameters.parsed("start_date", TIME_EXPECTED);
    let end: Option<Timestamp> = parameters.parsed("end_date", TIME_EXPECTED);
    let (from, to) = match (start, end) {
        (Some(start), Some(end)) => (start, end),
        (Some(start), None) => (start, start.saturating_add_seconds(DAY_SECONDS)),
        (None, Some(end)) => (end.saturating_add_seconds(-DAY_SECONDS), end),
        (None, None) => (now.saturating_add_seconds(-DAY_SECONDS), now),
    };
    let field = if start.is_some() { "start_date" } else { "end_date" };
    if from >= to {
        parameters.errors.add(field, "The start must be before the end.");
    } else if to.micros_since(from) > QUERY_RANGE_DAYS_MAX * DAY_SECONDS * 1_000_000 {
        parameters.errors.add(
            field,
            format!("The range must not be longer than {QUERY_RANGE_DAYS_MAX} days."),
        );
    }
    TimeRange { from, to }
}

#[cfg(test)]
mod tests;
