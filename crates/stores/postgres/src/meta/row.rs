//! Columns to values of the model and back.
//!
//! What cannot be read was not written by us: it is reported with its column, and nothing is made up in its place.

use std::fmt::Display;

use model::{SamplingStrategy, Timestamp};
use sqlx::{Row, postgres::PgRow};

use crate::types::Instant;

/// A column that holds an instant.
pub(super) fn instant(row: &PgRow, column: &'static str) -> sqlx::Result<Timestamp> {
    row.try_get::<Instant, _>(column).map(|instant| instant.0)
}

/// An integer column that holds a number of some narrower type.
pub(super) fn number<T>(row: &PgRow, column: &'static str) -> sqlx::Result<Option<T>>
where
    T: TryFrom<i64, Error: Display>,
{
    row.try_get::<Option<i64>, _>(column)?
        .map(T::try_from)
        .transpose()
        .map_err(|error| decode_error(column, error.to_string()))
}

/// A text column that names a sampling strategy.
pub(super) fn strategy(row: &PgRow, column: &'static str) -> sqlx::Result<Option<SamplingStrategy>> {
    let Some(text) = row.try_get::<Option<&str>, _>(column)? else {
        return Ok(None);
    };
    ALL_STRATEGIES
        .into_iter()
        .find(|strategy| strategy_name(*strategy) == text)
        .map(Some)
        .ok_or_else(|| decode_error(column, format!("{text:?} is no sampling strategy")))
}

const ALL_STRATEGIES: [SamplingStrategy; 3] = [
    SamplingStrategy::Random,
    SamplingStrategy::Deterministic,
    SamplingStrategy::TimeWindow,
];

/// The stored form of a sampling strategy: the one of its JSON.
pub(super) fn strategy_name(strategy: SamplingStrategy) -> &'static str {
    match strategy {
        SamplingStrategy::Random => "random",
        SamplingStrategy::Deterministic => "deterministic",
        SamplingStrategy::TimeWindow => "time_window",
    }
}

fn decode_error(column: &'static str, problem: String) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: problem.into(),
    }
}
