//! What can be found out about a batch before its turn: numbers, claims and columns, while the database stores the batch before it.
//!
//! A plan made ahead assumes that the batch before it commits. It changes nothing but memory: claims and user numbers become durable in the
//! batch's own turn, so that a plan whose assumption failed is dropped as if it had never been made.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use model::{ProjectId, Timestamp};
use store::{AppendBatch, AppendItem, Checkpoint};
use uuid::Uuid;

use super::{
    NO_QUEUE, PARALLEL_EVENTS_MIN, ROWS_PER_CHUNK, both,
    columns::Columns,
    plan::{self, Known, Source},
    storable_columns,
};
use crate::{
    failure::Failure,
    index::{Changes, Index, Owner, fold},
    shared::Shared,
};

/// What a batch needs before it can be stored.
pub(crate) struct Plan {
    /// Which batch it is for.
    items: Arc<Vec<AppendItem>>,
    pub(super) facts: Facts,
    pub(super) changes: Changes,
}

/// What is known of a batch before it is stored.
pub(super) struct Facts {
    pub(super) source: Source,
    /// The project number of each item that no earlier delivery applied.
    pub(super) projects: Vec<u32>,
    /// The projects that get a number with this batch.
    pub(super) new_projects: Vec<(ProjectId, u32)>,
    pub(super) known: Result<Known, Failure>,
    pub(super) columns: Result<Vec<Columns>, Failure>,
}

/// The plan for the next batch.
#[derive(Default)]
pub(crate) enum Ahead {
    /// There is none.
    #[default]
    Nothing,
    /// It holds if the batch comes next.
    Planned(Box<Plan>),
    /// Planning failed half way and left numbers in memory that nobody has.
    Spoilt,
}

impl Ahead {
    /// The plan, if it is for this batch and what it assumed came true; else nothing is left of it.
    pub(super) fn take(
        &mut self,
        batch: &AppendBatch,
        source: &Source,
        index: &mut Index,
    ) -> Result<Option<Plan>, Failure> {
        if let Self::Planned(plan) = self
            && Arc::ptr_eq(&plan.items, &batch.items)
            && plan.facts.source == *source
            && let Self::Planned(plan) = std::mem::take(self)
        {
            return Ok(Some(*plan));
        }
        self.discard(index)?;
        Ok(None)
    }

    /// Drops the plan, and the numbers that it gave in memory.
    pub(crate) fn discard(&mut self, index: &mut Index) -> Result<(), Failure> {
        if !matches!(self, Self::Nothing) {
            index.reload_numbers()?;
            *self = Self::Nothing;
        }
        Ok(())
    }
}

/// Whose claims count: those of deliveries that are stored, by how far each queue is.
pub(crate) fn stored_owners(positions: impl IntoIterator<Item = (Uuid, u64)>) -> impl Fn(Owner) -> bool {
    let positions = positions.into_iter().map(|(queue, position)| (fold(queue), position));
    let positions: HashMap<u32, u64> = positions.collect();
    move |owner| {
        let stored = positions.get(&owner.queue);
        stored.is_some_and(|stored| owner.position <= *stored)
    }
}

/// Makes plans.
pub(super) struct Planner<'a> {
    pub(super) index: &'a mut Index,
    pub(super) shared: &'a Shared,
    pub(super) now: Timestamp,
    /// The queue and position that the batch under way reaches, for a plan ahead.
    pub(super) after: Option<(Uuid, u64)>,
}

impl Planner<'_> {
    /// The plan for the batch that is announced, if one is before the append under way ends.
    pub(super) fn plan_next(mut self) -> Ahead {
        let Some(batch) = self.shared.announced.take() else {
            return Ahead::Nothing;
        };
        // Whatever it is, the batch under way must not suffer, and the one to blame meets it in its own turn.
        match catch_unwind(AssertUnwindSafe(|| {
            let source = self.source(&batch);
            self.plan(&batch, source, false)
        })) {
            Ok(plan) if plan.facts.known.is_ok() && plan.facts.columns.is_ok() => Ahead::Planned(Box::new(plan)),
            _ => Ahead::Spoilt,
        }
    }

    /// How the store sees the queue of a batch.
    pub(super) fn source(&self, batch: &AppendBatch) -> Source {
        let Some(Checkpoint { queue, position }) = batch.checkpoint else {
            let stored = self.position(NO_QUEUE);
            let first = stored.map_or(1, |stored| stored + 1);
            return Source {
                queue: NO_QUEUE,
                stored,
                position: first + batch.items.len() as u64 - 1,
                numbered_from: Some(first),
            };
        };
        let stored = self.position(queue);
        Source {
            queue,
            stored,
            position: stored.map_or(position, |stored| stored.max(position)),
            numbered_from: None,
        }
    }

    fn position(&self, queue: Uuid) -> Option<u64> {
        match self.after {
            Some((after, position)) if after == queue => Some(position),
            _ => self.shared.position(queue),
        }
    }

    /// Asks the index about the events and turns them into columns; both at once, if `parallel` and worth it.
    pub(super) fn plan(&mut self, batch: &AppendBatch, source: Source, parallel: bool) -> Plan {
        let items = source.new_items(batch);
        let (projects, new_projects) = self.project_numbers(&items);
        let is_stored = stored_owners(self.shared.positions().into_iter().chain(self.after));
        let mut changes = self.index.begin(items.len());
        let (index, now) = (&mut *self.index, self.now);
        let (known, columns) = both(
            parallel && items.len() >= PARALLEL_EVENTS_MIN,
            || plan::ask_index(&items, &projects, &source, index, &mut changes, now, is_stored),
            || {
                let chunks = items.chunks(ROWS_PER_CHUNK);
                chunks.map(|chunk| storable_columns(chunk, now)).collect()
            },
        );
        Plan {
            items: Arc::clone(&batch.items),
            facts: Facts {
                source,
                projects,
                new_projects,
                known,
                columns,
            },
            changes,
        }
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
