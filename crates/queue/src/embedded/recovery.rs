//! Opening a queue: from the files to the state in memory. Writes nothing into segments.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    OpenError,
    checkpoint::{Checkpoint, CheckpointFile},
    damage::{Damage, DamageLog},
    dead::DeadLetters,
    files::{DataFile, FileSystem},
    format::{HeaderError, SEGMENT_HEADER_BYTES, Seed, SegmentHeader},
    segment::{Segment, base_of, read_range},
    state::Cursor,
    survey::{Evidence, Survey, survey},
};

/// Positions between the last segment that a start finds and the first one that it makes. No segment has so many records, so that no
/// position is ever given twice, whatever damage has hidden; 2^32 starts use up the numbers.
const POSITIONS_SKIPPED_AT_START: u64 = 1 << 32;

/// An open queue, before it runs.
pub(super) struct Recovered {
    pub(super) id: Uuid,
    pub(super) segments: VecDeque<Segment>,
    pub(super) unread: Option<Cursor>,
    pub(super) next_position: u64,
    pub(super) checkpoint: CheckpointFile,
    /// Whether the last segment has ended for good: the file says where, exactly.
    pub(super) closed: bool,
    pub(super) damage: DamageLog,
    pub(super) dead: DeadLetters,
}

/// A segment file before its records are looked at.
struct Candidate {
    base: u64,
    path: PathBuf,
    file: Arc<dyn DataFile>,
    length: u64,
    /// `None` when it is damaged.
    header: Option<SegmentHeader>,
    /// It was being made when the process ended.
    unfinished: bool,
}

/// Reads everything under `directory` that is needed to go on.
pub(super) fn recover(files: &Arc<dyn FileSystem>, directory: &Path) -> Result<Recovered, OpenError> {
    let io_error = |action: &'static str| move |source| OpenError::io(action, directory, source);
    let damage = DamageLog::open(Arc::clone(files), directory).map_err(io_error("read the damaged folder of"))?;
    let dead = DeadLetters::open(Arc::clone(files), directory).map_err(io_error("read the dead letters of"))?;
    let (file, content) = CheckpointFile::open(&**files, directory).map_err(io_error("read the checkpoint of"))?;
    let candidates = candidates(&**files, directory)?;

    let known = content.map(|content| content.queue);
    let told = candidates
        .iter()
        .find_map(|candidate| candidate.header.map(|header| header.queue));
    let id = known.or(told).unwrap_or_else(Uuid::new_v4);
    for candidate in &candidates {
        if candidate.header.is_some_and(|header| header.queue != id) {
            return Err(OpenError::Foreign(candidate.path.clone()));
        }
    }
    if content.is_none() && !candidates.is_empty() {
        tracing::error!(
            directory = %directory.display(),
            "queue checkpoint is missing or damaged: all records that are kept are delivered again"
        );
    }

    let mut recovery = Recovery {
        seed: Seed::of(id),
        content,
        damage,
        segments: VecDeque::new(),
        unread: None,
        buffer: Vec::new(),
    };
    recovery.find_missing(&candidates);
    let ends = Ends::new(&candidates);
    let newest = candidates.last().map(|candidate| candidate.base);
    for candidate in candidates {
        let end = ends.of(candidate.base);
        let is_newest = newest == Some(candidate.base);
        recovery.add(candidate, end, is_newest)?;
    }
    let mut recovered = Recovered {
        id,
        unread: recovery.unread,
        next_position: 1,
        closed: content.is_some_and(|content| content.closed),
        checkpoint: file,
        damage: recovery.damage,
        segments: recovery.segments,
        dead,
    };
    recovered.next_position = next_position(&recovered, content);
    if content.is_none() {
        // From now on the id is known even if every segment's header is lost.
        let first = Checkpoint {
            queue: id,
            watermark: 0,
            durable_end: recovered.segments.back().map_or(0, |segment| segment.end),
            closed: false,
        };
        recovered
            .checkpoint
            .write(&first)
            .map_err(io_error("write the checkpoint of"))?;
    }
    Ok(recovered)
}

fn next_position(recovered: &Recovered, content: Option<Checkpoint>) -> u64 {
    let newest = recovered.segments.back();
    [
        1,
        newest.map_or(0, |segment| segment.base.saturating_add(POSITIONS_SKIPPED_AT_START)),
        newest.map_or(0, |segment| segment.end),
        content.map_or(0, |content| content.durable_end.max(content.watermark)),
        recovered.dead.last_position().map_or(0, |last| last.saturating_add(1)),
    ]
    .into_iter()
    .max()
    .unwrap_or(1)
}

/// The segments of a directory, by base.
fn candidates(files: &dyn FileSystem, directory: &Path) -> Result<Vec<Candidate>, OpenError> {
    let names = files
        .names(directory)
        .map_err(|source| OpenError::io("list", directory, source))?;
    let mut found = Vec::new();
    for name in names {
        let Some(base) = base_of(&name) else { continue };
        let path = directory.join(&name);
        found.push(candidate(files, base, path.clone()).map_err(|error| match error {
            CandidateError::Io(source) => OpenError::io("read", &path, source),
            CandidateError::Version(found) => OpenError::Version { path, found },
        })?);
    }
    found.sort_by_key(|candidate| candidate.base);
    Ok(found)
}

enum CandidateError {
    Io(io::Error),
    Version(u32),
}

