//! What a start of the queue finds in the bytes of one segment.

use std::{collections::HashMap, ops::Range};

use model::ProjectId;

use super::{
    damage::Damage,
    format::{Item, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, Seed, Walk},
};

/// The least that is written as a whole.
const SECTOR_BYTES: usize = 512;

/// A segment's bytes, and what else is known of it.
pub(super) struct Evidence<'a> {
    pub(super) seed: Seed,
    pub(super) base: u64,
    /// The whole file.
    pub(super) bytes: &'a [u8],
    /// One after the last position, as the next segment says; `None` when nobody tells, as for the newest: its last append
    /// may be torn.
    pub(super) end: Option<u64>,
    /// Every position below it was durable, says the checkpoint.
    pub(super) durable_end: u64,
    /// Positions below it are acknowledged.
    pub(super) watermark: u64,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// One after the last position.
    pub(super) end: u64,
    /// Bytes up to the end of the last record.
    pub(super) bytes: u64,
    /// Events at or above the watermark, by project.
    pub(super) waiting: HashMap<ProjectId, u64>,
    /// Offset and position of the first record at or above the watermark.
    pub(super) first: Option<(u64, u64)>,
    pub(super) damages: Vec<Damage>,
    /// Bytes of an append that was never finished, cut off.
    pub(super) torn_bytes: u64,
}

/// The append that the survey is inside of.
#[derive(Default)]
struct OpenAppend {
    /// Offset in the records' bytes and position of its first record.
    offset: usize,
    position: u64,
    /// Records that are still to come.
    following: u32,
    waiting: Vec<(ProjectId, u32)>,
}

struct Surveyor<'a> {
    evidence: &'a Evidence<'a>,
    records: &'a [u8],
    survey: Survey,
    append: OpenAppend,
    /// Damage whose loss is known only at the next record, and the position expected there.
    damage: Option<(Range<usize>, u64)>,
}

/// Walks the headers of a segment. Payloads are checked when they are read, except that of a last, half-written record.
pub(super) fn survey(evidence: &Evidence<'_>) -> Survey {
    let records = evidence.bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
    let mut surveyor = Surveyor {
        evidence,
        records,
        survey: Survey {
            end: evidence.base,
            bytes: SEGMENT_HEADER_BYTES as u64,
            ..Survey::default()
        },
        append: OpenAppend {
            position: evidence.base,
            ..OpenAppend::default()
        },
        damage: None,
    };
    let mut walk = Walk::new(evidence.seed, records, evidence.base);
    let written = walk.written();
    // Where a half-written append leaves its trace: from here on nothing is whole.
    let mut ragged = None;
    loop {
        let before = walk.expected();
        match walk.next() {
            None => break,
            Some(Item::Cut(start)) => ragged = Some(start..records.len()),
            Some(Item::Damage(range)) => {
                let header_end = range.start + RECORD_HEADER_BYTES;
                ragged = (range.end == written && is_torn_before(written, header_end)).then(|| range.clone());
                surveyor.damage = Some((range, before));
            }
            Some(Item::Record { header, range, missing }) => {
                if evidence.end.is_some_and(|end| header.position >= end) {
                    // Left behind by a write that failed: never promised, and its positions were not given again.
                    break;
                }
                if is_torn_before(written, range.end) && !payload_is_sound(evidence.seed, records, &header, &range) {
                    ragged = Some(range);
                    break;
                }
                surveyor.record(&header, range, missing);
            }
        }
    }
    surveyor.finish(ragged)
}

/// Whether a write that should have reached `end` may have ended after `written` (offsets among the records): disks and kernels
/// write whole sectors, so that zeros inside a sector are what somebody wrote.
fn is_torn_before(written: usize, end: usize) -> bool {
    let written_sectors = (SEGMENT_HEADER_BYTES + written).next_multiple_of(SECTOR_BYTES);
    written_sectors < SEGMENT_HEADER_BYTES + end
}

/// Whether the payload is what was written.
pub(super) fn payload_is_sound(seed: Seed, bytes: &[u8], header: &RecordHeader, range: &Range<usize>) -> bool {
    let payload = &bytes[range.start + RECORD_HEADER_BYTES..range.end];
    seed.checksum(payload) == header.payload_checksum
}

