//! The bytes of a segment: its header, its records, and the walk that finds them again in damaged bytes.
//! The layout is specified in the module `embedded`.

use std::ops::Range;

use crc32fast::Hasher;
use model::{ProjectId, Timestamp};
use uuid::Uuid;

use crate::records::{HEADER_BYTES, each_mut};

/// Bytes before the first record of a segment.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes before each payload.
pub(super) const RECORD_HEADER_BYTES: usize = HEADER_BYTES;
/// Version of the layout of segments.
const VERSION: u32 = 1;
const SEGMENT_MAGIC: [u8; 8] = *b"SAQUEUE\n";
const RECORD_MAGIC: [u8; 4] = *b"\xF1SaR";

/// Little-endian fields, one after the other.
#[derive(Default)]
pub(super) struct Fields(pub(super) Vec<u8>);

impl Fields {
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

/// The little-endian number at `at`; zeros stand in for what is missing.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// As [`u32_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|field| field.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// As [`u32_at`].
pub(super) fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    bytes
        .get(at..at + 16)
        .and_then(|field| field.try_into().ok())
        .map_or(Uuid::nil(), Uuid::from_bytes)
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) queue: Uuid,
    /// Position of its first record.
    pub(super) base: u64,
    /// Bytes reserved for it.
    pub(super) capacity: u64,
    /// Base of the segment before it when it was made; 0 = none.
    pub(super) previous_base: u64,
    /// One after the last position of that segment.
    pub(super) previous_end: u64,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Checksum or magic do not match.
    Damaged,
    /// Sound, but of another version.
    Version(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Fields(Vec::with_capacity(SEGMENT_HEADER_BYTES));
        body.0.extend_from_slice(&SEGMENT_MAGIC);
        body.u32(0).u32(VERSION);
        body.0.extend_from_slice(self.queue.as_bytes());
        body.u64(self.base)
            .u64(self.capacity)
            .u64(self.previous_base)
            .u64(self.previous_end);
        let checksum = crc32fast::hash(&body.0[12..]);
        body.0[8..12].copy_from_slice(&checksum.to_le_bytes());
        body.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(HeaderError::Damaged)?;
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 8) != crc32fast::hash(&bytes[12..]) {
            return Err(HeaderError::Damaged);
        }
        match u32_at(bytes, 12) {
            VERSION => Ok(Self {
                queue: uuid_at(bytes, 16),
                base: u64_at(bytes, 32),
                capacity: u64_at(bytes, 40),
                previous_base: u64_at(bytes, 48),
                previous_end: u64_at(bytes, 56),
            }),
            other => Err(HeaderError::Version(other)),
        }
    }
}

/// Seed of every record's checksums, from the queue's id: bytes of another queue, or bytes that a client made to look like a record,
/// do not pass for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn of(queue: Uuid) -> Self {
        Self(crc32fast::hash(queue.as_bytes()))
    }

    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) position: u64,
    pub(super) project_id: ProjectId,
    pub(super) received_at: Timestamp,
    pub(super) events: u32,
    /// Records of the same append that come after this one.
    pub(super) following: u32,
    pub(super) length: u32,
    pub(super) payload_checksum: u32,
}

/// Fills in, in the records of one append, what does not depend on their positions.
pub(super) fn seal_payloads(seed: Seed, append: &mut [u8], records: usize) {
    // An append has far fewer records than this.
    let mut following = u32::try_from(records).unwrap_or(u32::MAX);
    for record in each_mut(append) {
        following -= 1;
        let payload_checksum = seed.checksum(&record[RECORD_HEADER_BYTES..]);
        record[..4].copy_from_slice(&RECORD_MAGIC);
        record[44..48].copy_from_slice(&following.to_le_bytes());
        record[52..56].copy_from_slice(&payload_checksum.to_le_bytes());
    }
}

/// Gives sealed records their positions, from `position` on. Returns the position after the last.
pub(super) fn seal_positions(seed: Seed, records: &mut [u8], mut position: u64) -> u64 {
    for record in each_mut(records) {
        record[8..16].copy_from_slice(&position.to_le_bytes());
        let checksum = seed.checksum(&record[8..RECORD_HEADER_BYTES]);
        record[4..8].copy_from_slice(&checksum.to_le_bytes());
        position += 1;
    }
    position
}

