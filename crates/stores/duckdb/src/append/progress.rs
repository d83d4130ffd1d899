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
        let counted = outcome.counted().filter(|_| !item.event.deduplication.is_moved());
        let Some(outcome) = counted else { continue };
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
///
/// Nothing is updated in place, only deleted and inserted: DuckDB keeps a transaction that has updated until every read that began before
/// its end is over, and with it the lock that the checkpoint behind this needs.
pub(crate) fn fold(connection: &Connection) -> Result<(), Failure> {
    let any: bool = connection.query_row("SELECT count(*) > 0 FROM progress", [], |row| row.get(0))?;
    if !any {
        return Ok(());
    }
    let folded = connection.execute_batch(
        "BEGIN TRANSACTION;

         INSERT INTO progress (project_id, day, outcome, count)
         SELECT project_id, day, outcome, count FROM ledger
         WHERE EXISTS (FROM progress WHERE progress.project_id = ledger.project_id
                       AND progress.day = ledger.day AND progress.outcome = ledger.outcome);
         DELETE FROM ledger
         WHERE EXISTS (FROM progress WHERE progress.project_id = ledger.project_id
                       AND progress.day = ledger.day AND progress.outcome = ledger.outcome);
         INSERT INTO ledger
         SELECT project_id, day, outcome, sum(count)::UBIGINT FROM progress WHERE project_id IS NOT NULL GROUP BY ALL;

         DELETE FROM checkpoints WHERE queue IN (SELECT queue FROM progress WHERE queue IS NOT NULL);
         INSERT INTO checkpoints SELECT queue, max(position) FROM progress WHERE queue IS NOT NULL GROUP BY queue;

         INSERT INTO projects
         SELECT number, id, taken.users_next FROM projects
         JOIN (SELECT project, max(users_next) AS users_next FROM progress
               WHERE project IS NOT NULL GROUP BY project) AS taken ON projects.number = taken.project
         WHERE taken.users_next > projects.users_next;
         DELETE FROM projects
         WHERE users_next < (SELECT max(newer.users_next) FROM projects AS newer WHERE newer.number = projects.number);

         DELETE FROM progress;
         COMMIT",
    );
    if folded.is_err() {
        // The first error is the one to tell.
        let _ = connection.execute_batch("ROLLBACK");
    }
    Ok(folded?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    /// How often facts of two queues, projects and outcomes are added and folded.
    const ROUNDS: u64 = 5;

    fn add(connection: &Connection, round: u64) {
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let counts = ids.map(|id| ((ProjectId(id), 7, Outcome::Stored), round));
        let counts = Counts::from(counts);
        let next = [(1, 10 * round as u32), (2, 3)];
        record(connection, ids.map(|id| (id, round)).into_iter(), &counts, &next).unwrap();
        // A second batch before they are folded.
        record(connection, [(ids[0], round + 1)].into_iter(), &counts, &next[..1]).unwrap();
    }

    fn all(connection: &Connection, sql: &str) -> Vec<(u64, u64)> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn facts_are_folded_and_a_read_does_not_keep_the_checkpoint_away() {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("events.duckdb")).unwrap();
        schema::migrate(&connection).unwrap();
        for number in [1, 2] {
            let id = Uuid::from_u128(number).to_string();
            connection
                .execute("INSERT INTO projects VALUES (?, ?, 0)", params![number as u32, id])
                .unwrap();
        }
        let reader = connection.try_clone().unwrap();
        for round in 1..=ROUNDS {
            add(&connection, round);
            reader.execute_batch("BEGIN TRANSACTION READ ONLY").unwrap();
            let before = all(&reader, "SELECT count(*)::UBIGINT, 0::UBIGINT FROM progress");
            assert_eq!(before, [(10, 0)]);
            fold(&connection).unwrap();
            connection.execute_batch("CHECKPOINT").unwrap();
            reader.execute_batch("ROLLBACK").unwrap();
        }
        let stored = (1..=ROUNDS).sum::<u64>() * 2;
        let ledger = all(&connection, "SELECT day::UBIGINT, count FROM ledger");
        assert_eq!(ledger, [(7, stored), (7, stored)]);
        let positions = all(
            &connection,
            "SELECT position, 0::UBIGINT FROM checkpoints ORDER BY queue",
        );
        assert_eq!(positions, [(ROUNDS + 1, 0), (ROUNDS, 0)]);
        let next = "SELECT number::UBIGINT, users_next::UBIGINT FROM projects ORDER BY number";
        assert_eq!(all(&connection, next), [(1, 10 * ROUNDS), (2, 3)]);
    }
}
