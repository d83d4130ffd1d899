//! The ledger: received = stored + duplicate + sampled out + rejected + dead-lettered + waiting, per project, at any moment
//! (`semantics.md`, "Invariants", last line; dead letters are counted apart from refusals because the client was told 202).

use serde::{Deserialize, Serialize};

use crate::{Outcome, ProjectId, Rejection, Timestamp};

/// Events of one project that ended without being queued. Travels through the queue beside the events,
/// so that the ledger is as durable and as exactly-once as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Whose events.
    pub project_id: ProjectId,
    /// When they were received; decides the ledger's day.
    pub received_at: Timestamp,
    /// Sampled out.
    pub sampled_out: u64,
    /// Refused, by reason.
    pub rejected: Vec<(Rejection, u64)>,
}

/// Events of one project and one UTC day that ended in one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Whose events.
    pub project_id: ProjectId,
    /// Days since 1970-01-01, UTC, by time of receipt.
    pub day: i32,
    /// Where they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// A project's events so far, by where they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerTotals {
    /// Read from requests of this project.
    pub received: u64,
    /// Rows written, ever (retention does not lower it).
    pub stored: u64,
    /// Accepted again.
    pub duplicate: u64,
    /// Not kept, by sampling.
    pub sampled_out: u64,
    /// Refused with an answer.
    pub rejected: u64,
    /// Accepted and kept aside.
    pub dead_lettered: u64,
    /// Durable in the queue, not yet stored.
    pub waiting: u64,
}

impl LedgerTotals {
    /// Adds `count` events that ended in `outcome`. `received` is counted apart, where events are read.
    pub fn add(&mut self, outcome: Outcome, count: u64) {
        *match outcome {
            Outcome::Stored => &mut self.stored,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::SampledOut => &mut self.sampled_out,
            Outcome::Rejected(_) => &mut self.rejected,
            Outcome::DeadLettered => &mut self.dead_lettered,
        } += count;
    }

    /// Events with an outcome, or waiting for one: equals `received` at any moment.
    pub fn accounted(&self) -> u64 {
        self.stored + self.duplicate + self.sampled_out + self.rejected + self.dead_lettered + self.waiting
    }
}

/// Days since 1970-01-01 of `instant`, UTC.
pub fn utc_day(instant: Timestamp) -> i32 {
    // In range for years 0001 to 9999.
    i32::try_from(instant.as_micros().div_euclid(86_400_000_000)).unwrap_or(0)
}