impl Surveyor<'_> {
    fn record(&mut self, header: &RecordHeader, range: Range<usize>, missing: u64) {
        if let Some((damaged, position)) = self.damage.take() {
            self.damaged(damaged, position, missing, "bytes between two records are no records");
        }
        let continues = u64::from(self.append.following) == u64::from(header.following) + 1 + missing;
        if !continues {
            // The end of the append before was in the damage, or there was none.
            self.close_append(range.start, header.position);
        }
        if header.position >= self.evidence.watermark {
            self.append.waiting.push((header.project_id, header.events));
            self.survey
                .first
                .get_or_insert(((SEGMENT_HEADER_BYTES + range.start) as u64, header.position));
        }
        self.append.following = header.following;
        self.survey.end = header.position + 1;
        self.survey.bytes = (SEGMENT_HEADER_BYTES + range.end) as u64;
        if header.following == 0 {
            self.close_append(range.end, header.position + 1);
        }
    }

    fn close_append(&mut self, next_offset: usize, next_position: u64) {
        for (project_id, events) in self.append.waiting.drain(..) {
            if events > 0 {
                *self.survey.waiting.entry(project_id).or_default() += u64::from(events);
            }
        }
        self.append.offset = next_offset;
        self.append.position = next_position;
        self.append.following = 0;
    }

    fn damaged(&mut self, range: Range<usize>, position: u64, records: u64, reason: &'static str) {
        if position + records <= self.evidence.watermark {
            // Acknowledged: nobody wants them any more.
            return;
        }
        self.survey.damages.push(Damage {
            segment: self.evidence.base,
            offset: (SEGMENT_HEADER_BYTES + range.start) as u64,
            bytes: self.records[range].to_vec(),
            records,
            position,
            reason,
        });
    }

    fn finish(mut self, ragged: Option<Range<usize>>) -> Survey {
        let newest = self.evidence.end.is_none();
        let unfinished = self.append.following > 0;
        let only_ragged = self.damage.is_none() || ragged.is_some();
        let torn = newest && only_ragged && (ragged.is_some() || unfinished);
        if torn && self.append.position >= self.evidence.durable_end {
            let cut_at = (SEGMENT_HEADER_BYTES + self.append.offset) as u64;
            let end = ragged.map_or(self.survey.bytes, |range| (SEGMENT_HEADER_BYTES + range.end) as u64);
            self.survey.torn_bytes = end.saturating_sub(cut_at);
            self.survey.bytes = cut_at;
            self.survey.end = self.append.position;
            self.survey.first = self
                .survey
                .first
                .filter(|(_, position)| *position < self.append.position);
            return self.survey;
        }
        let following = u64::from(self.append.following);
        let (offset, position) = (self.append.offset, self.append.position);
        self.close_append(offset, position);
        let end = self.survey.end;
        // Records of the last append that should have come, of what was promised, or of what the next segment knows.
        let promised = self
            .evidence
            .end
            .unwrap_or((end + following).max(self.evidence.durable_end));
        let lost = promised.saturating_sub(end);
        let damaged = self.damage.take().map(|(range, _)| range).or(ragged);
        match damaged {
            // Complete without it: the rest of a write that failed, and that the next segment took the place of.
            Some(_) if !newest && lost == 0 => {}
            Some(range) => {
                // Bytes that begin as nothing but zeros were never a record.
                let blank = self.records[range.clone()]
                    .iter()
                    .take(RECORD_HEADER_BYTES)
                    .all(|byte| *byte == 0);
                self.survey.bytes = (SEGMENT_HEADER_BYTES + range.end) as u64;
                let records = if newest && !blank { lost.max(1) } else { lost };
                self.damaged(range, end, records, "the last records are no records");
            }
            None if lost > 0 => {
                let at = usize::try_from(self.survey.bytes).unwrap_or(usize::MAX) - SEGMENT_HEADER_BYTES;
                let at = at.min(self.records.len());
                self.damaged(at..at, end, lost, "the last records are missing");
            }
            None => {}
        }
        self.survey.end = promised.max(end);
        self.survey
    }
}
