//! A record as bytes in an entry's field `r`: version byte, project, time of receipt, events, payload. Numbers are little-endian.

use bytes::Bytes;
use model::{ProjectId, Timestamp};
use uuid::Uuid;

use crate::{Record, RecordRef};

/// First byte. Another layout gets another number.
const VERSION: u8 = 1;
const PROJECT_AT: usize = 1;
const RECEIVED_AT: usize = 17;
const EVENTS_AT: usize = 25;
/// Where the payload begins.
const PAYLOAD_AT: usize = 29;

/// Writes a record over what `bytes` held.
pub(super) fn write(bytes: &mut Vec<u8>, record: RecordRef<'_>) {
    bytes.clear();
    bytes.push(VERSION);
    bytes.extend_from_slice(record.project_id.0.as_bytes());
    bytes.extend_from_slice(&record.received_at.as_micros().to_le_bytes());
    bytes.extend_from_slice(&record.events.to_le_bytes());
    bytes.extend_from_slice(record.payload);
}

/// Bytes that [`write`] makes of a record with this payload.
pub(super) fn bytes(payload: &[u8]) -> usize {
    PAYLOAD_AT + payload.len()
}

/// Reads a record; `None` when the bytes are none of ours.
pub(super) fn read(bytes: Vec<u8>) -> Option<Record> {
    if bytes.len() < PAYLOAD_AT || bytes[0] != VERSION {
        return None;
    }
    let received_at = i64::from_le_bytes(field(&bytes, RECEIVED_AT));
    Some(Record {
        project_id: ProjectId(Uuid::from_bytes(field(&bytes, PROJECT_AT))),
        received_at: Timestamp::from_micros(received_at).unwrap_or(Timestamp::MAX),
        events: u32::from_le_bytes(field(&bytes, EVENTS_AT)),
        payload: Bytes::from(bytes).slice(PAYLOAD_AT..),
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// An entry of a stream.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its id.
    pub id: (u64, u64),
    /// Its fields; `None` where it is gone although it was delivered.
    pub fields: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Entry {
    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let fields = self.fields.as_mut()?;
        let (_, value) = fields.iter_mut().find(|(field, _)| field == name.as_bytes())?;
        Some(std::mem::take(value))
    }

    /// Takes a field out that holds a number or text.
    pub(super) fn parse<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        String::from_utf8(self.take(name)?).ok()?.parse().ok()
    }
}

/// Entries as `XRANGE` and `XREADGROUP` tell them.
impl redis::FromRedisValue for Entry {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let (id, fields): (String, redis::Value) = redis::from_redis_value(value)?;
        let (first, second) = id.split_once('-').unwrap_or((&id, "0"));
        let number = |text: &str| {
            text.parse()
                .map_err(|_| redis::ParsingError::from(format!("{id} is no id of an entry")))
        };
        let fields = match fields {
            redis::Value::Nil => None,
            fields => {
                let flat: Vec<Vec<u8>> = redis::from_redis_value(fields)?;
                let mut flat = flat.into_iter();
                let mut pairs = Vec::new();
                while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
                    pairs.push((name, value));
                }
                Some(pairs)
            }
        };
        Ok(Self {
            id: (number(first)?, number(second)?),
            fields,
        })
    }
}
