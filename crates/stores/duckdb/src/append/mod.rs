//! Appending a batch: find out what is new, make the index's part durable, then commit rows, ledger and checkpoint together.

mod columns;
mod plan;
mod progress;
mod properties;

use std::{borrow::Cow, collections::HashMap, panic::resume_unwind, thread};

use duckdb::{
    Connection,
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    params,
};
use model::{EnrichedEvent, ProjectId, Timestamp};
use store::{AppendBatch, AppendItem, AppendOutcome, AppendReport, Checkpoint};
use uuid::Uuid;

use crate::{
    failure::Failure,
    index::{Changes, Index, Owner, fold},
    shared::Shared,
};
use columns::Columns;
use plan::{Known, Source};
pub(crate) use progress::{LEDGER, fold as fold_progress};

/// Stands for the queue of batches that come without one. Their items are numbered on from its checkpoint.
const NO_QUEUE: Uuid = Uuid::nil();
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
    /// Stores a batch; see [`store::EventStore::append`].
    pub(crate) fn append(&mut self, batch: &AppendBatch) -> Result<AppendReport, Failure> {
        let source = self.source(batch);
        let mut changes = self.index.begin();
        let stored = self.store(batch, &source, &mut changes);
        if let Err(failure) = &stored {
            // No transaction may be open at all; and the first error is the one to tell.
            let _ = self.connection.execute_batch("ROLLBACK");
            // Numbers that were given in memory and may not have become durable.
            self.index.reload_numbers()?;
            if matches!(failure, Failure::Refused(_)) {
                // These positions may never come again, but clients may bring the same events again.
                self.index.release(changes.claimed())?;
            }
        }
        Ok(AppendReport { outcomes: stored? })
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

    fn store(
        &mut self,
        batch: &AppendBatch,
        source: &Source,
        changes: &mut Changes,
    ) -> Result<Vec<AppendOutcome>, Failure> {
        let is_applied = |item: &&AppendItem| source.is_applied(item.position);
        let items: Vec<&AppendItem> = batch.items.iter().filter(|item| !is_applied(item)).collect();
        let (projects, new_projects) = self.project_numbers(&items);
        let (known, columns) = self.prepare(&items, &projects, source, changes);
        let (columns, mut known) = (columns?, known?);
        plan::ask_database(&items, &projects, &mut known.is_new, self.connection)?;

        let outcomes = outcomes(batch, source, &known);
        let counts = progress::count(batch, &outcomes, source);
        if counts.is_empty() && source.stored == Some(source.position) {
            return Ok(outcomes);
        }
        let users_next = changes.next_numbers();
        let chunks = finish(columns, self.schema, &projects, &known)?;
        let (index, connection) = (&mut *self.index, self.connection);
        let (durable, appended) = both(
            items.len() >= PARALLEL_EVENTS_MIN,
            || index.commit(changes),
            || {
                connection.execute_batch("BEGIN TRANSACTION")?;
                append_rows(connection, chunks)
            },
        );
        // The order that everything hangs on: claims and numbers first, then the commit.
        let mark = durable?;
        appended?;
        for (id, number) in &new_projects {
            connection.execute("INSERT INTO projects VALUES (?, ?, 0)", params![number, id.to_string()])?;
        }
        let positions = [Some((source.queue, source.position)), mark.map(|mark| (INDEX, mark))];
        progress::record(connection, positions.into_iter().flatten(), &counts, &users_next)?;
        connection.execute_batch("COMMIT")?;

        self.shared.add_projects(new_projects);
        self.shared.set_position(source.queue, source.position);
        Ok(outcomes)
    }

    /// Asks the index about the events and turns them into columns, both at once.
    fn prepare(
        &mut self,
        items: &[&AppendItem],
        projects: &[u32],
        source: &Source,
        changes: &mut Changes,
    ) -> (Result<Known, Failure>, Result<Vec<Columns>, Failure>) {
        let positions = self.shared.positions().into_iter();
        let positions: HashMap<u32, u64> = positions.map(|(queue, position)| (fold(queue), position)).collect();
        let is_stored = |owner: Owner| {
            let stored = positions.get(&owner.queue);
            stored.is_some_and(|stored| owner.position <= *stored)
        };
        let (index, now) = (&mut *self.index, self.now);
        both(
            items.len() >= PARALLEL_EVENTS_MIN,
            || plan::ask_index(items, projects, source, index, changes, now, is_stored),
            || items.chunks(ROWS_PER_CHUNK).map(storable_columns).collect(),
        )
    }

    /// The project number of each item, and the projects that got one now.
    fn project_numbers(&self, items: &[&AppendItem]) -> (Vec<u32>, Vec<(ProjectId, u32)>) {
        let mut known: HashMap<ProjectId, u32> = HashMap::new();
        let mut new = Vec::new();
        let mut next = self.shared.next_project();
        let numbers = items.iter().map(|item| {
            let id = item.event.project_id;
            *known.entry(id).or_insert_with(|| {
                self.shared.project(id).unwrap_or_else(|| {
                    new.push((id, next));
                    next += 1;
                    next - 1
                })
            })
        });
        (numbers.collect(), new)
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
fn storable_columns(items: &[&AppendItem]) -> Result<Columns, Failure> {
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
    Columns::new(&events, &properties)
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
        Columns::new(events, &properties)?.finish(schema, &projects, &numbers, &vec![true; events.len()])
    });
    append_rows(connection, chunks.collect::<Result<_, _>>()?)
}

/// A number for a project that needs no table.
pub(crate) fn bare_project(project: ProjectId) -> u32 {
    project.0.as_u128() as u32
}
