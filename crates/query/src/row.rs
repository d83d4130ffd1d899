//! Values of a row, in the order of their columns.

use model::Timestamp;
use serde_json::value::RawValue;
use store::Value;
use uuid::Uuid;

use crate::QueryError;

/// The values of a row that are not read yet.
pub(crate) struct Row {
    values: std::vec::IntoIter<Value>,
    read: usize,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self {
            values: values.into_iter(),
            read: 0,
        }
    }

    fn take<T>(&mut self, wanted: &str, read: impl FnOnce(Value) -> Option<T>) -> Result<T, QueryError> {
        self.read += 1;
        self.values
            .next()
            .and_then(read)
            .ok_or_else(|| QueryError::Unreadable(format!("column {} of the store's answer is no {wanted}", self.read)))
    }

    pub(crate) fn text(&mut self) -> Result<String, QueryError> {
        self.take("text", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, QueryError> {
        self.take("text or null", |value| match value {
            Value::Null => Some(None),
            Value::Text(text) => Some(Some(text)),
            _ => None,
        })
    }

    /// JSON as it was stored, to the byte.
    pub(crate) fn json(&mut self) -> Result<Box<RawValue>, QueryError> {
        self.take("JSON", |value| match value {
            Value::Text(text) => RawValue::from_string(text).ok(),
            _ => None,
        })
    }

    pub(crate) fn count(&mut self) -> Result<u64, QueryError> {
        self.take("count", |value| u64::try_from(value.as_integer()?).ok())
    }

    pub(crate) fn instant(&mut self) -> Result<Timestamp, QueryError> {
        self.take("instant", |value| value.as_instant())
    }

    pub(crate) fn id(&mut self) -> Result<Uuid, QueryError> {
        self.take("id", |value| value.as_id())
    }
}

#[cfg(test)]
mod tests;
