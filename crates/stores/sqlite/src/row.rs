//! Columns to values of the model and back.
//!
//! What cannot be read was not written by us: it is reported with its column, and nothing is made up in its place.

use std::{fmt::Display, str::FromStr};

use model::SamplingStrategy;
use serde::{Deserialize, Serialize};
use sqlx::{Row, sqlite::SqliteRow};

/// A text column in the text form of `T`.
pub(crate) fn parsed<T>(row: &SqliteRow, column: &'static str) -> sqlx::Result<T>
where
    T: FromStr<Err: Display>,
{
    let text: &str = row.try_get(column)?;
    text.parse()
        .map_err(|error: T::Err| decode_error(column, error.to_string()))
}

/// An integer column that holds a number of some narrower type.
pub(crate) fn number<T>(row: &SqliteRow, column: &'static str) -> sqlx::Result<Option<T>>
where
    T: TryFrom<i64, Error: Display>,
{
    row.try_get::<Option<i64>, _>(column)?
        .map(T::try_from)
        .transpose()
        .map_err(|error| decode_error(column, error.to_string()))
}

/// A text column that holds JSON.
pub(crate) fn json<T: for<'text> Deserialize<'text>>(row: &SqliteRow, column: &'static str) -> sqlx::Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| decode_error(column, error.to_string()))
}

/// The stored form of a JSON column.
pub(crate) fn json_text<T: Serialize>(value: &T) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// A text column that names a sampling strategy.
pub(crate) fn strategy(row: &SqliteRow, column: &'static str) -> sqlx::Result<Option<SamplingStrategy>> {
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
pub(crate) fn strategy_name(strategy: SamplingStrategy) -> &'static str {
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
