//! The state of the queue as Redis tells it.

use std::{collections::HashMap, sync::atomic::Ordering};

use model::{ProjectId, Timestamp, limits};
use redis::Value;

use super::{
    Core,
    entry::{self, Entry},
    keys::GROUP,
    link::Failure,
};
use crate::{Position, QueueError, QueueStatus};

/// Entries that are looked through for the first event: tallies are few.
const FIRST_ENTRIES: usize = 64;
/// Room that must be left: about the largest event.
const EVENT_BYTES: u64 = limits::PROPERTIES_BYTES_MAX as u64;

impl Core {
    pub(super) async fn status(&self) -> Result<QueueStatus, Failure> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("HGETALL")
            .arg(&keys.projects)
            .cmd("XPENDING")
            .arg(&keys.stream)
            .arg(GROUP)
            .cmd("XRANGE")
            .arg(&keys.stream)
            .arg("-")
            .arg("+")
            .arg("COUNT")
            .arg(FIRST_ENTRIES)
            .cmd("MEMORY")
            .arg("USAGE")
            .arg(&keys.stream)
            .cmd("MEMORY")
            .arg("USAGE")
            .arg(&keys.dead)
            .cmd("ZCARD")
            .arg(&keys.dead_index)
            .cmd("XINFO")
            .arg("CONSUMERS")
            .arg(&keys.stream)
            .arg(GROUP)
            .cmd("HGET")
            .arg(&keys.state)
            .arg("last");
        type Answer = (
            HashMap<String, u64>,
            Vec<Value>,
            Vec<Entry>,
            Option<u64>,
            Option<u64>,
            u64,
            Vec<Value>,
            Option<u64>,
        );
        let (projects, pending, first, bytes, dead_bytes, dead_letters, consumers, last): Answer =
            self.control.pipeline(&pipeline, limits::REDIS_ANSWER_TIMEOUT).await?;
        let waiting_by_project: HashMap<ProjectId, u64> = projects
            .into_iter()
            .filter_map(|(project, events)| Some((project.parse().ok()?, events)))
            .collect();
        let waiting = waiting_by_project.values().sum();
        let pending: u64 = match pending.first() {
            Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        };
        let (own, held) = {
            let state = self.lock();
            (state.delivered_events(), state.held() as u64)
        };
        let facts = self.facts();
        Ok(QueueStatus {
            waiting,
            waiting_by_project,
            // Of other processes it is known how many records they have, nearly all of which are events.
            delivered: own + pending.saturating_sub(held),
            oldest_received_at: (waiting > 0).then(|| oldest(first)).flatten(),
            bytes: bytes.unwrap_or(0) + dead_bytes.unwrap_or(0),
            dead_letters,
            end: Position(last.map_or(0, |last| last + 1)),
            damaged_records: self.removed.load(Ordering::Relaxed),
            consumers: Some(consumers.len() as u64),
            note: Some(format!("Redis {}, {}", facts.version, facts.promise)),
        })
    }

    /// Fails when there is no room for an event.
    pub(super) async fn check(&self) -> Result<(), QueueError> {
        let mut command = redis::cmd("HGET");
        command.arg(&self.keys.state).arg("bytes");
        let bytes: Option<u64> = self.control.query(&command, limits::REDIS_ANSWER_TIMEOUT).await?;
        let room = EVENT_BYTES.min(self.options.bytes_max / 8);
        if bytes.unwrap_or(0) + room > self.options.bytes_max {
            return Err(self.full());
        }
        Ok(())
    }
}

/// Of the first event; of the first tally where only tallies are near, which were received no later.
fn oldest(entries: Vec<Entry>) -> Option<Timestamp> {
    let mut records = entries
        .into_iter()
        .filter_map(|mut entry| entry::read(entry.take("r")?))
        .peekable();
    let first = records.peek().map(|record| record.received_at);
    records
        .find(|record| record.events > 0)
        .map(|record| record.received_at)
        .or(first)
}
