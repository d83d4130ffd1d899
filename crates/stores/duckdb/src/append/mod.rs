//! Appending a batch: find out what is new, make the index's part durable, then commit rows, ledger and checkpoint together.

mod ahead;
mod columns;
mod plan;
mod progress;

use std::{borrow::Cow, panic::resume_unwind, sync::mpsc::sync_channel, thread};

use duckdb::{
    Connection,
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    params,
};
use model::{EnrichedEvent, ProjectId, Timestamp};
use store::{AppendBatch, AppendItem, AppendOutcome, AppendReport, properties};
use uuid::Uuid;

use crate::{
    failure::Failure,
    index::{Changes, Index},
    shared::Shared,
};
pub(crate) use ahead::{Ahead, stored_owners};
use ahead::{Facts, Plan, Planner};
use columns::Columns;
use plan::{Known, Source};
pub(crate) use progress::{LEDGER, fold as fold_progress};

/// Stands for the queue of batches that come without one. Their items are numbered on from its checkpoint.
pub(crate) const NO_QUEUE: Uuid = Uuid::nil();
/// Stands for the index among the queues: its position is the mark of its last commit, see [`Index::commit`].
pub(crate) const INDEX: Uuid = Uuid::from_u128(0x1de7);
/// Rows that are turned into columns at a time: their text must stay far below the 2 GiB of one Arrow column.
const ROWS_PER_CHUNK: usize = 8_192;
/// Events from which on index and database are worth a thread each: starting one takes as long as a few dozen events.
const PARALLEL_EVENTS_MIN: usize = 500;

/// What an append works on.
pub(crate) struct Appender<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) index: &'a mut Index,
    /// What the append before found out for this one; afterwards what this one found out for the next.
    pub(crate) ahead: &'a mut Ahead,
    pub(crate) shared: &'a Shared,
    pub(crate) schema: &'a SchemaRef,
    /// Decides which claims have passed.
    pub(crate) now: Timestamp,
}

/// The schema of the rows that are handed to DuckDB.
pub(crate) fn schema() -> SchemaRef {
    columns::schema()
}

impl Appender<'_> {
    /// Stores a batch; see [`store::EventStore::append`]. Meanwhile plans for the one that is announced.
    pub(crate) fn append(&mut self, batch: &AppendBatch) -> Result<AppendReport, Failure> {
        self.shared.announced.withdraw(&batch.items);
        let source = self.planner(None).source(batch);
        let plan = match self.ahead.take(batch, &source, self.index)? {
            Some(plan) => plan,
            None => self.planner(None).plan(batch, source, true),
        };
        let Plan { facts, mut changes, .. } = plan;
        let stored = self.store(batch, facts, &mut changes);
        if let Err(failure) = &stored {
            // No transaction may be open at all; and the first error is the one to tell.
            let _ = self.connection.execute_batch("ROLLBACK");
            // Numbers that were given in memory and may not have become durable, here or by a plan that relied on this batch.
            *self.ahead = Ahead::Nothing;
            self.index.reload_numbers()?;
            if matches!(failure, Failure::Refused(_)) {
                // These positions may never come again, but clients may bring the same events again.
                self.index.release(changes.claimed())?;
            }
        }
        Ok(AppendReport { outcomes: stored? })
    }

    fn planner(&mut self, after: Option<(Uuid, u64)>) -> Planner<'_> {
        Planner {
            index: self.index,
            shared: self.shared,
            now: self.now,
            after,
        }
    }

    fn store(
        &mut self,
        batch: &AppendBatch,
        facts: Facts,
        changes: &mut Changes,
    ) -> Result<Vec<AppendOutcome>, Failure> {
        let Facts {
            source,
            projects,
            new_projects,
            known,
            columns,
        } = facts;
        let (columns, mut known) = (columns?, known?);
        let items = source.new_items(batch);
        plan::ask_database(&items, &projects, &mut known.is_new, self.connection)?;

        let outcomes = outcomes(batch, &source, &known);
        let counts = progress::count(batch, &outcomes, &source);
        if counts.is_empty() && source.stored == Some(source.position) {
            return Ok(outcomes);
        }
        let users_next = changes.next_numbers();
        let chunks = finish(columns, self.schema, &projects, &known)?;
        let connection = self.connection;
        let is_large = items.len() >= PARALLEL_EVENTS_MIN;
        // A new project's number is known to nobody before the commit.
        let plans_ahead = is_large && new_projects.is_empty();
        let after = Some((source.queue, source.position));
        self.with_index(changes, is_large, plans_ahead.then_some(after).flatten(), |durable| {
            connection.execute_batch("BEGIN TRANSACTION")?;
            append_rows(connection, chunks)?;
            for (id, number) in &new_projects {
                connection.execute("INSERT INTO projects VALUES (?, ?, 0)", params![number, id.to_string()])?;
            }
            // The order that everything hangs on: claims and numbers first, then the commit.
            let mark = durable()?;
            let positions = [after, mark.map(|mark| (INDEX, mark))];
            progress::record(connection, positions.into_iter().flatten(), &counts, &users_next)?;
            Ok(connection.execute_batch("COMMIT")?)
        })?;
        self.shared.add_projects(new_projects);
        self.shared.set_position(source.queue, source.position);
        Ok(outcomes)
    }

    /// Makes the changes of the index durable and runs `commit`, which is given a call that waits for that and returns the index's mark.
    /// If `parallel` they run at once, and with `after` the index then goes on to plan for the batch behind.
    fn with_index(
        &mut self,
        changes: &mut Changes,
        parallel: bool,
        after: Option<(Uuid, u64)>,
        commit: impl FnOnce(&mut dyn FnMut() -> Result<Option<u64>, Failure>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !parallel {
            let mut durable = Some(self.index.commit(changes)?);
            return commit(&mut || Ok(durable.take().flatten()));
        }
        let shared = self.shared;
        let planner = self.planner(after);
        let (committed, ahead) = thread::scope(|scope| {
            let (tell, told) = sync_channel(1);
            // Dropped before the thread is waited for, also by a panic: it says that an announcement is not worth waiting for any more.
            let busy = shared.announced.busy();
            let indexing = scope.spawn(move || {
                let mark = planner.index.commit(changes);
                let plans = mark.is_ok() && after.is_some();
                // Whoever waits for it may have failed already.
                let _ = tell.send(mark);
                if plans { planner.plan_next() } else { Ahead::Nothing }
            });
            let gone = || Failure::Unavailable("the thread that writes the index ended".to_owned());
            let committed = commit(&mut || told.recv().map_err(|_| gone())?);
            drop(busy);
            let ahead = indexing.join().unwrap_or_else(|panic| resume_unwind(panic));
            (committed, ahead)
        });
        *self.ahead = ahead;
        committed
    }
}

