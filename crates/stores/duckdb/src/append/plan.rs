//! What becomes of each item of a batch.

use std::collections::{HashMap, HashSet};

use duckdb::{Connection, params};
use model::{Deduplication, EventId, LedgerEntry, Outcome, ProjectId, Timestamp, ledger::utc_day};
use store::{AppendBatch, AppendItem, AppendOutcome};
use uuid::Uuid;

use crate::{
    failure::Failure,
    index::{Changes, Index, Owner},
    rows,
};

/// Decides by checkpoint, batch and index. What only the database can tell comes after it ([`Self::resolve_history`]).
pub(super) struct Plan {
    /// One per item.
    pub(super) outcomes: Vec<AppendOutcome>,
    /// Items to be looked up in the database, by project.
    history: HashMap<ProjectId, Vec<usize>>,
}

/// The queue that a batch comes from, as the plan sees it.
pub(super) struct Source {
    pub(super) queue: Uuid,
    /// Last position that is stored; `None`: the queue is new.
    pub(super) stored: Option<u64>,
    /// Last position that is stored after this batch.
    pub(super) position: u64,
    /// Position of the first item, for batches that come without a queue: their items are numbered by the store.
    pub(super) numbered_from: Option<u64>,
}

impl Source {
    fn owner(&self, index: usize, item: &AppendItem) -> Owner {
        let position = match self.numbered_from {
            Some(first) => first + index as u64,
            None => item.position,
        };
        Owner::delivery(self.queue, position)
    }

    /// Whether a position of this batch has been stored by an earlier delivery.
    pub(super) fn is_applied(&self, position: u64) -> bool {
        self.numbered_from.is_none() && self.stored.is_some_and(|stored| position <= stored)
    }
}

impl Plan {
    pub(super) fn new(
        batch: &AppendBatch,
        source: &Source,
        index: &mut Index,
        changes: &mut Changes,
        now: Timestamp,
        is_stored: impl Fn(Owner) -> bool,
    ) -> Result<Self, Failure> {
        let mut seen = HashSet::with_capacity(batch.items.len());
        let mut history: HashMap<ProjectId, Vec<usize>> = HashMap::new();
        let mut outcomes = Vec::with_capacity(batch.items.len());
        for (position, item) in batch.items.iter().enumerate() {
            let event = &item.event;
            outcomes.push(if source.is_applied(item.position) {
                AppendOutcome::AlreadyApplied
            } else if !seen.insert(event.id) {
                AppendOutcome::Duplicate
            } else {
                match event.deduplication {
                    Deduplication::Redelivery => AppendOutcome::Stored,
                    Deduplication::History => {
                        history.entry(event.project_id).or_default().push(position);
                        AppendOutcome::Stored
                    }
                    Deduplication::Window => {
                        let owner = source.owner(position, item);
                        match index.claim(changes, event.id, event.received_at, now, owner, &is_stored)? {
                            true => AppendOutcome::Stored,
                            false => AppendOutcome::Duplicate,
                        }
                    }
                }
            });
        }
        Ok(Self { outcomes, history })
    }

    /// Finds the imported events that the database has already: each keeps its time, so only the batch's stretch of time is read.
    pub(super) fn resolve_history(
        &mut self,
        batch: &AppendBatch,
        connection: &Connection,
        project_number: impl Fn(ProjectId) -> Option<u32>,
    ) -> Result<(), Failure> {
        for (project, positions) in &self.history {
            // A project without a number has no events.
            let Some(project) = project_number(*project) else {
                continue;
            };
            let events = || positions.iter().map(|position| &batch.items[*position].event);
            let times = || events().map(|event| event.timestamp);
            let (Some(first), Some(last)) = (times().min(), times().max()) else {
                continue;
            };
            let ids: Vec<String> = events().map(|event| event.id.to_string()).collect();
            let known = known_ids(connection, project, first, last, &ids.join(","))?;
            for position in positions {
                if known.contains(&batch.items[*position].event.id) {
                    self.outcomes[*position] = AppendOutcome::Duplicate;
                }
            }
        }
        Ok(())
    }

    /// What the batch adds to the ledger.
    pub(super) fn ledger(&self, batch: &AppendBatch, source: &Source) -> HashMap<(ProjectId, i32, Outcome), u64> {
        let mut counts: HashMap<(ProjectId, i32, Outcome), u64> = HashMap::new();
        // Neighbours mostly count alike: look the entry up once for each run of them.
        let mut run: Option<((ProjectId, i32, Outcome), u64)> = None;
        for (item, outcome) in batch.items.iter().zip(&self.outcomes) {
            let Some(outcome) = outcome.counted() else { continue };
            let key = (item.event.project_id, utc_day(item.event.received_at), outcome);
            match &mut run {
                Some((current, count)) if *current == key => *count += 1,
                _ => {
                    if let Some((done, count)) = run.replace((key, 1)) {
                        *counts.entry(done).or_default() += count;
                    }
                }
            }
        }
        if let Some((done, count)) = run {
            *counts.entry(done).or_default() += count;
        }
        for (position, entry) in &batch.counts {
            let LedgerEntry {
                project_id,
                day,
                outcome,
                count,
            } = entry;
            if *count > 0 && !source.is_applied(*position) {
                *counts.entry((*project_id, *day, *outcome)).or_default() += count;
            }
        }
        counts
    }
}

fn known_ids(
    connection: &Connection,
    project: u32,
    first: Timestamp,
    last: Timestamp,
    ids: &str,
) -> Result<HashSet<EventId>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT id::VARCHAR FROM events
         WHERE project_id = $1 AND timestamp BETWEEN $2 AND $3
         AND id IN (SELECT unnest(string_split($4, ','))::UUID)",
    )?;
    let found = statement.query_map(
        params![project, rows::instant(first), rows::instant(last), ids],
        |row| row.get::<_, String>(0),
    )?;
    let mut known = HashSet::new();
    for id in found {
        let id = id?;
        known.insert(
            id.parse()
                .map_err(|_| Failure::Fatal(format!("{id:?} is stored as an id")))?,
        );
    }
    Ok(known)
}
