//! What the queue's callers and its two threads share.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    EmbeddedOptions,
    checkpoint::{Checkpoint, CheckpointFile},
    damage::{Damage, DamageLog},
    dead::DeadLetters,
    files::{DataFile, FileSystem},
    format::{Item, RECORD_HEADER_BYTES, RecordHeader, Seed, Walk},
    inbox::Inbox,
    readiness::Readiness,
    segment::read_range,
    state::{Cursor, State},
    survey::payload_is_sound,
};
use crate::Record;

/// Everything behind [`super::EmbeddedQueue`]. Locks are taken in the order of the fields.
pub(super) struct Shared {
    pub(super) id: Uuid,
    pub(super) seed: Seed,
    pub(super) options: EmbeddedOptions,
    pub(super) files: Arc<dyn FileSystem>,
    pub(super) directory: PathBuf,
    pub(super) inbox: Inbox,
    /// One load from disk at a time.
    pub(super) loading: Mutex<()>,
    pub(super) checkpoint: Mutex<Written>,
    pub(super) dead: Mutex<DeadLetters>,
    pub(super) damage: Mutex<DamageLog>,
    pub(super) state: Mutex<State>,
    /// Something to read, perhaps.
    pub(super) readable: Notify,
    pub(super) keeper: Keeper,
    pub(super) readiness: Readiness,
}

/// The checkpoint file and what it says.
pub(super) struct Written {
    pub(super) file: CheckpointFile,
    pub(super) content: Option<Checkpoint>,
    /// Appends have ended for good.
    pub(super) closed: bool,
}

/// How the keeper thread is woken.
#[derive(Default)]
pub(super) struct Keeper {
    pub(super) wanted: Mutex<Wanted>,
    pub(super) called: Condvar,
}

/// What the keeper is asked to do.
#[derive(Default)]
pub(super) struct Wanted {
    /// A segment is free.
    pub(super) retire: bool,
    pub(super) stop: bool,
}

/// Locks; a panic elsewhere leaves data that are still consistent enough to go on (each change is one step).
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stretch of a segment to read.
struct Stretch {
    cursor: Cursor,
    file: Arc<dyn DataFile>,
    /// Bytes up to the last durable record.
    bytes: u64,
    /// One after the last durable position of the segment.
    end: u64,
}

/// What a stretch held.
#[derive(Default)]
struct Contents {
    records: Vec<(u64, Record)>,
    /// Sound headers with damaged payloads: known to be lost, and whose.
    lost: Vec<(u64, Record)>,
    damages: Vec<Damage>,
    /// Damage reaches to the end of the bytes: more bytes are needed to know what it is.
    open_damage: bool,
    /// Where the next stretch begins.
    rest_offset: u64,
    rest_position: u64,
}

impl Shared {
    /// Reads the next unread records from disk into memory, if memory holds none. Blocking.
    pub(super) fn load(&self) -> io::Result<()> {
        let _one_at_a_time = lock(&self.loading);
        loop {
            let Some(stretch) = self.next_stretch() else {
                return Ok(());
            };
            let contents = self.read(&stretch)?;
            for damage in &contents.damages {
                lock(&self.damage).record(damage);
            }
            let rest = Cursor {
                segment: stretch.cursor.segment,
                offset: contents.rest_offset,
                position: contents.rest_position,
            };
            let mut state = lock(&self.state);
            for (position, record) in &contents.lost {
                state.forget(*position, record);
            }
            let rest = next_cursor(&state, rest);
            state.loaded(contents.records, rest);
        }
    }

    /// Where to read, if memory holds nothing to deliver.
    fn next_stretch(&self) -> Option<Stretch> {
        let mut state = lock(&self.state);
        while state.needs_load() {
            let cursor = state.unread?;
            let segment = state.segments.iter().find(|segment| segment.base == cursor.segment)?;
            if cursor.offset < segment.bytes {
                return Some(Stretch {
                    cursor,
                    file: Arc::clone(&segment.file),
                    bytes: segment.bytes,
                    end: segment.end,
                });
            }
            let rest = next_cursor(&state, cursor);
            state.loaded(Vec::new(), rest);
        }
        None
    }

