//! Events as columns, the form in which DuckDB takes many rows fastest.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use duckdb::arrow::{
    array::{ArrayRef, FixedSizeBinaryBuilder, RecordBatch, StringBuilder, TimestampMicrosecondArray, UInt32Array},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use model::EnrichedEvent;

use crate::failure::Failure;

/// An event that becomes a row.
pub(super) struct Row<'a> {
    pub(super) event: &'a EnrichedEvent,
    pub(super) project: u32,
    pub(super) uid: u32,
    pub(super) properties: Cow<'a, str>,
}

/// Reads a text column of a row; `None` is NULL.
type Text = for<'a> fn(&'a Row<'_>) -> Option<&'a str>;

/// How a column is filled.
enum Fill {
    Id,
    Project,
    Uid,
    Timestamp,
    ReceivedAt,
    Text(Text),
}

/// Every column of `events` in the table's order, with how it is filled.
const COLUMNS: [(&str, Fill); 26] = [
    ("id", Fill::Id),
    ("project_id", Fill::Project),
    ("event_id", Fill::Text(|row| row.event.client_event_id.as_deref())),
    ("event_source", Fill::Text(|row| row.event.event_source.as_deref())),
    ("event_name", Fill::Text(|row| Some(&row.event.event_name))),
    ("user_id", Fill::Text(|row| Some(&row.event.user_id))),
    ("uid", Fill::Uid),
    ("session_id", Fill::Text(|row| Some(&row.event.session_id))),
    ("properties", Fill::Text(|row| Some(&row.properties))),
    ("timestamp", Fill::Timestamp),
    ("received_at", Fill::ReceivedAt),
    ("ip_address", Fill::Text(|row| row.event.ip_address.as_deref())),
    ("user_agent", Fill::Text(|row| row.event.user_agent.as_deref())),
    ("path", Fill::Text(|row| row.event.derived.path.as_deref())),
    ("hostname", Fill::Text(|row| row.event.derived.hostname.as_deref())),
    (
        "referrer_host",
        Fill::Text(|row| row.event.derived.referrer_host.as_deref()),
    ),
    ("utm_source", Fill::Text(|row| row.event.derived.utm_source.as_deref())),
    ("utm_medium", Fill::Text(|row| row.event.derived.utm_medium.as_deref())),
    (
        "utm_campaign",
        Fill::Text(|row| row.event.derived.utm_campaign.as_deref()),
    ),
    ("utm_term", Fill::Text(|row| row.event.derived.utm_term.as_deref())),
    (
        "utm_content",
        Fill::Text(|row| row.event.derived.utm_content.as_deref()),
    ),
    ("country", Fill::Text(|row| row.event.derived.country.as_deref())),
    ("browser", Fill::Text(|row| row.event.derived.browser.as_deref())),
    (
        "browser_version",
        Fill::Text(|row| row.event.derived.browser_version.as_deref()),
    ),
    ("os", Fill::Text(|row| row.event.derived.os.as_deref())),
    ("device", Fill::Text(|row| row.event.derived.device.as_deref())),
];

/// The schema of a batch of rows.
pub(super) fn schema() -> SchemaRef {
    // How Arrow says that sixteen bytes are a UUID.
    let uuid = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
    let fields: Vec<Field> = COLUMNS
        .iter()
        .map(|(name, fill)| {
            let data_type = match fill {
                Fill::Id => DataType::FixedSizeBinary(16),
                Fill::Project | Fill::Uid => DataType::UInt32,
                Fill::Timestamp | Fill::ReceivedAt => DataType::Timestamp(TimeUnit::Microsecond, None),
                Fill::Text(_) => DataType::Utf8,
            };
            let field = Field::new(*name, data_type, true);
            match fill {
                Fill::Id => field.with_metadata(uuid.clone()),
                _ => field,
            }
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// The rows as one batch.
pub(super) fn record_batch(schema: &SchemaRef, rows: &[Row<'_>]) -> Result<RecordBatch, Failure> {
    let built = COLUMNS
        .iter()
        .map(|(_, fill)| column(fill, rows))
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
    built.map_err(|error| Failure::Refused(error.to_string()))
}

fn column(fill: &Fill, rows: &[Row<'_>]) -> Result<ArrayRef, ArrowError> {
    Ok(match fill {
        Fill::Id => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(rows.len(), 16);
            for row in rows {
                builder.append_value(row.event.id.0.as_bytes())?;
            }
            Arc::new(builder.finish())
        }
        Fill::Project => Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.project))),
        Fill::Uid => Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.uid))),
        Fill::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|row| row.event.timestamp.as_micros()),
        )),
        Fill::ReceivedAt => Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|row| row.event.received_at.as_micros()),
        )),
        Fill::Text(text) => {
            let bytes = rows.iter().map(|row| text(row).map_or(0, str::len)).sum();
            let mut builder = StringBuilder::with_capacity(rows.len(), bytes);
            for row in rows {
                builder.append_option(text(row));
            }
            Arc::new(builder.finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use duckdb::Connection;

    use super::*;
    use crate::schema::migrate;

    #[test]
    fn columns_are_those_of_the_table() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        let mut statement = connection
            .prepare("SELECT column_name FROM duckdb_columns() WHERE table_name = 'events' ORDER BY column_index")
            .unwrap();
        let table: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(table, COLUMNS.map(|(name, _)| name));
    }
}
