//! The thread that makes appends durable: everything that waits, in one write and one flush.

use std::{io, sync::Arc};

use super::{
    blocks::{BLOCK_BYTES, Blocks},
    format::{SEGMENT_HEADER_BYTES, SegmentHeader, seal_positions},
    inbox::Request,
    segment::Segment,
    shared::{Shared, lock},
};
use crate::QueueError;

/// Share of a segment that one group may fill, so that a new segment wastes little of the last.
const GROUPS_PER_SEGMENT_MIN: u64 = 8;

/// Zeros written at once ahead of the records: every hundredth flush of small appends takes half a millisecond longer.
const ZEROS_BYTES: usize = 1024 * 1024;
/// A group of this share of [`ZEROS_BYTES`] brings no zeros along.
const LARGE_GROUP_SHARE: usize = 8;

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The last segment takes appends. Not so at the start, and after a failure: its end can no longer be trusted.
    usable: bool,
    /// Up to here the last segment's bytes have been written, as records or as zeros.
    written_end: u64,
    /// The last segment's bytes behind its last whole block: written again with what comes behind them.
    tail: Vec<u8>,
    buffer: Blocks,
}

/// Why a group was not written; one for all its appends.
#[derive(Clone)]
enum Refusal {
    Full(String),
    Unavailable(String),
}

impl From<Refusal> for QueueError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full(why) => Self::Full(why),
            Refusal::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// Whoever waits hears of it when the writer is gone, for whatever reason.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.inbox.abandon();
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            usable: false,
            written_end: 0,
            tail: Vec::new(),
            buffer: Blocks::default(),
        }
    }

    /// Writes groups until the inbox is closed and empty.
    pub(super) fn run(mut self) {
        let _farewell = Farewell(Arc::clone(&self.shared));
        let group_bytes_max = self.shared.options.segment_bytes / GROUPS_PER_SEGMENT_MIN;
        let group_bytes_max = usize::try_from(group_bytes_max).unwrap_or(usize::MAX);
        while let Some(group) = self.shared.inbox.next_group(group_bytes_max) {
            let written = self.write(&group);
            self.shared.readiness.tell(written.clone().err().map(QueueError::from));
            match written {
                Ok(()) => self.publish(group),
                Err(refusal) => {
                    for request in group {
                        request.answer(Err(refusal.clone().into()));
                    }
                }
            }
            // One huge append must not keep its memory for good.
            self.buffer.shrink_to(2 * group_bytes_max);
        }
    }

    /// Makes the group durable behind the last record.
    fn write(&mut self, group: &[Request]) -> Result<(), Refusal> {
        let bytes: usize = group.iter().map(Request::bytes).sum();
        let has_room = {
            let state = lock(&self.shared.state);
            let last = state.segments.back();
            self.usable && last.is_some_and(|last| last.bytes + bytes as u64 <= last.reserved)
        };
        if !has_room {
            self.roll(bytes as u64)?;
        }
        let (file, offset, reserved, first_position) = {
            let state = lock(&self.shared.state);
            let Some(last) = state.segments.back() else {
                return Err(Refusal::Unavailable("it has no segment".to_owned()));
            };
            (Arc::clone(&last.file), last.bytes, last.reserved, state.next_position)
        };
        let start = offset - self.tail.len() as u64;
        self.buffer.begin(self.tail.len() + bytes + ZEROS_BYTES);
        self.buffer.extend(&self.tail);
        for request in group {
            self.buffer.extend(request.records.bytes());
        }
        let records = &mut self.buffer.bytes_mut()[self.tail.len()..];
        let next_position = seal_positions(self.shared.seed, records, first_position);
        let end = self.buffer.bytes().len();
        self.buffer.pad(self.zeros(start + end as u64, bytes, reserved));
        let written = file.write_all_at(self.buffer.bytes(), start).and_then(|()| file.sync());
        if let Err(error) = written {
            self.give_up_segment(next_position);
            tracing::error!(%error, "queue segment failed; the next append goes to a new one");
            return Err(refusal("writing a segment", &error));
        }
        self.written_end = self.written_end.max(start + self.buffer.bytes().len() as u64);
        self.tail.clear();
        self.tail.extend(&self.buffer.bytes()[end - end % BLOCK_BYTES..end]);
        Ok(())
    }

    /// How many zeros to write behind a group of `bytes` that ends at `end`, for the flushes to come. The first write to reserved space
    /// changes the file's metadata, and a flush that has to write those too takes half as long again (`docs/decisions/queue.md`). So a
    /// small group that meets such space writes a stretch of it at once. A large one would only write everything twice.
    fn zeros(&self, end: u64, bytes: usize, reserved: u64) -> usize {
        if end <= self.written_end || bytes >= ZEROS_BYTES / LARGE_GROUP_SHARE {
            return 0;
        }
        usize::try_from(reserved.saturating_sub(end)).map_or(ZEROS_BYTES, |room| room.min(ZEROS_BYTES))
    }

    /// Makes the group known, then tells those who wait.
    fn publish(&self, mut group: Vec<Request>) {
        {
            let mut state = lock(&self.shared.state);
            for request in &mut group {
                state.publish(std::mem::take(&mut request.records));
            }
        }
        self.shared.readable.notify_waiters();
        for request in group {
            request.answer(Ok(()));
        }
    }

    /// Leaves the last segment: after a failed write or flush nobody knows what is in it behind the last durable record.
    /// The positions tried there are not given again; the next segment's header says where this one really ended.
    fn give_up_segment(&mut self, next_position: u64) {
        self.usable = false;
        lock(&self.shared.state).next_position = next_position;
    }

    /// Begins a new segment with room for `bytes`.
    fn roll(&mut self, bytes: u64) -> Result<(), Refusal> {
        let shared = &self.shared;
        let capacity = shared.options.segment_bytes.max(bytes + SEGMENT_HEADER_BYTES as u64);
        // The last block is written whole.
        let capacity = capacity.next_multiple_of(BLOCK_BYTES as u64);
        let header = {
            let state = lock(&shared.state);
            let used = state.segment_bytes();
            if used.saturating_add(capacity) > shared.options.bytes_max {
                return Err(Refusal::Full(format!(
                    "it holds {used} bytes and may hold {}: wait until workers have stored some, or allow more",
                    shared.options.bytes_max
                )));
            }
            let previous = state.segments.back();
            SegmentHeader {
                queue: shared.id,
                base: state.next_position,
                capacity,
                previous_base: previous.map_or(0, |segment| segment.base),
                previous_end: previous.map_or(0, |segment| segment.end),
            }
        };
        let free = shared
            .files
            .free_bytes(&shared.directory)
            .map_err(|error| refusal("asking for free disk space", &error))?;
        if free < shared.options.disk_free_bytes_min.saturating_add(capacity) {
            return Err(Refusal::Full(format!(
                "{free} bytes of disk are free, and {} must stay free for the store: make room",
                shared.options.disk_free_bytes_min
            )));
        }
        let segment = Segment::create(&*shared.files, &shared.directory, &header)
            .map_err(|error| refusal("making a segment", &error))?;
        // From here on the checkpoint speaks of a segment that grows.
        lock(&shared.checkpoint).closed = false;
        let mut state = lock(&shared.state);
        if let Some(last) = state.segments.back_mut() {
            last.trim();
        }
        self.written_end = segment.bytes;
        self.tail = header.encode();
        state.segments.push_back(segment);
        self.usable = true;
        Ok(())
    }
}

fn refusal(action: &str, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Refusal::Full(format!("the disk has no room ({action}: {error}): make room"))
        }
        _ => Refusal::Unavailable(format!("{action}: {error}")),
    }
}