    fn read(&self, stretch: &Stretch) -> io::Result<Contents> {
        let whole = usize::try_from(stretch.bytes - stretch.cursor.offset).map_err(io::Error::other)?;
        let chunk = self.options.read_chunk_bytes.min(whole);
        let contents = self.read_bytes(stretch, chunk, chunk == whole)?;
        // A record longer than the chunk, or damage that may reach beyond it, needs the rest of the segment.
        if chunk < whole && (contents.records.is_empty() || contents.open_damage) {
            return self.read_bytes(stretch, whole, true);
        }
        Ok(contents)
    }

    fn read_bytes(&self, stretch: &Stretch, length: usize, whole: bool) -> io::Result<Contents> {
        let mut bytes = vec![0; length];
        read_range(&*stretch.file, stretch.cursor.offset, &mut bytes)?;
        Ok(self.examine(stretch, bytes, whole))
    }

    /// Takes the records out of bytes read at the cursor; with `whole` they reach to the end of the segment.
    fn examine(&self, stretch: &Stretch, bytes: Vec<u8>, whole: bool) -> Contents {
        let bytes = Bytes::from(bytes);
        let offset = |at: usize| stretch.cursor.offset + at as u64;
        let damage = |range: std::ops::Range<usize>, position, records, reason| Damage {
            segment: stretch.cursor.segment,
            offset: offset(range.start),
            bytes: bytes[range].to_vec(),
            records,
            position,
            reason,
        };
        let mut contents = Contents::default();
        let mut walk = Walk::new(self.seed, &bytes, stretch.cursor.position);
        let mut damaged = None;
        loop {
            let before = walk.expected();
            match walk.next() {
                None => break,
                Some(Item::Cut(start)) if whole => damaged = damaged.or(Some(start..bytes.len())),
                Some(Item::Cut(start)) => {
                    contents.open_damage = damaged.is_some();
                    contents.rest_offset = offset(start);
                    contents.rest_position = walk.expected();
                    return contents;
                }
                Some(Item::Damage(range)) => damaged = Some(range),
                Some(Item::Record { header, range, missing }) => {
                    if let Some(range) = damaged.take() {
                        let reason = "bytes between two records are no records";
                        contents.damages.push(damage(range, before, missing, reason));
                    }
                    if header.position >= stretch.end {
                        break;
                    }
                    let sound = payload_is_sound(self.seed, &bytes, &header, &range);
                    let record = record(&header, bytes.slice(range.start + RECORD_HEADER_BYTES..range.end));
                    if sound {
                        contents.records.push((header.position, record));
                    } else {
                        let reason = "the payload of a record does not match its checksum";
                        contents.damages.push(damage(range, header.position, 1, reason));
                        contents.lost.push((header.position, record));
                    }
                }
            }
        }
        contents.open_damage = damaged.is_some();
        let lost = if whole {
            stretch.end.saturating_sub(walk.expected())
        } else {
            0
        };
        if lost > 0 {
            let range = damaged.unwrap_or(walk.offset().min(bytes.len())..bytes.len());
            contents
                .damages
                .push(damage(range, walk.expected(), lost, "the last records are no records"));
        }
        contents.rest_offset = if whole { stretch.bytes } else { offset(walk.offset()) };
        contents.rest_position = if whole { stretch.end } else { walk.expected() };
        contents
    }
}

fn record(header: &RecordHeader, payload: Bytes) -> Record {
    Record {
        project_id: header.project_id,
        received_at: header.received_at,
        events: header.events,
        payload,
    }
}

/// The cursor itself, or the start of the next segment with records when its own has been read; `None` when all have been.
fn next_cursor(state: &State, cursor: Cursor) -> Option<Cursor> {
    let at = state.segments.partition_point(|segment| segment.base < cursor.segment);
    let mut segments = state.segments.iter().skip(at);
    let own = segments.next()?;
    if cursor.offset < own.bytes {
        return Some(cursor);
    }
    segments
        .find(|segment| segment.end > segment.base)
        .map(|segment| Cursor {
            segment: segment.base,
            offset: super::format::SEGMENT_HEADER_BYTES as u64,
            position: segment.base,
        })
}
