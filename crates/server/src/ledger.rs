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
    /// The ledger as the store and the queue tell it at start.
    pub fn load(entries: Vec<LedgerEntry>, queue: &QueueStatus, now: Timestamp) -> Self {
        let mut state = State::default();
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

    /// The worker finished with waiting events of `project`. `outcome` = `None`: an earlier process had counted them as stored,
    /// and the queue delivered them once more.
    pub fn finished(&self, project: ProjectId, outcome: Option<Outcome>, count: u64, received_at: Timestamp) {
        if count == 0 {
            return;
        }
        let mut state = self.lock();
        let project = state.projects.entry(project).or_default();
        project.waiting -= signed(count);
        match outcome {
            Some(outcome) => *project.ended.entry(outcome).or_default() += count,
            None => project.received -= signed(count),
        }
        if outcome.is_none_or(|outcome| outcome == Outcome::Duplicate) {
            *project.accepted_by_month.entry(month(received_at)).or_default() -= signed(count);
        }
    }

    /// A tally of an earlier process reached the store.
    pub fn tally_from_before(&self, tally: &Tally) {
        let mut state = self.lock();
        let project = state.projects.entry(tally.project_id).or_default();
        let outcomes = tally
            .rejected
            .iter()
            .map(|(rejection, count)| (Outcome::Rejected(*rejection), *count));
        for (outcome, count) in outcomes.chain([(Outcome::SampledOut, tally.sampled_out)]) {
            if count > 0 {
                project.received += signed(count);
                *project.ended.entry(outcome).or_default() += count;
            }
        }
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
