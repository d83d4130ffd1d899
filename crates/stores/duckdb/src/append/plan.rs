//! What becomes of the events of a batch: what the index knows about them, then what only the database knows.

use std::collections::{HashMap, HashSet};

use duckdb::{Connection, params};
use model::{Deduplication, EnrichedEvent, EventId, Timestamp};
use store::{AppendBatch, AppendItem};
use uuid::Uuid;

use crate::{
    failure::Failure,
    index::{Changes, Index, Owner},
};

/// The queue that a batch comes from, as the store sees it.
#[derive(Debug, PartialEq, Eq)]
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
    /// Whether a position of this batch has been stored by an earlier delivery.
    pub(super) fn is_applied(&self, position: u64) -> bool {
        self.numbered_from.is_none() && self.stored.is_some_and(|stored| position <= stored)
    }

    /// The items of the batch that no earlier delivery applied.
    pub(super) fn new_items<'a>(&self, batch: &'a AppendBatch) -> Vec<&'a AppendItem> {
        let items = batch.items.iter();
        items.filter(|item| !self.is_applied(item.position)).collect()
    }

    fn owner(&self, index: usize, item: &AppendItem) -> Owner {
        let position = match self.numbered_from {
            // Without a queue every item is new, so that `index` counts them all.
            Some(first) => first + index as u64,
            None => item.position,
        };
        Owner::delivery(self.queue, position)
    }
}

/// What the index says about events.
pub(super) struct Known {
    /// Whether each is new, as far as index and batch can tell.
    pub(super) is_new: Vec<bool>,
    /// The number of each one's user.
    pub(super) uids: Vec<u32>,
}

/// Asks the index, and claims and numbers what is new to it.
pub(super) fn ask_index(
    items: &[&AppendItem],
    projects: &[u32],
    source: &Source,
    index: &mut Index,
    changes: &mut Changes,
    now: Timestamp,
    is_stored: impl Fn(Owner) -> bool,
) -> Result<Known, Failure> {
    // An id of the server's own can come into several projects: each may import what one of them exported.
    let mut seen = HashSet::with_capacity(items.len());
    let mut is_new: Vec<bool> = items
        .iter()
        .zip(projects)
        .map(|(item, project)| item.event.deduplication.is_moved() || seen.insert((*project, item.event.id)))
        .collect();
    let mut claimants: Vec<usize> = (0..items.len())
        .filter(|at| is_new[*at] && claims(&items[*at].event))
        .collect();
    // In the order of the tree each look-up starts near where the last one ended.
    claimants.sort_unstable_by_key(|at| items[*at].event.id);
    for at in claimants {
        let event = &items[at].event;
        let owner = source.owner(at, items[at]);
        match event.deduplication {
            Deduplication::History => index.claim_as_of(changes, event.id, now, now, owner, &is_stored)?,
            Deduplication::Moved { claimed_at } => {
                let as_of = claimed_at.unwrap_or(event.received_at);
                index.claim_as_of(changes, event.id, as_of, now, owner, &is_stored)?;
            }
            Deduplication::Redelivery | Deduplication::Window => {
                is_new[at] = index.claim(changes, event.id, event.received_at, now, owner, &is_stored)?;
            }
        }
    }
    let uids = items
        .iter()
        .zip(projects)
        .map(|(item, project)| index.number(changes, *project, &item.event.user_id))
        .collect::<Result<_, _>>()?;
    Ok(Known { is_new, uids })
}

/// Whether an event's client may bring it once more: it named the event, in a request or in a file that is imported. Such ids are made
/// of the project and the name, so that they are claimed for one project alone.
fn claims(event: &EnrichedEvent) -> bool {
    match event.deduplication {
        Deduplication::Redelivery => false,
        Deduplication::Window => true,
        Deduplication::History => event.client_event_id.is_some(),
        Deduplication::Moved { claimed_at } => claimed_at.is_some(),
    }
}

/// Finds the imported events that the database has already, whenever they happened: between a request and a file, or two files, the time of
/// an event may have been corrected.
pub(super) fn ask_database(
    items: &[&AppendItem],
    projects: &[u32],
    is_new: &mut [bool],
    connection: &Connection,
) -> Result<(), Failure> {
    let mut imported: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        if is_new[at] && item.event.deduplication == Deduplication::History {
            imported.entry(projects[at]).or_default().push(at);
        }
    }
    for (project, positions) in imported {
        let ids: Vec<String> = positions.iter().map(|at| items[*at].event.id.to_string()).collect();
        let known = known_ids(connection, project, &ids.join(","))?;
        for at in positions {
            is_new[at] = !known.contains(&items[at].event.id);
        }
    }
    Ok(())
}

fn known_ids(connection: &Connection, project: u32, ids: &str) -> Result<HashSet<EventId>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT id::VARCHAR FROM events
         WHERE project_id = $1 AND id IN (SELECT unnest(string_split($2, ','))::UUID)",
    )?;
    let found = statement.query_and_then(params![project, ids], |row| -> Result<EventId, Failure> {
        let id: String = row.get(0)?;
        Ok(EventId(crate::state::uuid(&id)?))
    })?;
    found.collect()
}
