//! What this process has of the stream: what is out, what comes next, what must still be acknowledged. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use model::ProjectId;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Delivery, Position, Record};

/// A record as it came from Redis.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub record: Record,
    /// How often it was delivered before, as far as Redis knows.
    pub deliveries: u32,
}

/// A record that was delivered and not acknowledged.
struct Outstanding {
    record: Record,
    attempt: u32,
    /// When it comes again; `None` while a consumer has it.
    due: Option<Instant>,
}

/// What the acknowledgement of a record must tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub position: u64,
    pub bytes: usize,
    pub project: ProjectId,
    pub events: u32,
}

/// What [`State::take`] found.
pub(super) enum Taken {
    /// Records to deliver; at least one.
    Records(Vec<Delivery>),
    /// Nothing before the instant: nothing overtakes what was given back.
    NotBefore(Instant),
    /// Nothing in memory.
    Nothing,
}

pub(super) struct State {
    /// Names what this process takes from the queue: see [`Self::adopt`].
    id: Uuid,
    /// Of the connections that may bring records.
    epoch: u64,
    /// The last position that this consumer was given; `None` = not known.
    given: Option<u64>,
    front: VecDeque<(u64, Fetched)>,
    outstanding: BTreeMap<u64, Outstanding>,
    returned: BTreeSet<u64>,
    acknowledged: BTreeMap<u64, Acknowledged>,
    delivered_events: u64,
}

impl State {
    pub(super) fn new(id: Uuid) -> Self {
        Self {
            id,
            epoch: 0,
            given: None,
            front: VecDeque::new(),
            outstanding: BTreeMap::new(),
            returned: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            delivered_events: 0,
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn given(&self) -> Option<u64> {
        self.given
    }

    /// An epoch begins. Under another id positions begin anew as well: records of the old one may not mix with them, and come again.
    pub(super) fn adopt(&mut self, epoch: u64, id: Uuid, given: u64) {
        if self.id != id {
            self.id = id;
            self.front.clear();
            self.outstanding.clear();
            self.returned.clear();
            self.delivered_events = 0;
        }
        self.epoch = epoch;
        self.given = Some(given);
    }

    /// New records were given, up to a position; `false` when they come too late, from an earlier epoch.
    pub(super) fn accept(&mut self, epoch: u64, last_new: Option<u64>) -> bool {
        let in_time = self.epoch == epoch;
        if in_time && last_new.is_some() {
            self.given = last_new;
        }
        in_time
    }

    /// Takes in a record that Redis gave to this consumer in this epoch, unless it is known. In the order of positions.
    pub(super) fn publish(&mut self, epoch: u64, position: u64, fetched: Fetched) -> bool {
        if self.epoch != epoch {
            return false;
        }
        let last = self.front.back().map(|(position, _)| *position);
        let known = last >= Some(position)
            || self.outstanding.contains_key(&position)
            || self.acknowledged.contains_key(&position);
        if !known {
            self.front.push_back((position, fetched));
        }
        !known
    }

    /// Whether records are there that were never delivered.
    pub(super) fn has_front(&self) -> bool {
        !self.front.is_empty()
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
                    Taken::NotBefore(due)
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
            let Some((position, Fetched { record, deliveries })) = self.front.pop_front() else {
                break;
            };
            let attempt = deliveries + 1;
            self.delivered_events += u64::from(record.events);
            taken.push(Delivery {
                position: Position(position),
                attempt,
                record: record.clone(),
            });
            let entry = Outstanding {
                record,
                attempt,
                due: None,
            };
            self.outstanding.insert(position, entry);
        }
        match taken.is_empty() {
            false => Taken::Records(taken),
            true => Taken::Nothing,
        }
    }

    /// Forgets records; Redis must still be told, see [`Self::acknowledged`].
    pub(super) fn acknowledge(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(record) = self.forget(position.0) {
                self.owe(*position, &record);
            }
        }
    }

    /// The same for a record that was never handed out.
    pub(super) fn end(&mut self, delivery: &Delivery) {
        self.owe(delivery.position, &delivery.record);
    }

    /// Redis is to be told that a record is done with.
    fn owe(&mut self, Position(position): Position, record: &Record) {
        let acknowledged = Acknowledged {
            position,
            bytes: super::entry::bytes(&record.payload),
            project: record.project_id,
            events: record.events,
        };
        self.acknowledged.insert(position, acknowledged);
    }

    /// Forgets a record that is done with.
    fn forget(&mut self, position: u64) -> Option<Record> {
        let entry = self.outstanding.remove(&position)?;
        if entry.due.is_some() {
            self.returned.remove(&position);
        } else {
            self.delivered_events -= u64::from(entry.record.events);
        }
        Some(entry.record)
    }

    /// The first acknowledgements that Redis has not confirmed.
    pub(super) fn acknowledged(&self, most: usize) -> Vec<Acknowledged> {
        self.acknowledged.values().take(most).copied().collect()
    }

    /// Redis has confirmed these.
    pub(super) fn confirmed(&mut self, acknowledged: &[Acknowledged]) {
        for Acknowledged { position, .. } in acknowledged {
            self.acknowledged.remove(position);
        }
    }

    /// Puts delivered records back before the others.
    pub(super) fn give_back(&mut self, positions: &[Position], now: Instant, delay: Duration) {
        for Position(position) in positions {
            let Some(entry) = self.outstanding.get_mut(position) else {
                continue;
            };
            if entry.due.replace(now + delay).is_none() {
                self.delivered_events -= u64::from(entry.record.events);
                self.returned.insert(*position);
            }
        }
    }

    /// Events that consumers of this process have.
    pub(super) fn delivered_events(&self) -> u64 {
        self.delivered_events
    }

    /// Records that Redis gave to this process and that are not confirmed.
    pub(super) fn held(&self) -> usize {
        self.front.len() + self.outstanding.len() + self.acknowledged.len()
    }

    /// Positions of what this process leaves to its next start.
    pub(super) fn left(&self) -> Vec<u64> {
        let front = self.front.iter().map(|(position, _)| *position);
        self.outstanding.keys().copied().chain(front).collect()
    }
}