/// The header at the start of `bytes`, if there is a sound one.
fn decode_record_header(seed: Seed, bytes: &[u8]) -> Option<RecordHeader> {
    let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
    if bytes[..4] != RECORD_MAGIC || u32_at(bytes, 4) != seed.checksum(&bytes[8..]) {
        return None;
    }
    Some(RecordHeader {
        position: u64_at(bytes, 8),
        project_id: ProjectId(uuid_at(bytes, 16)),
        received_at: Timestamp::from_micros(u64_at(bytes, 32).cast_signed())?,
        events: u32_at(bytes, 40),
        following: u32_at(bytes, 44),
        length: u32_at(bytes, 48),
        payload_checksum: u32_at(bytes, 52),
    })
}

/// What a [`Walk`] meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A record with a sound header, and how many positions are missing before it.
    Record {
        header: RecordHeader,
        /// Of header and payload, in the walked bytes.
        range: Range<usize>,
        missing: u64,
    },
    /// Bytes that belong to no record.
    Damage(Range<usize>),
    /// The bytes end inside a record that begins here. Always the last item.
    Cut(usize),
}

/// Goes from record to record through the bytes of one segment; after damage it finds the next sound header.
pub(super) struct Walk<'a> {
    seed: Seed,
    bytes: &'a [u8],
    at: usize,
    /// Position that the next record should have.
    expected: u64,
    /// Bytes of damage just before `at`: records may be missing there.
    skipped: usize,
    /// After this byte there are only zeros: space that was never written.
    written: usize,
}

impl<'a> Walk<'a> {
    /// `expected` is the position of the record at the start of `bytes`.
    pub(super) fn new(seed: Seed, bytes: &'a [u8], expected: u64) -> Self {
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self {
            seed,
            bytes,
            at: 0,
            expected,
            skipped: 0,
            written,
        }
    }

    /// One after the last position met; where the walk stands.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Where the walk stands: everything before it belongs to items already given.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes up to the last one that is not zero.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// The header at `at` if it can be the next one after `skipped` bytes of damage: it is neither a repetition, nor further on than
    /// records could have fitted into what was skipped.
    fn header_at(&self, at: usize, skipped: usize) -> Option<RecordHeader> {
        let header = decode_record_header(self.seed, self.bytes.get(at..)?)?;
        let missing = header.position.checked_sub(self.expected)?;
        (missing <= (skipped / RECORD_HEADER_BYTES) as u64).then_some(header)
    }

    fn record(&mut self, at: usize, header: RecordHeader) -> Item {
        let end = at + RECORD_HEADER_BYTES + header.length as usize;
        if end > self.bytes.len() {
            self.at = self.bytes.len();
            return Item::Cut(at);
        }
        let missing = header.position - self.expected;
        self.at = end;
        self.skipped = 0;
        self.expected = header.position + 1;
        Item::Record {
            header,
            range: at..end,
            missing,
        }
    }

    /// The next offset after `at` with a header that can follow.
    fn resynchronise(&self) -> Option<usize> {
        let mut from = self.at + 1;
        loop {
            let found = find_magic(self.bytes.get(from..self.written)?)? + from;
            if self.header_at(found, found - self.at).is_some() {
                return Some(found);
            }
            from = found + 1;
        }
    }
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(RECORD_MAGIC.len())
        .position(|window| window == RECORD_MAGIC)
}

impl Iterator for Walk<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.at >= self.written {
            return None;
        }
        if let Some(header) = self.header_at(self.at, self.skipped) {
            return Some(self.record(self.at, header));
        }
        if self.bytes.len() - self.at < RECORD_HEADER_BYTES {
            let start = std::mem::replace(&mut self.at, self.bytes.len());
            return Some(Item::Cut(start));
        }
        let end = self.resynchronise().unwrap_or(self.written);
        let start = std::mem::replace(&mut self.at, end);
        self.skipped = end - start;
        Some(Item::Damage(start..end))
    }
}
