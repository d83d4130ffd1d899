//! What the queue carries: an event or a tally, as versioned bytes.
//!
//! The bytes of a payload are the same in every queue: one version byte, then postcard (its wire format is specified and
//! stable). A queue reads only [`Record::project_id`], [`Record::received_at`] and [`Record::events`]; it never decodes the payload.

use bytes::Bytes;
use model::{AcceptedEvent, ProjectId, Tally, Timestamp};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// First byte of every payload. A new layout gets a new number; old ones stay readable.
const VERSION: u8 = 1;

/// What a record carries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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

/// A [`Payload`] to be written; variants in the same order, so the bytes are the same.
#[derive(Serialize)]
pub(crate) enum PayloadRef<'a> {
    Event(&'a AcceptedEvent),
    Tally(&'a Tally),
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
    /// The payload. Never panics, whatever the bytes.
    pub fn decode(&self) -> Result<Payload, RecordError> {
        match self.payload.split_first() {
            None => Err(RecordError::Empty),
            Some((&VERSION, rest)) => Ok(postcard::from_bytes(rest)?),
            Some((&found, _)) => Err(RecordError::Version { found }),
        }
    }
}

/// Appends version byte and postcard of a payload. After an error anything may have been appended.
pub(crate) fn encode_into(bytes: &mut Vec<u8>, payload: &impl Serialize) -> Result<(), RecordError> {
    bytes.push(VERSION);
    Ok(postcard::serialize_with_flavor(payload, Appending(bytes))?)
}

/// Writes to the end of a buffer. Postcard's own way to extend a `Vec` goes byte by byte.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
