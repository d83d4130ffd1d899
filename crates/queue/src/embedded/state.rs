//! What the queue knows in memory: which records wait, which are out, what comes next. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use model::Timestamp;
use tokio::time::Instant;

use super::{format::RECORD_HEADER_BYTES, segment::Segment};
use crate::{Delivery, Position, QueueStatus, Record, Records};

/// What a record in memory costs beside its payload.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// Where reading from disk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Base of the segment.
    pub(super) segment: u64,
    /// Offset in it.
    pub(super) offset: u64,
    /// Position of the record there.
    pub(super) position: u64,
}

/// A record that was delivered and not acknowledged.
struct Outstanding {
    record: Record,
    attempt: u32,
    /// When it comes again; `None` while a consumer has it.
    due: Option<Instant>,
}

/// What [`State::take`] found.
pub(super) enum Taken {
    /// Records to deliver; at least one.
    Records(Vec<Delivery>),
    /// The next records are on disk.
    OnDisk,
    /// Nothing to deliver, until something is appended or given back, or until the instant.
    Nothing(Option<Instant>),
}

/// The queue in memory.
pub(super) struct State {
    /// By base; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    /// The first unread records, in order, without a gap up to `unread`.
    front: VecDeque<(u64, Record)>,
    front_bytes: usize,
    front_bytes_max: usize,
    /// Where the unread records that `front` does not hold begin; `None` when it holds them all.
    pub(super) unread: Option<Cursor>,
    /// Position that the next append gets.
    pub(super) next_position: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    returned: BTreeSet<u64>,
    delivered_events: u64,
}

impl State {
    pub(super) fn new(
        segments: VecDeque<Segment>,
        unread: Option<Cursor>,
        next_position: u64,
        front_bytes_max: usize,
    ) -> Self {
        Self {
            segments,
            front: VecDeque::new(),
            front_bytes: 0,
            front_bytes_max,
            unread,
            next_position,
            outstanding: BTreeMap::new(),
            returned: BTreeSet::new(),
            delivered_events: 0,
        }
    }

    /// Takes in records that have just become durable at the end of the last segment.
    pub(super) fn publish(&mut self, records: Records) {
        let Some(segment) = self.segments.back_mut() else {
            return;
        };
        let first_position = self.next_position;
        let mut cursor = Cursor {
            segment: segment.base,
            offset: segment.bytes,
            position: first_position,
        };
        let mut kept = 0;
        for record in records.iter() {
            segment.add_waiting(record.project_id, record.events);
            if self.unread.is_none() {
                if self.front_bytes < self.front_bytes_max {
                    self.front_bytes += record.payload.len() + RECORD_OVERHEAD_BYTES;
                    kept += 1;
                } else {
                    self.unread = Some(cursor);
                }
            }
            cursor.offset += (RECORD_HEADER_BYTES + record.payload.len()) as u64;
            cursor.position += 1;
        }
        segment.bytes = cursor.offset;
        segment.end = cursor.position;
        self.next_position = cursor.position;
        if kept > 0 {
            self.front
                .extend((first_position..).zip(records.into_iter().take(kept)));
        }
    }

    /// Whether records must be loaded before anything more can be taken.
    pub(super) fn needs_load(&self) -> bool {
        self.front.is_empty() && self.unread.is_some()
    }

    /// Takes in records read from disk at `unread`; reading goes on at `rest`.
    pub(super) fn loaded(&mut self, records: Vec<(u64, Record)>, rest: Option<Cursor>) {
        for (position, record) in records {
            self.front_bytes += memory_bytes(&record);
            self.front.push_back((position, record));
        }
        self.unread = rest;
    }

    /// The next records: those given back first, if they are due; nothing overtakes them.
    pub(super) fn take(&mut self, max_records: usize, now: Instant) -> Taken {
        let mut taken = Vec::new();
        while taken.len() < max_records {
            let Some(position) = self.returned.first().copied() else {
                break;
            };
            let Some(entry) = self.outstanding.get_mut(&position) else {
                self.returned.remove(&position);
                continue;
            };
            if let Some(due) = entry.due.filter(|due| *due > now) {
                return if taken.is_empty() {
                    Taken::Nothing(Some(due))
                } else {
                    Taken::Records(taken)
                };
            }
            entry.due = None;
            entry.attempt += 1;
            self.delivered_events += u64::from(entry.record.events);
            self.returned.remove(&position);
            taken.push(Delivery {
                position: Position(position),
                attempt: entry.attempt,
                record: entry.record.clone(),
            });
        }
        while taken.len() < max_records {
            let Some((position, record)) = self.front.pop_front() else {
                break;
            };
            self.front_bytes = self.front_bytes.saturating_sub(memory_bytes(&record));
            self.delivered_events += u64::from(record.events);
            self.outstanding.insert(
                position,
                Outstanding {
                    record: record.clone(),
                    attempt: 1,
                    due: None,
                },
            );
            taken.push(Delivery {
                position: Position(position),
                attempt: 1,
                record,
            });
        }
        match taken.is_empty() {
            false => Taken::Records(taken),
            true if self.needs_load() => Taken::OnDisk,
            true => Taken::Nothing(None),
        }
    }

