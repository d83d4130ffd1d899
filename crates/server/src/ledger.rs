//! The ledger of this process: every event's outcome, per project, exact at any moment.
//!
//! It starts from what the store has counted and the queue still holds, then follows every event: the HTTP side says what was
//! received, the worker says what was stored. Both sides of the equation of [`model::ledger`] move together under one lock.
//! Independent of it, [`Ledger::waiting`] must equal the queue's own count whenever nothing is in motion: the metric
//! `ledger_discrepancy_events` shows the difference.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{LedgerEntry, LedgerTotals, Outcome, ProjectId, Rejection, Tally, Timestamp, ledger::utc_day};
use queue::QueueStatus;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    projects: HashMap<ProjectId, ProjectState>,
    /// Outcomes that the store does not know yet and that no queued tally carries.
    unsent: BTreeMap<(ProjectId, i32), UnsentTally>,
    /// Last position of the queue whose outcome is counted here.
    counted: Option<u64>,
    /// Tallies before it are of an earlier process: their outcomes came too late for [`Ledger::load`].
    own_from: u64,
}

#[derive(Debug, Default)]
struct ProjectState {
    /// Signed where two threads meet: the worker may store an event before the HTTP side has counted it as waiting.
    received: i64,
    waiting: i64,
    ended: BTreeMap<Outcome, u64>,
    /// Events that were accepted, or are about to be, by month (months since year 0), for the quota.
    accepted_by_month: HashMap<i32, i64>,
}

#[derive(Debug)]
struct UnsentTally {
    received_at: Timestamp,
    sampled_out: u64,
    rejected: BTreeMap<Rejection, u64>,
}

/// What [`Ledger::snapshot`] tells of a project.
#[derive(Clone, Debug)]
pub struct ProjectLedger {
    /// Whose.
    pub project_id: ProjectId,
    /// Both sides of the equation.
    pub totals: LedgerTotals,
    /// Events that ended, by where.
    pub outcomes: Vec<(Outcome, u64)>,
}

impl Ledger {
    /// The ledger as the store, which has the queue up to the position `applied`, and the queue tell it at start.
    pub fn load(entries: Vec<LedgerEntry>, applied: Option<u64>, queue: &QueueStatus, now: Timestamp) -> Self {
        let mut state = State {
            counted: applied,
            own_from: queue.end.0,
            ..State::default()
        };
        for entry in entries {
            let project = state.projects.entry(entry.project_id).or_default();
            let count = signed(entry.count);
            project.received += count;
            *project.ended.entry(entry.outcome).or_default() += entry.count;
            if matches!(entry.outcome, Outcome::Stored | Outcome::DeadLettered) {
                *project.accepted_by_month.entry(month_of_day(entry.day)).or_default() += count;
            }
        }
        for (id, waiting) in &queue.waiting_by_project {
            let project = state.projects.entry(*id).or_default();
            project.received += signed(*waiting);
            project.waiting += signed(*waiting);
            *project.accepted_by_month.entry(month(now)).or_default() += signed(*waiting);
        }
        Self(Mutex::new(state))
    }

    /// Takes `count` events that are about to be queued from the month's `quota` (`None`: there is none). Nothing is taken when that
    /// would be over it; the error is how many the month has had.
    pub fn reserve(&self, project: ProjectId, count: u64, quota: Option<u64>, now: Timestamp) -> Result<(), u64> {
        let mut state = self.lock();
        let project = state.projects.entry(project).or_default();
        let used = project.accepted_by_month.entry(month(now)).or_default();
        let before = u64::try_from(*used).unwrap_or(0);
        if quota.is_some_and(|quota| before.saturating_add(count) > quota) {
            return Err(before);
        }
        *used += signed(count);
        Ok(())
    }

    /// Undoes [`Self::reserve`] for events that could not be queued.
    pub fn release(&self, project: ProjectId, count: u64, now: Timestamp) {
        let mut state = self.lock();
        let project = state.projects.entry(project).or_default();
        *project.accepted_by_month.entry(month(now)).or_default() -= signed(count);
    }

    /// Events of `project` that were reserved are durable in the queue.
    pub fn accepted(&self, project: ProjectId, count: u64) {
        let mut state = self.lock();
        let project = state.projects.entry(project).or_default();
        project.received += signed(count);
        project.waiting += signed(count);
    }

    /// Events of `project` ended without being queued. `outcome` is a refusal or [`Outcome::SampledOut`].
    pub fn ended(&self, project: ProjectId, outcome: Outcome, count: u64, now: Timestamp) {
        if count == 0 {
            return;
        }
        let mut state = self.lock();
        let entry = state.projects.entry(project).or_default();
        entry.received += signed(count);
        *entry.ended.entry(outcome).or_default() += count;
        let unsent = state
            .unsent
            .entry((project, utc_day(now)))
            .or_insert_with(|| UnsentTally {
                received_at: now,
                sampled_out: 0,
                rejected: BTreeMap::new(),
            });
        match outcome {
            Outcome::SampledOut => unsent.sampled_out += count,
            Outcome::Rejected(rejection) => *unsent.rejected.entry(rejection).or_default() += count,
            Outcome::Stored | Outcome::Duplicate | Outcome::DeadLettered => {}
        }
    }