/// Does two things, each on a thread of its own if `parallel`.
fn both<A: Send, B>(parallel: bool, first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    if !parallel {
        return (first(), second());
    }
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join().unwrap_or_else(|panic| resume_unwind(panic)), second)
    })
}

/// The columns of events, refused when one of them could not be read back.
fn storable_columns(items: &[&AppendItem], now: Timestamp) -> Result<Columns, Failure> {
    let properties = items.iter().map(|item| {
        properties::storable(&item.event.properties).ok_or_else(|| {
            Failure::Refused(format!(
                "the properties of the event at position {} are no JSON object",
                item.position
            ))
        })
    });
    let properties = properties.collect::<Result<Vec<_>, _>>()?;
    let events: Vec<&EnrichedEvent> = items.iter().map(|item| &item.event).collect();
    Columns::new(&events, &properties, now)
}

/// The outcome of every item of the batch; `known` is about those that no earlier delivery applied.
fn outcomes(batch: &AppendBatch, source: &Source, known: &Known) -> Vec<AppendOutcome> {
    let mut is_new = known.is_new.iter();
    let outcome = |item: &AppendItem| {
        if source.is_applied(item.position) {
            return AppendOutcome::AlreadyApplied;
        }
        match is_new.next() {
            Some(true) => AppendOutcome::Stored,
            _ => AppendOutcome::Duplicate,
        }
    };
    batch.items.iter().map(outcome).collect()
}

fn finish(
    columns: Vec<Columns>,
    schema: &SchemaRef,
    projects: &[u32],
    known: &Known,
) -> Result<Vec<RecordBatch>, Failure> {
    let parts = projects
        .chunks(ROWS_PER_CHUNK)
        .zip(known.uids.chunks(ROWS_PER_CHUNK))
        .zip(known.is_new.chunks(ROWS_PER_CHUNK));
    let chunks = columns.into_iter().zip(parts);
    chunks
        .map(|(columns, ((projects, uids), is_new))| columns.finish(schema, projects, uids, is_new))
        .collect()
}

fn append_rows(connection: &Connection, chunks: Vec<RecordBatch>) -> Result<(), Failure> {
    if chunks.iter().all(|chunk| chunk.num_rows() == 0) {
        return Ok(());
    }
    let mut appender = connection.appender("events")?;
    for chunk in chunks {
        appender.append_record_batch(chunk)?;
    }
    Ok(appender.flush()?)
}

/// Appends events as they come, for [`crate::ceiling`].
pub(crate) fn append_bare(
    connection: &Connection,
    schema: &SchemaRef,
    events: &[EnrichedEvent],
) -> Result<(), Failure> {
    let events: Vec<&EnrichedEvent> = events.iter().collect();
    let chunks = events.chunks(ROWS_PER_CHUNK).map(|events| {
        let properties: Vec<_> = events.iter().map(|event| Cow::Borrowed(&*event.properties)).collect();
        let projects: Vec<u32> = events.iter().map(|event| bare_project(event.project_id)).collect();
        let numbers = vec![0; events.len()];
        Columns::new(events, &properties, Timestamp::MIN)?.finish(
            schema,
            &projects,
            &numbers,
            &vec![true; events.len()],
        )
    });
    append_rows(connection, chunks.collect::<Result<_, _>>()?)
}

/// A number for a project that needs no table.
pub(crate) fn bare_project(project: ProjectId) -> u32 {
    project.0.as_u128() as u32
}
