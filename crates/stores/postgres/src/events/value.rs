//! Values on their way into and out of statements.

use jiff::civil::Date;
use sqlx::{
    Arguments, Column, Row, TypeInfo, ValueRef,
    error::BoxDynError,
    postgres::{PgArguments, PgRow, PgTypeInfo},
};
use store::{StoreError, Value};
use uuid::Uuid;

use crate::types::{EPOCH_DAYS, Instant, Nothing};

/// Adds a value to the parameters of a statement.
pub(super) fn bind(arguments: &mut PgArguments, value: &Value) -> Result<(), BoxDynError> {
    match value {
        Value::Null => arguments.add(Nothing),
        Value::Bool(truth) => arguments.add(*truth),
        Value::Integer(number) => arguments.add(*number),
        Value::Float(number) => arguments.add(*number),
        Value::Text(text) => arguments.add(text.clone()),
        Value::Instant(instant) => arguments.add(Instant(*instant)),
        Value::Id(id) => arguments.add(*id),
    }
}

/// The type of a parameter.
pub(super) fn type_of(value: &Value) -> PgTypeInfo {
    use sqlx::Type;
    match value {
        Value::Null => Nothing::type_info(),
        Value::Bool(_) => <bool as Type<sqlx::Postgres>>::type_info(),
        Value::Integer(_) => <i64 as Type<sqlx::Postgres>>::type_info(),
        Value::Float(_) => <f64 as Type<sqlx::Postgres>>::type_info(),
        Value::Text(_) => <String as Type<sqlx::Postgres>>::type_info(),
        Value::Instant(_) => Instant::type_info(),
        Value::Id(_) => <Uuid as Type<sqlx::Postgres>>::type_info(),
    }
}

/// A row's values, and how much memory they take.
pub(super) fn row(row: &PgRow) -> Result<(Vec<Value>, usize), StoreError> {
    let mut bytes = size_of::<Vec<Value>>();
    let mut values = Vec::with_capacity(row.columns().len());
    for column in row.columns() {
        let refused =
            |what: &str| StoreError::Refused(format!("column {:?} of the answer holds {what}", column.name()));
        let raw = row
            .try_get_raw(column.ordinal())
            .map_err(|error| refused(&error.to_string()))?;
        let value = if raw.is_null() {
            Value::Null
        } else {
            let data = raw.as_bytes().map_err(|error| refused(&error.to_string()))?;
            decode(column.type_info().name(), data).map_err(|what| refused(&what))?
        };
        bytes += size_of::<Value>() + value.as_text().map_or(0, str::len);
        values.push(value);
    }
    Ok((values, bytes))
}

/// A value of PostgreSQL's binary format; `Err` says what else it is.
fn decode(kind: &str, bytes: &[u8]) -> Result<Value, String> {
    let no_value = || format!("{} bytes as {kind}", bytes.len());
    Ok(match kind {
        "TEXT" | "JSON" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => Value::Text(
            std::str::from_utf8(bytes)
                .map_err(|error| error.to_string())?
                .to_owned(),
        ),
        "INT8" => Value::Integer(i64::from_be_bytes(bytes.try_into().map_err(|_| no_value())?)),
        "INT4" => Value::Integer(i32::from_be_bytes(bytes.try_into().map_err(|_| no_value())?).into()),
        "INT2" => Value::Integer(i16::from_be_bytes(bytes.try_into().map_err(|_| no_value())?).into()),
        "BOOL" => Value::Bool(bytes == [1]),
        "FLOAT8" => Value::Float(f64::from_be_bytes(bytes.try_into().map_err(|_| no_value())?)),
        "FLOAT4" => Value::Float(f32::from_be_bytes(bytes.try_into().map_err(|_| no_value())?).into()),
        "UUID" => Value::Id(Uuid::from_slice(bytes).map_err(|error| error.to_string())?),
        "TIMESTAMP" | "TIMESTAMPTZ" => {
            let instant = Instant::from_bytes(bytes.try_into().map_err(|_| no_value())?);
            Value::Instant(instant.ok_or("an instant outside years 1 to 9999")?.0)
        }
        "DATE" => {
            let days = i32::from_be_bytes(bytes.try_into().map_err(|_| no_value())?);
            Value::Text(date(days).ok_or("no date of the calendar")?.to_string())
        }
        "NUMERIC" => numeric(bytes).ok_or("a number that is none, or beyond 64 bits")?,
        other => return Err(format!("a value of type {other}, which no answer may have")),
    })
}

fn date(days_since_2000: i32) -> Option<Date> {
    let days = i64::from(days_since_2000) + i64::from(EPOCH_DAYS);
    let span = jiff::Span::new().try_days(days).ok()?;
    Date::constant(1970, 1, 1).checked_add(span).ok()
}

/// A whole number where none of the type's digits is behind the point, otherwise a float: the nearest one.
fn numeric(bytes: &[u8]) -> Option<Value> {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut next = || words.next();
    let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, next()?);
    if sign != 0 && sign != 0x4000 {
        return None;
    }
    let digits: Vec<u16> = (0..count).map(|_| next()).collect::<Option<_>>()?;
    // Written out: each digit is of base 10,000.
    let mut text = if sign == 0 { String::new() } else { "-".to_owned() };
    for digit in &digits {
        text.push_str(&format!("{digit:04}"));
    }
    if digits.is_empty() {
        text.push('0');
    }
    let exponent = (i32::from(weight) + 1 - i32::from(count)) * 4;
    if scale > 0 {
        let number: f64 = format!("{text}e{exponent}").parse().ok()?;
        return Some(Value::Float(number));
    }
    let zeros = usize::try_from(exponent).unwrap_or(0);
    format!("{text}{}", "0".repeat(zeros.min(40)))
        .parse()
        .ok()
        .map(Value::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(words: &[u16]) -> Option<Value> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        numeric(&bytes)
    }

    #[test]
    fn numbers_of_any_length_are_read() {
        // As PostgreSQL sends 0, 1.25, -12345678, 120000, 0.0001 and NaN.
        assert_eq!(number(&[0, 0, 0, 0]), Some(Value::Integer(0)));
        assert_eq!(number(&[2, 0, 0, 2, 1, 2500]), Some(Value::Float(1.25)));
        assert_eq!(
            number(&[2, 1, 0x4000, 0, 1234, 5678]),
            Some(Value::Integer(-12_345_678))
        );
        assert_eq!(number(&[1, 1, 0, 0, 12]), Some(Value::Integer(120_000)));
        assert_eq!(number(&[1, 0xffff, 0, 4, 1]), Some(Value::Float(0.0001)));
        assert_eq!(number(&[0, 0, 0xc000, 0]), None);
        assert_eq!(number(&[1, 9, 0, 0, 1]), None, "10^36");
    }

    #[test]
    fn dates_are_counted_from_2000() {
        assert_eq!(date(0).unwrap().to_string(), "2000-01-01");
        assert_eq!(date(-730_119).unwrap().to_string(), "0001-01-01");
    }
}