fn candidate(files: &dyn FileSystem, base: u64, path: PathBuf) -> Result<Candidate, CandidateError> {
    let file = files.open(&path).map_err(CandidateError::Io)?;
    let length = file.length().map_err(CandidateError::Io)?;
    let head_bytes = SEGMENT_HEADER_BYTES.min(usize::try_from(length).unwrap_or(usize::MAX));
    let mut head = vec![0; head_bytes];
    if head_bytes > 0 {
        read_range(&*file, 0, &mut head).map_err(CandidateError::Io)?;
    }
    let header = match SegmentHeader::decode(&head) {
        Ok(header) if header.base == base => Some(header),
        Ok(_) | Err(HeaderError::Damaged) => None,
        Err(HeaderError::Version(found)) => return Err(CandidateError::Version(found)),
    };
    Ok(Candidate {
        base,
        path,
        file,
        length,
        header,
        unfinished: head.iter().all(|byte| *byte == 0),
    })
}

/// Where the segments ended that are not the newest.
struct Ends {
    /// As the headers of later segments tell.
    told: BTreeMap<u64, u64>,
    /// Bases of all segments that are there or spoken of.
    bases: BTreeSet<u64>,
}

impl Ends {
    fn new(candidates: &[Candidate]) -> Self {
        let headers = || candidates.iter().filter_map(|candidate| candidate.header);
        let there = candidates.iter().map(|candidate| candidate.base);
        Self {
            told: headers()
                .map(|header| (header.previous_base, header.previous_end))
                .collect(),
            bases: there.chain(headers().map(|header| header.previous_base)).collect(),
        }
    }

    /// One after the last position of the segment, if that is known. When the header that tells it is damaged: within one run
    /// of the process a segment begins where the one before it ended.
    fn of(&self, base: u64) -> Option<u64> {
        let next = || self.bases.range(base + 1..).next().copied();
        let told = self.told.get(&base).copied();
        told.or_else(|| next().filter(|next| next - base < POSITIONS_SKIPPED_AT_START))
    }
}

struct Recovery {
    seed: Seed,
    content: Option<Checkpoint>,
    damage: DamageLog,
    segments: VecDeque<Segment>,
    unread: Option<Cursor>,
    /// One segment's bytes; kept from one to the next, since fresh memory is most of what reading costs.
    buffer: Vec<u8>,
}

impl Recovery {
    /// Notes segments that others speak of and that are not there, unless they were acknowledged.
    fn find_missing(&mut self, candidates: &[Candidate]) {
        // Without the checkpoint nobody knows what was acknowledged: the oldest segment's neighbour may be gone rightly.
        let Some(content) = self.content else { return };
        if candidates.is_empty() && content.durable_end > content.watermark.max(1) {
            let from = content.watermark.max(1);
            self.missing(0, from, content.durable_end);
        }
        for header in candidates.iter().filter_map(|candidate| candidate.header) {
            let there = candidates
                .iter()
                .any(|candidate| candidate.base == header.previous_base);
            let from = header.previous_base.max(content.watermark);
            if !there && header.previous_base != 0 && header.previous_end > from {
                self.missing(header.previous_base, from, header.previous_end);
            }
        }
    }

    fn missing(&mut self, segment: u64, from: u64, end: u64) {
        self.damage.record(&Damage {
            segment,
            offset: 0,
            bytes: Vec::new(),
            records: end - from,
            position: from,
            reason: "a segment file is missing",
        });
    }

    /// Takes a segment in.
    fn add(&mut self, candidate: Candidate, end: Option<u64>, newest: bool) -> Result<(), OpenError> {
        let length = usize::try_from(candidate.length).unwrap_or(usize::MAX);
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let bytes = &mut self.buffer[..length];
        if length > 0 {
            read_range(&*candidate.file, 0, bytes).map_err(|source| OpenError::io("read", &candidate.path, source))?;
        }
        let durable_end = self.content.map_or(0, |content| content.durable_end);
        let found = survey(&Evidence {
            seed: self.seed,
            base: candidate.base,
            bytes,
            end,
            durable_end: if newest { durable_end } else { 0 },
            watermark: self.content.map_or(0, |content| content.watermark),
        });
        self.note(&candidate, &found, newest);
        if newest
            && found.end > candidate.base
            && let Err(error) = candidate.file.sync()
        {
            // What the kernel remembers of a killed process counts only once it is on the medium.
            tracing::warn!(file = %candidate.path.display(), %error, "end of the queue could not be flushed at start");
        }
        for damage in &found.damages {
            self.damage.record(damage);
        }
        if let (None, Some((offset, position))) = (self.unread, found.first) {
            self.unread = Some(Cursor {
                segment: candidate.base,
                offset,
                position,
            });
        }
        self.segments.push_back(Segment {
            base: candidate.base,
            end: found.end,
            bytes: found.bytes,
            reserved: candidate.length,
            waiting: found.waiting,
            file: candidate.file,
            path: candidate.path,
        });
        Ok(())
    }

    /// What is wrong with a segment as a whole.
    fn note(&mut self, candidate: &Candidate, found: &Survey, newest: bool) {
        if found.torn_bytes > 0 {
            tracing::warn!(
                file = %candidate.path.display(),
                bytes = found.torn_bytes,
                "unfinished append cut off the end of the queue: it was never acknowledged"
            );
        }
        let whole = |reason, records| Damage {
            segment: candidate.base,
            offset: 0,
            bytes: Vec::new(),
            records,
            position: found.end,
            reason,
        };
        let Some(header) = candidate.header else {
            if !candidate.unfinished {
                // No segment is born without a whole header: one that has less of it has had records too, perhaps.
                let cut = newest && candidate.length < SEGMENT_HEADER_BYTES as u64 && found.damages.is_empty();
                self.damage
                    .record(&whole("the header of a segment is damaged", u64::from(cut)));
            }
            return;
        };
        let closed_here = self
            .content
            .is_some_and(|content| content.closed && content.durable_end == found.end);
        if newest && candidate.length < header.capacity && !closed_here && found.damages.is_empty() {
            self.damage
                .record(&whole("the newest segment was cut short by somebody else", 1));
        }
    }
}
