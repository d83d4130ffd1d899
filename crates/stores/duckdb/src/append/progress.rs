//! The small facts of each append: how far the queue is stored, what the ledger counts, which user numbers are taken.
//!
//! One row per fact through one appender is much cheaper than an update of each in its table. With every checkpoint they are folded into
//! the tables where they belong; until then readers of the ledger read both.

use std::collections::HashMap;

use duckdb::{Connection, params, types::Null};
use model::{LedgerEntry, Outcome, ProjectId, ledger::utc_day};
use store::{AppendBatch, AppendOutcome};
use uuid::Uuid;

use super::plan::Source;
use crate::failure::Failure;

/// What a batch adds to the ledger.
pub(super) type Counts = HashMap<(ProjectId, i32, Outcome), u64>;

/// Counts the outcomes of a batch's items, and the counts that it brings.
pub(super) fn count(batch: &AppendBatch, outcomes: &[AppendOutcome], source: &Source) -> Counts {
    let mut counts = Counts::new();
    // Neighbours mostly count alike: an entry is looked up once for each run of them.
    let mut run: Option<((ProjectId, i32, Outcome), u64)> = None;
    for (item, outcome) in batch.items.iter().zip(outcomes) {
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

/// Adds the facts of a batch to the transaction under way.
pub(super) fn record(
    connection: &Connection,
    positions: impl Iterator<Item = (Uuid, u64)>,
    counts: &Counts,
    users_next: &[(u32, u32)],
) -> Result<(), Failure> {
    let mut appender = connection.appender("progress")?;
    for (queue, position) in positions {
        appender.append_row(params![queue.to_string(), position, Null, Null, Null, Null, Null, Null])?;
    }
    for ((project, day, outcome), count) in counts {
        let (project, outcome) = (project.to_string(), outcome.to_string());
        appender.append_row(params![Null, Null, project, day, outcome, count, Null, Null])?;
    }
    for (project, next) in users_next {
        appender.append_row(params![Null, Null, Null, Null, Null, Null, project, next])?;
    }
    Ok(appender.flush()?)
}

/// The ledger as a reader sees it.
pub(crate) const LEDGER: &str = "
    SELECT project_id, day, outcome, sum(count)::UBIGINT AS count
    FROM (SELECT * FROM ledger
          UNION ALL SELECT project_id, day, outcome, count FROM progress WHERE project_id IS NOT NULL)
    GROUP BY project_id, day, outcome";

/// Moves all facts to where they belong, in one transaction of its own.
pub(crate) fn fold(connection: &Connection) -> Result<(), Failure> {
    let any: bool = connection.query_row("SELECT count(*) > 0 FROM progress", [], |row| row.get(0))?;
    if !any {
        return Ok(());
    }
    let folded = connection.execute_batch(
        "BEGIN TRANSACTION;

         UPDATE ledger SET count = ledger.count + added.count
         FROM (SELECT project_id, day, outcome, sum(count)::UBIGINT AS count FROM progress
               WHERE project_id IS NOT NULL GROUP BY ALL) AS added
         WHERE ledger.project_id = added.project_id AND ledger.day = added.day AND ledger.outcome = added.outcome;

         INSERT INTO ledger
         SELECT project_id, day, outcome, sum(count)::UBIGINT FROM progress
         WHERE project_id IS NOT NULL
         AND NOT EXISTS (FROM ledger WHERE ledger.project_id = progress.project_id
                         AND ledger.day = progress.day AND ledger.outcome = progress.outcome)
         GROUP BY ALL;

         DELETE FROM checkpoints WHERE queue IN (SELECT queue FROM progress WHERE queue IS NOT NULL);
         INSERT INTO checkpoints SELECT queue, max(position) FROM progress WHERE queue IS NOT NULL GROUP BY queue;

         UPDATE projects SET users_next = taken.users_next
         FROM (SELECT project, max(users_next) AS users_next FROM progress
               WHERE project IS NOT NULL GROUP BY project) AS taken
         WHERE projects.number = taken.project;

         DELETE FROM progress;
         COMMIT",
    );
    if folded.is_err() {
        // The first error is the one to tell.
        let _ = connection.execute_batch("ROLLBACK");
    }
    Ok(folded?)
}
