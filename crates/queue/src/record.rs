//! What the queue carries: an event or a tally, as versioned bytes.
//!
//! The bytes of a [`Record`] are the same in every queue: one version byte, then postcard (its wire format is specified and
//! stable). A queue reads only [`Record::project_id`], [`Record::received_at`] and [`Record::events`]; it never decodes the payload.

use bytes::Bytes;
use model::{AcceptedEvent, ProjectId, Tally, Timestamp};
use serde::{Deserialize, Serialize};

/// First byte of every payload. A new layout gets a new number; old ones stay readable.
const VERSION: u8 = 1;

/// What a record carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events; a box would be an allocation for each"
)]
pub enum Payload {
    /// An accepted event.
    Event(AcceptedEvent),
    /// Events that ended before the queue, for the ledger.
    Tally(Tally),
}

/// A payload with what a queue needs to know about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Whose.
    pub project_id: ProjectId,
    /// When the server took it: the age of the oldest waiting event is told by it.
    pub received_at: Timestamp,
    /// Events in it: 1 for an event, 0 for a tally.
    pub events: u32,
    /// Version byte and postcard.
    pub payload: Bytes,
}

/// Why the bytes of a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer version.
    #[error("record version {found} is unknown; this build reads up to {VERSION}: run the newer build that wrote it")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Not what the version says.
    #[error("record is malformed: {0}")]
    Malformed(#[from] postcard::Error),
    /// No bytes at all.
    #[error("record is empty")]
    Empty,
}

impl Record {
    /// The record of an accepted event.
    pub fn event(event: AcceptedEvent) -> Result<Self, RecordError> {
        let (project_id, received_at) = (event.project_id, event.received_at);
        Ok(Self {
            project_id,
            received_at,
            events: 1,
            payload: encode(&Payload::Event(event))?,
        })
    }

    /// The record of a tally.
    pub fn tally(tally: Tally) -> Result<Self, RecordError> {
        let (project_id, received_at) = (tally.project_id, tally.received_at);
        Ok(Self {
            project_id,
            received_at,
            events: 0,
            payload: encode(&Payload::Tally(tally))?,
        })
    }

    /// The payload. Never panics, whatever the bytes.
    pub fn decode(&self) -> Result<Payload, RecordError> {
        match self.payload.split_first() {
            None => Err(RecordError::Empty),
            Some((&VERSION, rest)) => Ok(postcard::from_bytes(rest)?),
            Some((&found, _)) => Err(RecordError::Version { found }),
        }
    }
}

fn encode(payload: &Payload) -> Result<Bytes, RecordError> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VERSION);
    Ok(postcard::to_extend(payload, bytes)?.into())
}
