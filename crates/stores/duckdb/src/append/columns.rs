//! Events as columns, the form in which DuckDB takes many rows fastest.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use duckdb::arrow::{
    array::{
        ArrayRef, BooleanArray, FixedSizeBinaryBuilder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
        UInt32Array,
    },
    compute::filter_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use model::{Deduplication, EnrichedEvent, Timestamp};

use crate::failure::Failure;

/// Reads a text column of an event; `None` is NULL.
type Text = for<'a> fn(&'a EnrichedEvent) -> Option<&'a str>;

/// How a column is filled.
enum Fill {
    Id,
    Project,
    Uid,
    Properties,
    Timestamp,
    ReceivedAt,
    ImportedAt,
    Text(Text),
}

/// Every column of `events` in the table's order, with how it is filled.
const COLUMNS: [(&str, Fill); 27] = [
    ("id", Fill::Id),
    ("project_id", Fill::Project),
    ("event_id", Fill::Text(|event| event.client_event_id.as_deref())),
    ("event_source", Fill::Text(|event| event.event_source.as_deref())),
    ("event_name", Fill::Text(|event| Some(&event.event_name))),
    ("user_id", Fill::Text(|event| Some(&event.user_id))),
    ("uid", Fill::Uid),
    ("session_id", Fill::Text(|event| Some(&event.session_id))),
    ("properties", Fill::Properties),
    ("timestamp", Fill::Timestamp),
    ("received_at", Fill::ReceivedAt),
    ("ip_address", Fill::Text(|event| event.ip_address.as_deref())),
    ("user_agent", Fill::Text(|event| event.user_agent.as_deref())),
    ("path", Fill::Text(|event| event.derived.path.as_deref())),
    ("hostname", Fill::Text(|event| event.derived.hostname.as_deref())),
    (
        "referrer_host",
        Fill::Text(|event| event.derived.referrer_host.as_deref()),
    ),
    ("utm_source", Fill::Text(|event| event.derived.utm_source.as_deref())),
    ("utm_medium", Fill::Text(|event| event.derived.utm_medium.as_deref())),
    (
        "utm_campaign",
        Fill::Text(|event| event.derived.utm_campaign.as_deref()),
    ),
    ("utm_term", Fill::Text(|event| event.derived.utm_term.as_deref())),
    ("utm_content", Fill::Text(|event| event.derived.utm_content.as_deref())),
    ("country", Fill::Text(|event| event.derived.country.as_deref())),
    ("browser", Fill::Text(|event| event.derived.browser.as_deref())),
    (
        "browser_version",
        Fill::Text(|event| event.derived.browser_version.as_deref()),
    ),
    ("os", Fill::Text(|event| event.derived.os.as_deref())),
    ("device", Fill::Text(|event| event.derived.device.as_deref())),
    ("imported_at", Fill::ImportedAt),
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
                Fill::Timestamp | Fill::ReceivedAt | Fill::ImportedAt => {
                    DataType::Timestamp(TimeUnit::Microsecond, None)
                }
                Fill::Properties | Fill::Text(_) => DataType::Utf8,
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

/// The columns of some events, all but those that the index decides.
pub(super) struct Columns {
    events: usize,
    filled: Vec<Option<ArrayRef>>,
}

impl Columns {
    /// The columns of events that are stored `now`; `properties` as they can be stored.
    pub(super) fn new(events: &[&EnrichedEvent], properties: &[Cow<'_, str>], now: Timestamp) -> Result<Self, Failure> {
        let filled = COLUMNS.iter().map(|(_, fill)| column(fill, events, properties, now));
        Ok(Self {
            events: events.len(),
            filled: filled.collect::<Result<_, _>>().map_err(refused)?,
        })
    }

    /// The rows of those events that are to be stored.
    pub(super) fn finish(
        self,
        schema: &SchemaRef,
        projects: &[u32],
        uids: &[u32],
        stored: &[bool],
    ) -> Result<RecordBatch, Failure> {
        let columns = COLUMNS
            .iter()
            .zip(self.filled)
            .map(|((_, fill), filled)| match (fill, filled) {
                (_, Some(column)) => column,
                (Fill::Project, None) => Arc::new(UInt32Array::from(projects.to_vec())),
                (_, None) => Arc::new(UInt32Array::from(uids.to_vec())),
            });
        let rows = RecordBatch::try_new(Arc::clone(schema), columns.collect()).map_err(refused)?;
        debug_assert_eq!(stored.len(), self.events);
        if stored.iter().all(|stored| *stored) {
            return Ok(rows);
        }
        filter_record_batch(&rows, &BooleanArray::from(stored.to_vec())).map_err(refused)
    }
}

fn refused(error: ArrowError) -> Failure {
    Failure::Refused(error.to_string())
}

/// A column; `None` where the index decides.
fn column(
    fill: &Fill,
    events: &[&EnrichedEvent],
    properties: &[Cow<'_, str>],
    now: Timestamp,
) -> Result<Option<ArrayRef>, ArrowError> {
    Ok(Some(match fill {
        Fill::Project | Fill::Uid => return Ok(None),
        Fill::Id => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(events.len(), 16);
            for event in events {
                builder.append_value(event.id.0.as_bytes())?;
            }
            Arc::new(builder.finish())
        }
        Fill::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter_values(
            events.iter().map(|event| event.timestamp.as_micros()),
        )),
        Fill::ReceivedAt => Arc::new(TimestampMicrosecondArray::from_iter_values(
            events.iter().map(|event| event.received_at.as_micros()),
        )),
        Fill::ImportedAt => {
            let imported_at = events.iter().map(|event| imported_at(event, now));
            Arc::new(TimestampMicrosecondArray::from_iter(
                imported_at.map(|instant| instant.map(Timestamp::as_micros)),
            ))
        }
        Fill::Properties => texts(properties.iter().map(|properties| Some(properties.as_ref()))),
        Fill::Text(text) => texts(events.iter().map(|event| text(event))),
    }))
}

/// When an event that is stored `now` was imported.
fn imported_at(event: &EnrichedEvent, now: Timestamp) -> Option<Timestamp> {
    match event.deduplication {
        Deduplication::History => Some(now),
        // Claimed later than it says it was received: so it was imported, there where it comes from.
        Deduplication::Moved { claimed_at } => claimed_at.filter(|claimed_at| *claimed_at > event.received_at),
        Deduplication::Redelivery | Deduplication::Window => None,
    }
}

fn texts<'a>(values: impl ExactSizeIterator<Item = Option<&'a str>> + Clone) -> ArrayRef {
    let bytes = values.clone().map(|value| value.map_or(0, str::len)).sum();
    let mut builder = StringBuilder::with_capacity(values.len(), bytes);
    for value in values {
        builder.append_option(value);
    }
    Arc::new(builder.finish())
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