    /// Forgets records. Returns whether a segment became free.
    pub(super) fn acknowledge(&mut self, positions: &[Position]) -> bool {
        for position in positions {
            let Some(entry) = self.outstanding.remove(&position.0) else {
                continue;
            };
            if entry.due.is_some() {
                self.returned.remove(&position.0);
            } else {
                self.delivered_events -= u64::from(entry.record.events);
            }
            self.forget(position.0, &entry.record);
        }
        self.has_retirable()
    }

    /// Takes a record out of the counts of its segment.
    pub(super) fn forget(&mut self, position: u64, record: &Record) {
        let after = self.segments.partition_point(|segment| segment.base <= position);
        if let Some(segment) = after.checked_sub(1).and_then(|index| self.segments.get_mut(index)) {
            segment.remove_waiting(record.project_id, record.events);
        }
    }

    /// Puts delivered records back before the unread ones.
    pub(super) fn give_back(&mut self, positions: &[Position], now: Instant, delay: Duration) {
        for position in positions {
            let Some(entry) = self.outstanding.get_mut(&position.0) else {
                continue;
            };
            if entry.due.replace(now + delay).is_none() {
                self.delivered_events -= u64::from(entry.record.events);
                self.returned.insert(position.0);
            }
        }
    }

    /// The first position that is not acknowledged.
    pub(super) fn watermark(&self) -> u64 {
        let unread = self
            .front
            .front()
            .map(|(position, _)| *position)
            .or(self.unread.map(|cursor| cursor.position))
            .unwrap_or(self.next_position);
        self.outstanding
            .keys()
            .next()
            .map_or(unread, |first| unread.min(*first))
    }

    /// One after the last durable position; what the checkpoint vouches for.
    pub(super) fn durable_end(&self) -> u64 {
        self.segments.back().map_or(self.next_position, |segment| segment.end)
    }

    fn has_retirable(&self) -> bool {
        // The last segment stays: its name is what keeps positions from being given twice.
        self.segments.len() > 1 && self.segments.front().is_some_and(|first| first.end <= self.watermark())
    }

    /// Takes out the segments that nobody needs any more, given that positions below `watermark` are written down as acknowledged.
    pub(super) fn retire(&mut self, watermark: u64) -> Vec<Segment> {
        let mut retired = Vec::new();
        while self.segments.len() > 1 && self.segments.front().is_some_and(|first| first.end <= watermark) {
            retired.extend(self.segments.pop_front());
        }
        retired
    }

    /// Bytes of all segment files.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.reserved).sum()
    }

    /// Counts of what waits; exact but for records that damage has made unreachable, which go when their segment goes.
    pub(super) fn status(&self) -> QueueStatus {
        let mut waiting_by_project = HashMap::new();
        let mut waiting = 0;
        for segment in &self.segments {
            for (project_id, events) in &segment.waiting {
                *waiting_by_project.entry(*project_id).or_default() += events;
                waiting += events;
            }
        }
        QueueStatus {
            waiting,
            waiting_by_project,
            delivered: self.delivered_events,
            oldest_received_at: (waiting > 0).then(|| self.oldest_received_at()).flatten(),
            bytes: self.segment_bytes(),
            end: Position(self.next_position),
            ..QueueStatus::default()
        }
    }

    /// Of the first event; of the first tally where only tallies are in memory, which were received no later.
    fn oldest_received_at(&self) -> Option<Timestamp> {
        let outstanding = self.outstanding.values().map(|entry| &entry.record);
        let mut records = outstanding
            .chain(self.front.iter().map(|(_, record)| record))
            .peekable();
        let first = records.peek().map(|record| record.received_at);
        records
            .find(|record| record.events > 0)
            .map(|record| record.received_at)
            .or(first)
    }
}

fn memory_bytes(record: &Record) -> usize {
    record.payload.len() + RECORD_OVERHEAD_BYTES
}
