//! Appending a batch: decide what is new, make the index's part durable, then commit rows, ledger and checkpoint together.

mod columns;
mod plan;
mod properties;

use std::{borrow::Cow, collections::HashMap};

use duckdb::{Connection, arrow::datatypes::SchemaRef, params};
use model::{EnrichedEvent, Outcome, ProjectId, Timestamp};
use store::{AppendBatch, AppendOutcome, AppendReport, Checkpoint};
use uuid::Uuid;

use crate::{
    failure::Failure,
    index::{Changes, Index, Owner, fold},
    shared::Shared,
};
use columns::Row;
use plan::{Plan, Source};

/// Stands for the queue of batches that come without one. Their items are numbered on from its checkpoint.
const NO_QUEUE: Uuid = Uuid::nil();

/// What an append works on.
pub(crate) struct Appender<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) index: &'a mut Index,
    pub(crate) shared: &'a Shared,
    pub(crate) schema: &'a SchemaRef,
    /// Decides which claims have passed.
    pub(crate) now: Timestamp,
}

/// The schema of the batches that [`Appender`] hands to DuckDB.
pub(crate) fn schema() -> SchemaRef {
    columns::schema()
}

/// Rows that are turned into columns at a time: their text must stay far below the 2 GiB of one Arrow column.
const ROWS_PER_BATCH: usize = 8_192;

/// Appends rows as they come, for [`crate::ceiling`].
pub(crate) fn append_bare(
    connection: &Connection,
    schema: &SchemaRef,
    events: &[EnrichedEvent],
) -> Result<(), Failure> {
    let rows: Vec<Row<'_>> = events
        .iter()
        .map(|event| Row {
            event,
            project: bare_project(event.project_id),
            uid: 0,
            properties: Cow::Borrowed(&event.properties),
        })
        .collect();
    append_rows(connection, schema, &rows)
}

/// A number for a project that needs no table.
pub(crate) fn bare_project(project: ProjectId) -> u32 {
    project.0.as_u128() as u32
}