    /// The worker finished with waiting events of `project`.
    pub fn finished(&self, project: ProjectId, outcome: Outcome, count: u64, received_at: Timestamp) {
        if count == 0 {
            return;
        }
        let mut state = self.lock();
        let project = state.projects.entry(project).or_default();
        project.waiting -= signed(count);
        *project.ended.entry(outcome).or_default() += count;
        if outcome == Outcome::Duplicate {
            *project.accepted_by_month.entry(month(received_at)).or_default() -= signed(count);
        }
    }

    /// Whether the outcome of what stands at `position` of the queue is counted: then it was delivered once more.
    pub fn is_counted(&self, position: u64) -> bool {
        Some(position) <= self.lock().counted
    }

    /// Everything up to `position` is counted from now on.
    pub fn counted_up_to(&self, position: u64) {
        let mut state = self.lock();
        state.counted = state.counted.max(Some(position));
    }

    /// The store counted what stood at `position` and was no event for it: a dead letter, or an outcome that a tally carried.
    pub fn counted_without_event(&self, position: u64, entry: &LedgerEntry, now: Timestamp) {
        if entry.outcome == Outcome::DeadLettered {
            return self.finished(entry.project_id, entry.outcome, entry.count, now);
        }
        let mut state = self.lock();
        // Those of this process were counted when they happened.
        if position < state.own_from {
            let project = state.projects.entry(entry.project_id).or_default();
            project.received += signed(entry.count);
            *project.ended.entry(entry.outcome).or_default() += entry.count;
        }
    }

    /// Waiting events of `project` are stored, or duplicates, but the store's answer was lost: `entries`, the store's own ledger, tells
    /// how many of each, because everything else that it counted is counted here. Returns the numbers of both.
    pub fn finished_unseen(
        &self,
        project: ProjectId,
        count: u64,
        entries: &[LedgerEntry],
        received_at: Timestamp,
    ) -> (u64, u64) {
        let known: u64 = entries
            .iter()
            .filter(|entry| entry.project_id == project && entry.outcome == Outcome::Stored)
            .map(|entry| entry.count)
            .sum();
        let counted = self.totals(project).stored;
        let stored = known.saturating_sub(counted).min(count);
        self.finished(project, Outcome::Stored, stored, received_at);
        self.finished(project, Outcome::Duplicate, count - stored, received_at);
        (stored, count - stored)
    }

    /// Takes what the store must still be told; give it back with [`Self::restore`] if it could not be queued.
    pub fn take_unsent(&self) -> Vec<Tally> {
        std::mem::take(&mut self.lock().unsent)
            .into_iter()
            .map(|((project_id, _), tally)| Tally {
                project_id,
                received_at: tally.received_at,
                sampled_out: tally.sampled_out,
                rejected: tally.rejected.into_iter().collect(),
            })
            .collect()
    }

    /// Undoes [`Self::take_unsent`].
    pub fn restore(&self, tallies: Vec<Tally>) {
        let mut state = self.lock();
        for tally in tallies {
            let key = (tally.project_id, utc_day(tally.received_at));
            let unsent = state.unsent.entry(key).or_insert_with(|| UnsentTally {
                received_at: tally.received_at,
                sampled_out: 0,
                rejected: BTreeMap::new(),
            });
            unsent.sampled_out += tally.sampled_out;
            for (rejection, count) in tally.rejected {
                *unsent.rejected.entry(rejection).or_default() += count;
            }
        }
    }

    /// The totals of one project.
    pub fn totals(&self, project: ProjectId) -> LedgerTotals {
        self.lock()
            .projects
            .get(&project)
            .map(ProjectState::totals)
            .unwrap_or_default()
    }

    /// Every project's totals and its outcomes by name, at one instant.
    pub fn snapshot(&self) -> Vec<ProjectLedger> {
        let state = self.lock();
        let project = |(id, project): (&ProjectId, &ProjectState)| ProjectLedger {
            project_id: *id,
            totals: project.totals(),
            outcomes: project
                .ended
                .iter()
                .map(|(outcome, count)| (*outcome, *count))
                .collect(),
        };
        state.projects.iter().map(project).collect()
    }

    /// Events that this ledger believes to be in the queue.
    pub fn waiting(&self) -> i64 {
        self.lock().projects.values().map(|project| project.waiting).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the counters half changed: every change is a few additions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProjectState {
    fn totals(&self) -> LedgerTotals {
        let mut totals = LedgerTotals::default();
        for (outcome, count) in &self.ended {
            totals.add(*outcome, *count);
        }
        // While the worker is ahead of the HTTP side (see `received`), the events in between count on neither side.
        let ahead = (-self.waiting).max(0);
        totals.waiting = u64::try_from(self.waiting).unwrap_or(0);
        totals.received = u64::try_from(self.received + ahead).unwrap_or(0);
        totals
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn month(instant: Timestamp) -> i32 {
    let date = instant.date_in(&jiff::tz::TimeZone::UTC);
    i32::from(date.year()) * 12 + i32::from(date.month()) - 1
}

fn month_of_day(utc_day: i32) -> i32 {
    Timestamp::from_micros(i64::from(utc_day) * 86_400_000_000)
        .map(month)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
