//! Records on their way into a queue: encoded once, one behind the other in one buffer, which goes from the request to the disk.

use bytes::Bytes;
use model::{AcceptedEvent, ProjectId, Tally, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::{Record, RecordError, record};

/// Bytes before each payload. The embedded queue writes them as they are (`embedded`, "Bytes"); it fills in what only it knows:
/// magic, checksums, position, following.
pub(crate) const HEADER_BYTES: usize = 56;
const PROJECT_AT: usize = 16;
const RECEIVED_AT: usize = 32;
const EVENTS_AT: usize = 40;
const LENGTH_AT: usize = 48;

/// Records for one [`crate::EventQueue::append`], in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    count: usize,
}

/// One of [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// See [`Record::project_id`].
    pub project_id: ProjectId,
    /// See [`Record::received_at`].
    pub received_at: Timestamp,
    /// See [`Record::events`].
    pub events: u32,
    /// See [`Record::payload`].
    pub payload: &'a [u8],
}

impl Records {
    /// None yet, with room for `count` records whose payloads have `payload_bytes` together.
    pub fn with_capacity(count: usize, payload_bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(count * HEADER_BYTES + payload_bytes),
            count: 0,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an accepted event that waits since `waiting_since`: its own time of receipt, but for imports. After an error nothing was
    /// added.
    pub fn push_event(&mut self, event: &AcceptedEvent, waiting_since: Timestamp) -> Result<(), RecordError> {
        let payload = record::PayloadRef::Event(event);
        self.push(event.project_id, waiting_since, 1, &payload)
    }

    /// Adds a tally. After an error nothing was added.
    pub fn push_tally(&mut self, tally: &Tally) -> Result<(), RecordError> {
        self.push(
            tally.project_id,
            tally.received_at,
            0,
            &record::PayloadRef::Tally(tally),
        )
    }

    /// Adds a record as it stands.
    pub fn push_record(&mut self, record: &Record) {
        let start = self.begin(record.project_id, record.received_at, record.events);
        self.bytes.extend_from_slice(&record.payload);
        self.end(start);
    }

    fn push(
        &mut self,
        project_id: ProjectId,
        received_at: Timestamp,
        events: u32,
        payload: &impl Serialize,
    ) -> Result<(), RecordError> {
        let start = self.begin(project_id, received_at, events);
        let mut bytes = std::mem::take(&mut self.bytes);
        let encoded = record::encode_into(&mut bytes, payload);
        self.bytes = bytes;
        match encoded {
            Ok(()) => self.end(start),
            Err(_) => self.bytes.truncate(start),
        }
        encoded
    }

    fn begin(&mut self, project_id: ProjectId, received_at: Timestamp, events: u32) -> usize {
        let mut header = [0; HEADER_BYTES];
        header[PROJECT_AT..RECEIVED_AT].copy_from_slice(project_id.0.as_bytes());
        header[RECEIVED_AT..EVENTS_AT].copy_from_slice(&received_at.as_micros().to_le_bytes());
        header[EVENTS_AT..EVENTS_AT + 4].copy_from_slice(&events.to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&header);
        start
    }

    fn end(&mut self, start: usize) {
        // Longer payloads than this number can say are longer than any queue takes.
        let length = u32::try_from(self.bytes.len() - start - HEADER_BYTES).unwrap_or(u32::MAX);
        self.bytes[start + LENGTH_AT..start + LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        each(&self.bytes).map(|record| {
            let (header, payload) = record.split_at(HEADER_BYTES);
            RecordRef::read(header, payload)
        })
    }

    /// Headers and payloads, one behind the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to fill in what is left open in the headers.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl IntoIterator for Records {
    type Item = Record;
    type IntoIter = IntoRecords;

    /// The records, which share one buffer.
    fn into_iter(self) -> IntoRecords {
        IntoRecords(Bytes::from(self.bytes))
    }
}

/// See [`Records::into_iter`].
#[derive(Debug)]
pub struct IntoRecords(Bytes);

impl Iterator for IntoRecords {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut record = self
            .0
            .split_to(whole_bytes(&self.0).filter(|whole| *whole <= self.0.len())?);
        let payload = record.split_off(HEADER_BYTES);
        let header = RecordRef::read(&record, &[]);
        Some(Record {
            project_id: header.project_id,
            received_at: header.received_at,
            events: header.events,
            payload,
        })
    }
}

impl RecordRef<'_> {
    fn read<'a>(header: &[u8], payload: &'a [u8]) -> RecordRef<'a> {
        RecordRef {
            project_id: ProjectId(Uuid::from_bytes(field(header, PROJECT_AT))),
            // As it was put in.
            received_at: Timestamp::from_micros(i64::from_le_bytes(field(header, RECEIVED_AT)))
                .unwrap_or(Timestamp::MAX),
            events: u32::from_le_bytes(field(header, EVENTS_AT)),
            payload,
        }
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut all = Self::default();
        for record in records {
            all.push_record(&record);
        }
        all
    }
}

impl From<&[Record]> for Records {
    fn from(records: &[Record]) -> Self {
        records.iter().cloned().collect()
    }
}

impl From<Vec<Record>> for Records {
    fn from(records: Vec<Record>) -> Self {
        records.into_iter().collect()
    }
}

impl From<Record> for Records {
    fn from(record: Record) -> Self {
        [record].into_iter().collect()
    }
}

/// The bytes of each record, header included.
pub(crate) fn each(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (record, rest) = bytes.split_at_checked(whole_bytes(bytes)?)?;
        bytes = rest;
        Some(record)
    })
}

/// The same, to be changed.
pub(crate) fn each_mut(mut bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    std::iter::from_fn(move || {
        let whole = whole_bytes(bytes)?;
        let (record, rest) = std::mem::take(&mut bytes).split_at_mut_checked(whole)?;
        bytes = rest;
        Some(record)
    })
}

/// Bytes of the record at the start of `bytes`; `None` when there is none.
fn whole_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES)?;
    Some(HEADER_BYTES + u32::from_le_bytes(field(header, LENGTH_AT)) as usize)
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}