fn append_rows(connection: &Connection, schema: &SchemaRef, rows: &[Row<'_>]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut appender = connection.appender("events")?;
    for rows in rows.chunks(ROWS_PER_BATCH) {
        appender.append_record_batch(columns::record_batch(schema, rows)?)?;
    }
    Ok(appender.flush()?)
}

/// Projects that the batch is the first to bring events of.
type NewProjects = Vec<(ProjectId, u32)>;

impl Appender<'_> {
    /// Stores a batch; see [`store::EventStore::append`].
    pub(crate) fn append(&mut self, batch: &AppendBatch) -> Result<AppendReport, Failure> {
        let source = self.source(batch);
        let mut changes = self.index.begin();
        let planned = self.plan(batch, &source, &mut changes);
        let claimed = changes.claimed().to_vec();
        let stored = planned.and_then(|plan| self.store(batch, &plan, changes, &source).map(|()| plan.outcomes));
        match stored {
            Ok(outcomes) => Ok(AppendReport { outcomes }),
            Err(failure) => {
                // No transaction may be open at all; and the first error is the one to tell.
                let _ = self.connection.execute_batch("ROLLBACK");
                // Numbers that were given in memory and may not have become durable.
                self.index.reload_numbers()?;
                if matches!(failure, Failure::Refused(_)) {
                    // These positions may never come again, but clients may bring the same events again.
                    self.index.release(&claimed)?;
                }
                Err(failure)
            }
        }
    }

    fn source(&self, batch: &AppendBatch) -> Source {
        let Some(Checkpoint { queue, position }) = batch.checkpoint else {
            let stored = self.shared.position(NO_QUEUE);
            let first = stored.map_or(1, |stored| stored + 1);
            return Source {
                queue: NO_QUEUE,
                stored,
                position: first + batch.items.len() as u64 - 1,
                numbered_from: Some(first),
            };
        };
        let stored = self.shared.position(queue);
        Source {
            queue,
            stored,
            position: stored.map_or(position, |stored| stored.max(position)),
            numbered_from: None,
        }
    }

    fn plan(&mut self, batch: &AppendBatch, source: &Source, changes: &mut Changes) -> Result<Plan, Failure> {
        let positions: HashMap<u32, u64> = self
            .shared
            .positions()
            .into_iter()
            .map(|(queue, position)| (fold(queue), position))
            .collect();
        let is_stored = |owner: Owner| {
            let stored = positions.get(&owner.queue);
            stored.is_some_and(|stored| owner.position <= *stored)
        };
        let mut plan = Plan::new(batch, source, self.index, changes, self.now, is_stored)?;
        plan.resolve_history(batch, self.connection, |project| self.shared.project(project))?;
        Ok(plan)
    }

    /// Makes the index's part durable, then everything else in one transaction.
    fn store(
        &mut self,
        batch: &AppendBatch,
        plan: &Plan,
        mut changes: Changes,
        source: &Source,
    ) -> Result<(), Failure> {
        let ledger = plan.ledger(batch, source);
        if ledger.is_empty() && source.stored == Some(source.position) {
            return Ok(());
        }
        let mut projects = Vec::new();
        let rows = self.rows(batch, plan, &mut changes, &mut projects)?;
        let users_next: Vec<(u32, u32)> = changes.next_numbers().collect();
        self.index.commit(changes)?;

        self.connection.execute_batch("BEGIN TRANSACTION")?;
        append_rows(self.connection, self.schema, &rows)?;
        for (id, number) in &projects {
            self.execute("INSERT INTO projects VALUES (?, ?, 0)", params![number, id.to_string()])?;
        }
        for (project, next) in users_next {
            self.execute(
                "UPDATE projects SET users_next = ? WHERE number = ?",
                params![next, project],
            )?;
        }
        self.count(&ledger)?;
        let (queue, position) = (source.queue.to_string(), source.position);
        match source.stored {
            Some(_) => self.execute(
                "UPDATE checkpoints SET position = ? WHERE queue = ?",
                params![position, queue],
            )?,
            None => self.execute("INSERT INTO checkpoints VALUES (?, ?)", params![queue, position])?,
        };
        self.connection.execute_batch("COMMIT")?;

        self.shared.add_projects(projects);
        self.shared.set_position(source.queue, position);
        Ok(())
    }

    /// The rows of the plan, each with its numbers. Everything that may be refused is looked at before the first number is given.
    fn rows<'b>(
        &mut self,
        batch: &'b AppendBatch,
        plan: &Plan,
        changes: &mut Changes,
        new: &mut NewProjects,
    ) -> Result<Vec<Row<'b>>, Failure> {
        let stored = || {
            let items = batch.items.iter().zip(&plan.outcomes);
            items
                .filter(|(_, outcome)| **outcome == AppendOutcome::Stored)
                .map(|(item, _)| item)
        };
        let mut rows = Vec::with_capacity(batch.items.len());
        for item in stored() {
            let properties = properties::storable(&item.event.properties).ok_or_else(|| {
                Failure::Refused(format!(
                    "the properties of the event at position {} are no JSON object",
                    item.position
                ))
            })?;
            rows.push(Row {
                event: &item.event,
                project: 0,
                uid: 0,
                properties,
            });
        }
        for row in &mut rows {
            row.project = self.project_number(row.event.project_id, new);
            row.uid = self.index.number(changes, row.project, &row.event.user_id)?;
        }
        Ok(rows)
    }

    fn project_number(&self, id: ProjectId, new: &mut NewProjects) -> u32 {
        let known = self.shared.project(id);
        let given = || {
            new.iter()
                .find(|(project, _)| *project == id)
                .map(|(_, number)| *number)
        };
        known.or_else(given).unwrap_or_else(|| {
            let number = self.shared.next_project() + new.len() as u32;
            new.push((id, number));
            number
        })
    }

    fn count(&self, ledger: &HashMap<(ProjectId, i32, Outcome), u64>) -> Result<(), Failure> {
        for ((project, day, outcome), count) in ledger {
            let (project, outcome) = (project.to_string(), outcome.to_string());
            let updated = self.execute(
                "UPDATE ledger SET count = count + ? WHERE project_id = ? AND day = ? AND outcome = ?",
                params![count, project, day, outcome],
            )?;
            if updated == 0 {
                self.execute(
                    "INSERT INTO ledger VALUES (?, ?, ?, ?)",
                    params![project, day, outcome, count],
                )?;
            }
        }
        Ok(())
    }

    fn execute(&self, sql: &str, parameters: impl duckdb::Params) -> Result<usize, Failure> {
        Ok(self.connection.prepare_cached(sql)?.execute(parameters)?)
    }
}
