//! One JSON object a line: the contract's event fields, those that only an import may set, and what `export` writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
};

use model::limits::IMPORT_LINE_BYTES_MAX;
use serde_json::value::RawValue;

use super::{
    ImportEvent, Properties, Record, Records, Refusal,
    identity::Identities,
    lines::{Line, read_line},
};

/// Names of unknown fields that are remembered for the report.
const IGNORED_NAMES_MAX: usize = 20;
/// Fields of the reading API that say nothing about the event itself.
const OUR_OWN_FIELDS: [&str; 2] = ["project_name", "created_at"];

/// The records of an NDJSON file.
pub struct NdjsonRecords<R> {
    reader: R,
    buffer: Vec<u8>,
    line: u64,
    identities: Identities,
    ignored: BTreeSet<String>,
}

impl<R: BufRead + Send> NdjsonRecords<R> {
    /// Reads from the beginning.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            line: 0,
            identities: Identities::default(),
            ignored: BTreeSet::new(),
        }
    }
}

impl<R: BufRead + Send> Records for NdjsonRecords<R> {
    fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            let read = read_line(&mut self.reader, &mut self.buffer, IMPORT_LINE_BYTES_MAX)?;
            self.line += 1;
            let outcome = match read {
                Line::End => return Ok(None),
                Line::TooLong => Err(Refusal::new(format!(
                    "the line has more than {IMPORT_LINE_BYTES_MAX} bytes"
                ))),
                Line::Whole if self.buffer.trim_ascii().is_empty() => continue,
                Line::Whole => {
                    let mut outcome = parse(&self.buffer, &mut self.ignored);
                    if let Ok(event) = &mut outcome {
                        event.identify(|| self.identities.next(&self.buffer));
                    }
                    outcome
                }
            };
            return Ok(Some(Record {
                line: self.line,
                outcome,
            }));
        }
    }

    fn ignored_fields(&self) -> Vec<String> {
        self.ignored.iter().cloned().collect()
    }
}

fn parse(line: &[u8], ignored: &mut BTreeSet<String>) -> Result<ImportEvent, Refusal> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(line).map_err(|error| {
        Refusal::new(match error.classify() {
            serde_json::error::Category::Data => "the line is no JSON object",
            _ => "the line is not JSON",
        })
    })?;
    let event = ImportEvent {
        id: text(&mut fields, "id")?,
        event_id: text(&mut fields, "event_id")?.unwrap_or_default(),
        event_name: text(&mut fields, "event_name")?.ok_or_else(|| Refusal::new("event_name is missing"))?,
        event_source: either(&mut fields, "event_source", "event_source_name")?,
        user_id: text(&mut fields, "user_id")?,
        session_id: text(&mut fields, "session_id")?,
        anonymous_id: text(&mut fields, "anonymous_id")?,
        properties: properties(&mut fields)?,
        timestamp: text(&mut fields, "timestamp")?.ok_or_else(|| Refusal::new("timestamp is missing"))?,
        received_at: text(&mut fields, "received_at")?,
        ip_address: text(&mut fields, "ip_address")?,
        user_agent: text(&mut fields, "user_agent")?,
    };
    for name in fields.into_keys() {
        if ignored.len() < IGNORED_NAMES_MAX && !OUR_OWN_FIELDS.contains(&name.as_str()) {
            ignored.insert(name);
        }
    }
    Ok(event)
}

/// The text of a field; null and blank count as absent.
fn text(fields: &mut BTreeMap<String, &RawValue>, name: &str) -> Result<Option<String>, Refusal> {
    let Some(raw) = fields.remove(name) else {
        return Ok(None);
    };
    let value: Option<String> =
        serde_json::from_str(raw.get()).map_err(|_| Refusal::new(format!("{name} is no text")))?;
    Ok(value.filter(|value| !value.trim().is_empty()))
}

fn either(fields: &mut BTreeMap<String, &RawValue>, name: &str, other: &str) -> Result<Option<String>, Refusal> {
    let second = text(fields, other)?;
    Ok(text(fields, name)?.or(second))
}

fn properties(fields: &mut BTreeMap<String, &RawValue>) -> Result<Properties, Refusal> {
    let second = fields.remove("event_properties");
    let Some(raw) = fields.remove("properties").or(second) else {
        return Ok(Properties::default());
    };
    match raw.get().as_bytes().first() {
        Some(b'{') => Ok(Properties(raw.to_owned())),
        Some(b'n') => Ok(Properties::default()),
        _ => Err(Refusal::new("properties is no object")),
    }
}

#[cfg(test)]
mod tests;
