//! Comma-separated values with a head (RFC 4180): columns named like the contract's fields are these fields, column `properties` holds a
//! JSON object, every other column is a property of its name. A blank cell counts as absent.

use std::io::{self, BufRead, Read};

use csv::ByteRecord;
use model::limits::IMPORT_LINE_BYTES_MAX;
use serde_json::{Map, Value};

use super::{ImportEvent, Properties, Record, Records, Refusal, identity::Identities};

/// Columns that `export` writes, in its order. Not `anonymous_id`: a stored event has become its user's.
pub const COLUMNS: [&str; 11] = [
    "id",
    "event_id",
    "event_name",
    "event_source",
    "user_id",
    "session_id",
    "timestamp",
    "received_at",
    "ip_address",
    "user_agent",
    "properties",
];

/// The cells of an event, in the order of [`COLUMNS`].
pub fn cells(event: &ImportEvent) -> [&str; 11] {
    [
        event.id.as_deref().unwrap_or(""),
        &event.event_id,
        &event.event_name,
        event.event_source.as_deref().unwrap_or(""),
        event.user_id.as_deref().unwrap_or(""),
        event.session_id.as_deref().unwrap_or(""),
        &event.timestamp,
        event.received_at.as_deref().unwrap_or(""),
        event.ip_address.as_deref().unwrap_or(""),
        event.user_agent.as_deref().unwrap_or(""),
        event.properties.0.get(),
    ]
}

/// Stops a record that never ends, such as one with an open quote.
struct Budgeted<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a record has more than {IMPORT_LINE_BYTES_MAX} bytes; a quote may be open"),
            ));
        }
        let room = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..room])?;
        self.left -= read;
        Ok(read)
    }
}

/// The records of a CSV file.
pub struct CsvRecords<R> {
    reader: csv::Reader<Budgeted<R>>,
    head: Vec<String>,
    record: ByteRecord,
    identities: Identities,
}

impl<R: BufRead + Send> CsvRecords<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// When it cannot be read, or has no columns `event_name` and `timestamp`.
    pub fn new(reader: R) -> io::Result<Self> {
        let budgeted = Budgeted {
            inner: reader,
            left: IMPORT_LINE_BYTES_MAX,
        };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(budgeted);
        let head: Vec<String> = reader
            .headers()
            .map_err(io_error)?
            .iter()
            .map(|name| name.trim().to_owned())
            .collect();
        for needed in ["event_name", "timestamp"] {
            if !head.iter().any(|name| name == needed) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the head has no column {needed}; it must name event_name and timestamp, separated by commas"
                    ),
                ));
            }
        }
        Ok(Self {
            reader,
            head,
            record: ByteRecord::new(),
            identities: Identities::default(),
        })
    }

    fn event(&self) -> Result<ImportEvent, Refusal> {
        if self.record.len() != self.head.len() {
            return Err(Refusal::new(format!(
                "the record has not {} columns as the head",
                self.head.len()
            )));
        }
        let mut event = ImportEvent::default();
        let mut properties = Properties::default();
        let mut more = Map::new();
        for (name, cell) in self.head.iter().zip(&self.record) {
            let cell = std::str::from_utf8(cell).map_err(|_| Refusal::new("the record is not UTF-8"))?;
            if cell.trim().is_empty() {
                continue;
            }
            let value = cell.to_owned();
            match name.as_str() {
                "id" => event.id = Some(value),
                "event_id" => event.event_id = value,
                "event_name" => event.event_name = value,
                "event_source" => event.event_source = Some(value),
                "user_id" => event.user_id = Some(value),
                "session_id" => event.session_id = Some(value),
                "anonymous_id" => event.anonymous_id = Some(value),
                "timestamp" => event.timestamp = value,
                "received_at" => event.received_at = Some(value),
                "ip_address" => event.ip_address = Some(value),
                "user_agent" => event.user_agent = Some(value),
                "properties" => properties = object(&value)?,
                property => {
                    more.insert(property.to_owned(), Value::String(value));
                }
            }
        }
        event.properties = merged(properties, more)?;
        for (name, value) in [("event_name", &event.event_name), ("timestamp", &event.timestamp)] {
            if value.is_empty() {
                return Err(Refusal::new(format!("{name} is missing")));
            }
        }
        Ok(event)
    }

    /// What the id of a record without one is made of: its cells, told apart by a byte that text does not hold.
    fn content(&self) -> Vec<u8> {
        self.record.iter().collect::<Vec<_>>().join(&0x1f)
    }
}

/// The properties of the JSON column, and those of other columns where the JSON has none of the name.
fn merged(properties: Properties, more: Map<String, Value>) -> Result<Properties, Refusal> {
    if more.is_empty() {
        return Ok(properties);
    }
    let mut map: Map<String, Value> =
        serde_json::from_str(properties.0.get()).map_err(|_| Refusal::new("properties is no JSON object"))?;
    for (name, value) in more {
        map.entry(name).or_insert(value);
    }
    Ok(Properties::from(&map))
}

fn object(text: &str) -> Result<Properties, Refusal> {
    let wrong = || Refusal::new("properties is no JSON object");
    if !text.trim_start().starts_with('{') {
        return Err(wrong());
    }
    serde_json::from_str(text).map(Properties).map_err(|_| wrong())
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
}

impl<R: BufRead + Send> Records for CsvRecords<R> {
    fn next_record(&mut self) -> io::Result<Option<Record>> {
        self.reader.get_mut().left = IMPORT_LINE_BYTES_MAX;
        if !self.reader.read_byte_record(&mut self.record).map_err(io_error)? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let mut outcome = self.event();
        if let Ok(event) = &mut outcome {
            let content = self.content();
            event.identify(|| self.identities.next(&content));
        }
        Ok(Some(Record { line, outcome }))
    }
}

#[cfg(test)]
mod tests;
