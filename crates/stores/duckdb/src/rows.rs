//! Values on their way into and out of statements.

use std::fmt::Display;

use duckdb::{
    Connection,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
            TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    core::LogicalTypeId,
    types::{TimeUnit as BoundUnit, Value as Bound},
};
use model::{Timestamp, limits};
use store::{Rows, Value};
use uuid::Uuid;

use crate::failure::Failure;

/// Runs one statement and returns its answer. Refused when the answer takes more than [`limits::QUERY_ANSWER_BYTES_MAX`].
pub(crate) fn query(connection: &Connection, sql: &str, parameters: Vec<Bound>) -> Result<Rows, Failure> {
    let mut statement = connection.prepare(sql)?;
    // Dropped at once: its iterator panics where `step` returns an error.
    drop(statement.stream_arrow(duckdb::params_from_iter(parameters))?);
    let columns = statement.column_names();
    let types: Vec<LogicalTypeId> = (0..columns.len())
        .map(|index| statement.column_logical_type(index).id())
        .collect();
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(chunk) = statement.step()? {
        let chunk = RecordBatch::from(&chunk);
        let cells = chunk
            .columns()
            .iter()
            .zip(&columns)
            .zip(&types)
            .map(|((array, name), logical)| Cells::new(array, name, *logical))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..chunk.num_rows() {
            let values = cells.iter().map(|cells| cells.at(row)).collect::<Result<Vec<_>, _>>()?;
            bytes += size_of::<Vec<Value>>() + values.iter().map(value_bytes).sum::<usize>();
            rows.push(values);
        }
        if bytes > limits::QUERY_ANSWER_BYTES_MAX {
            return Err(Failure::Refused(format!(
                "the answer takes more than {} MiB; ask for a shorter range or fewer rows",
                limits::QUERY_ANSWER_BYTES_MAX >> 20
            )));
        }
    }
    Ok(Rows { columns, rows })
}

/// A value as DuckDB takes it. Ids go as text, which DuckDB reads as the type that they are compared with.
pub(crate) fn bound(value: &Value) -> Bound {
    match value {
        Value::Null => Bound::Null,
        Value::Bool(value) => Bound::Boolean(*value),
        Value::Integer(value) => Bound::BigInt(*value),
        Value::Float(value) => Bound::Double(*value),
        Value::Text(value) => Bound::Text(value.clone()),
        Value::Instant(value) => instant(*value),
        Value::Id(value) => Bound::Text(value.to_string()),
    }
}

/// An instant as DuckDB takes it.
pub(crate) fn instant(value: Timestamp) -> Bound {
    Bound::Timestamp(BoundUnit::Microsecond, value.as_micros())
}

fn value_bytes(value: &Value) -> usize {
    size_of::<Value>() + value.as_text().map_or(0, str::len)
}

/// A column of a chunk of the answer.
struct Cells<'a> {
    array: &'a dyn Array,
    name: &'a str,
    is_id: bool,
    /// Digits after the point of a decimal.
    scale: i8,
}

impl<'a> Cells<'a> {
    fn new(array: &'a dyn Array, name: &'a str, logical: LogicalTypeId) -> Result<Self, Failure> {
        let no_value = |data_type: &dyn Display| {
            Failure::Refused(format!(
                "column {name:?} of the answer is of type {data_type}, which has no value here; cast it"
            ))
        };
        // It comes as if it had a sign: its upper half as negative numbers.
        if logical == LogicalTypeId::UHugeint {
            return Err(no_value(&"UHUGEINT"));
        }
        let scale = match array.data_type() {
            DataType::Null
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _) => 0,
            DataType::Decimal128(_, scale) => *scale,
            other => return Err(no_value(other)),
        };
        Ok(Self {
            array,
            name,
            is_id: logical == LogicalTypeId::Uuid,
            scale,
        })
    }

    fn at(&self, row: usize) -> Result<Value, Failure> {
        let array = self.array;
        if array.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(match array.data_type() {
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Int8 => Value::Integer(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => Value::Integer(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Value::Integer(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Value::Integer(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt8 => Value::Integer(array.as_primitive::<UInt8Type>().value(row).into()),
            DataType::UInt16 => Value::Integer(array.as_primitive::<UInt16Type>().value(row).into()),
            DataType::UInt32 => Value::Integer(array.as_primitive::<UInt32Type>().value(row).into()),
            DataType::UInt64 => self.integer(array.as_primitive::<UInt64Type>().value(row).into())?,
            DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
            // Sums of whole numbers are HUGEINT, which comes as a decimal without digits after the point.
            DataType::Decimal128(_, 0) => self.integer(array.as_primitive::<Decimal128Type>().value(row))?,
            DataType::Decimal128(..) => {
                let number = array.as_primitive::<Decimal128Type>().value(row);
                Value::Float(number as f64 / 10f64.powi(self.scale.into()))
            }
            DataType::Utf8 if self.is_id => {
                let text = array.as_string::<i32>().value(row);
                Value::Id(Uuid::parse_str(text).map_err(|error| self.refused(&error.to_string()))?)
            }
            DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
            DataType::Date32 => {
                let date = array.as_primitive::<Date32Type>().value_as_date(row);
                Value::Text(date.ok_or_else(|| self.refused("no date of the calendar"))?.to_string())
            }
            DataType::Timestamp(..) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                Value::Instant(
                    Timestamp::from_micros(micros).ok_or_else(|| self.refused("an instant outside years 1 to 9999"))?,
                )
            }
            // `new` lets nothing else pass but the type of columns that hold nothing.
            _ => Value::Null,
        })
    }

    fn integer(&self, number: i128) -> Result<Value, Failure> {
        i64::try_from(number)
            .map(Value::Integer)
            .map_err(|_| self.refused("a whole number beyond 64 bits"))
    }

    fn refused(&self, what: &str) -> Failure {
        Failure::Refused(format!("column {:?} of the answer holds {what}", self.name))
    }
}

#[cfg(test)]
mod tests;
