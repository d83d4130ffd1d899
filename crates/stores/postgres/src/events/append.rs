//! Appending a batch: everything that can be found out before, then one transaction.
//!
//! The transaction locks the row of the queue's checkpoint first. Whoever else stores from the same queue waits there, and then finds the
//! positions applied.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use model::{Deduplication, EventId, ProjectId, Timestamp};
use sqlx::PgConnection;
use store::{AppendBatch, AppendItem, AppendOutcome, AppendReport, StoreError, properties};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{
    Shared,
    claims::{self, Claim},
    copy::Encoded,
    numbers,
    partitions::{self, Month},
    progress::{self, NewRows},
};
use crate::{
    connect::Lease,
    failure::{is_stale, write_failed},
    types::Instant,
};

/// Tries at once of a batch that met what another process dropped or held; after them the caller tries again.
const TRIES: usize = 3;
/// Locks of this database that keep two imports of one project apart, by the project's number.
const IMPORT_LOCK: i32 = 0x5a_0003;

/// Why a batch could not be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An event of it could not be read back.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A batch with its rows, before anybody knows which of them are new.
pub(super) struct Prepared {
    items: Arc<Vec<AppendItem>>,
    /// The number of each one's project.
    projects: Vec<i32>,
    rows: Encoded,
    /// When: claims of imports count from then on.
    prepared_at: Timestamp,
}

/// A batch that most likely comes next, prepared while the one before it is stored: all of that changes nothing that its coming would not.
/// Ended when dropped.
pub(super) struct Ahead {
    items: Arc<Vec<AppendItem>>,
    preparing: JoinHandle<Result<Prepared, Failure>>,
}

impl Ahead {
    pub(super) fn begin(shared: &Arc<Shared>, batch: &AppendBatch) -> Self {
        let (shared, items) = (Arc::clone(shared), Arc::clone(&batch.items));
        Self {
            items: Arc::clone(&items),
            preparing: tokio::spawn(async move { prepare(&shared, items).await }),
        }
    }

    /// What was prepared, if it is this batch that comes. A failure is not told: it comes again when the batch is prepared anew.
    pub(super) async fn of(mut self, batch: &AppendBatch) -> Option<Prepared> {
        if !Arc::ptr_eq(&self.items, &batch.items) {
            return None;
        }
        (&mut self.preparing).await.ok()?.ok()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.preparing.abort();
    }
}

/// Stores a batch; see [`store::EventStore::append`].
pub(super) async fn append(
    shared: &Shared,
    batch: &AppendBatch,
    mut prepared: Option<Prepared>,
) -> Result<AppendReport, StoreError> {
    let mut tries = 1;
    loop {
        match try_append(shared, batch, prepared.take()).await {
            Ok(outcomes) => return Ok(AppendReport { outcomes }),
            Err(Failure::Database(error)) if is_stale(&error) && tries < TRIES => {
                tries += 1;
                shared.known.forget_schema();
            }
            Err(Failure::Database(error)) => return Err(write_failed(error)),
            Err(Failure::Refused(message)) => return Err(StoreError::Refused(message)),
        }
    }
}

async fn try_append(
    shared: &Shared,
    batch: &AppendBatch,
    prepared: Option<Prepared>,
) -> Result<Vec<AppendOutcome>, Failure> {
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => prepare(shared, Arc::clone(&batch.items)).await?,
    };
    let mut lease = Lease::take(&shared.writers).await?;
    lease.run("begin").await?;
    let stored = match batch.checkpoint {
        Some(checkpoint) => lock_queue(&mut lease, checkpoint.queue).await?,
        None => None,
    };
    let is_applied = |position| stored.is_some_and(|stored| position <= stored);
    let is_new = find_new(shared, &mut lease, &prepared, is_applied).await?;
    prepared.rows.send(&mut lease, &is_new).await?;

    let outcome = |(item, is_new): (&AppendItem, &bool)| match (is_applied(item.position), *is_new) {
        (true, _) => AppendOutcome::AlreadyApplied,
        (false, true) => AppendOutcome::Stored,
        (false, false) => AppendOutcome::Duplicate,
    };
    let outcomes: Vec<AppendOutcome> = batch.items.iter().zip(&is_new).map(outcome).collect();
    let counts = progress::count(batch, &outcomes, is_applied);
    let rows = prepared.new_rows(&is_new);
    progress::record(&mut lease, &counts, &rows, batch.checkpoint).await?;
    lease.run("commit").await?;
    lease.give_back();
    Ok(outcomes)
}

/// Numbers projects and users, makes partitions and tables of ids, and writes the rows down: all that needs no lock of the queue.
async fn prepare(shared: &Shared, items: Arc<Vec<AppendItem>>) -> Result<Prepared, Failure> {
    let now = shared.clock.now();
    if items.is_empty() {
        return Ok(Prepared {
            items,
            projects: Vec::new(),
            rows: Encoded::default(),
            prepared_at: now,
        });
    }
    let properties = storable(&items)?;
    let ids: HashSet<ProjectId> = items.iter().map(|item| item.event.project_id).collect();
    let numbers: HashMap<ProjectId, i32> = numbers::projects(shared, ids.into_iter()).await?;
    let projects: Vec<i32> = items.iter().map(|item| numbers[&item.event.project_id]).collect();
    let users: Vec<(i32, &str)> = projects
        .iter()
        .zip(&*items)
        .map(|(project, item)| (*project, item.event.user_id.as_str()))
        .collect();
    let uids = numbers::users(shared, &users).await?;
    let months: BTreeSet<Month> = items.iter().map(|item| Month::of(item.event.timestamp)).collect();
    partitions::ensure(shared, months.into_iter().chain(Month::wanted(now))).await?;
    let epochs: BTreeSet<i64> = items.iter().filter_map(|item| claim_epoch(item, now)).collect();
    claims::ensure(shared, &epochs, now).await?;
    let mut rows = Encoded::default();
    for (((item, properties), project), uid) in items.iter().zip(&properties).zip(&projects).zip(&uids) {
        rows.push(&item.event, properties, *project, *uid);
    }
    drop(properties);
    Ok(Prepared {
        items,
        projects,
        rows,
        prepared_at: now,
    })
}

/// The epoch in which an event's id is claimed; `None` for ids that no client made. An import tells any time of receipt, and the client may
/// send the same event from now on.
fn claim_epoch(item: &AppendItem, now: Timestamp) -> Option<i64> {
    match item.event.deduplication {
        Deduplication::Window => Some(claims::epoch_of(item.event.received_at)),
        Deduplication::History if item.event.client_event_id.is_some() => Some(claims::epoch_of(now)),
        Deduplication::Moved { claimed_at } => claimed_at.map(claims::epoch_of),
        Deduplication::History | Deduplication::Redelivery => None,
    }
}

/// The properties of every event as they can be stored; refused when one could not be read back.
fn storable(items: &[AppendItem]) -> Result<Vec<Cow<'_, str>>, Failure> {
    let storable = items.iter().map(|item| {
        properties::storable(&item.event.properties).ok_or_else(|| {
            Failure::Refused(format!(
                "the properties of the event at position {} are no JSON object",
                item.position
            ))
        })
    });
    storable.collect()
}

impl Prepared {
    fn claim(&self, at: usize) -> Claim {
        (self.projects[at], self.items[at].event.id)
    }

    fn new_rows(&self, is_new: &[bool]) -> NewRows {
        let mut rows = NewRows::new();
        for ((item, project), _) in self
            .items
            .iter()
            .zip(&self.projects)
            .zip(is_new)
            .filter(|(_, is_new)| **is_new)
        {
            *rows.entry((*project, Month::of(item.event.timestamp))).or_default() += 1;
        }
        rows
    }
}

/// Locks the queue's row and returns its last stored position.
async fn lock_queue(lease: &mut Lease, queue: Uuid) -> sqlx::Result<Option<u64>> {
    let select = "select position from checkpoints where queue = $1 for update";
    let mut found: Option<Option<i64>> = sqlx::query_scalar(select)
        .bind(queue)
        .fetch_optional(&mut **lease)
        .await?;
    if found.is_none() {
        sqlx::query("insert into checkpoints (queue) values ($1) on conflict do nothing")
            .bind(queue)
            .execute(&mut **lease)
            .await?;
        found = sqlx::query_scalar(select)
            .bind(queue)
            .fetch_optional(&mut **lease)
            .await?;
    }
    Ok(found.flatten().map(i64::unsigned_abs))
}

/// Which items are new: not applied, the first of their id in the batch, and nobody else's.
async fn find_new(
    shared: &Shared,
    lease: &mut Lease,
    prepared: &Prepared,
    is_applied: impl Fn(u64) -> bool,
) -> sqlx::Result<Vec<bool>> {
    let mut seen = HashSet::with_capacity(prepared.items.len());
    let mut is_new = Vec::with_capacity(prepared.items.len());
    let mut claims: BTreeMap<i64, Vec<Claim>> = BTreeMap::new();
    let mut imported: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (at, item) in prepared.items.iter().enumerate() {
        let is_moved = item.event.deduplication.is_moved();
        let may_be_new = !is_applied(item.position) && (is_moved || seen.insert(prepared.claim(at)));
        is_new.push(may_be_new);
        if !may_be_new {
            continue;
        }
        if let Some(epoch) = claim_epoch(item, prepared.prepared_at) {
            claims.entry(epoch).or_default().push(prepared.claim(at));
        }
        if item.event.deduplication == Deduplication::History {
            imported.entry(prepared.projects[at]).or_default().push(at);
        }
    }
    let refused = claims::claim(shared, lease, &claims).await?;
    if !refused.is_empty() {
        for (at, item) in prepared.items.iter().enumerate() {
            let may_lose = !item.event.deduplication.is_moved() && claim_epoch(item, prepared.prepared_at).is_some();
            if may_lose {
                is_new[at] &= !refused.contains(&prepared.claim(at));
            }
        }
    }
    for (project, places) in imported {
        let known = known_imports(lease, project, &places, &prepared.items).await?;
        for at in places {
            is_new[at] &= !known.contains(&prepared.items[at].event.id);
        }
    }
    Ok(is_new)
}

/// The imported events that are there already. One that the server named keeps its time, so that the index finds it; one that its client named
/// is the same whatever time it tells (`semantics.md`, "Idempotency key"), and is looked for in all months.
async fn known_imports(
    connection: &mut PgConnection,
    project: i32,
    places: &[usize],
    items: &[AppendItem],
) -> sqlx::Result<HashSet<EventId>> {
    sqlx::query("select pg_advisory_xact_lock($1, $2)")
        .bind(IMPORT_LOCK)
        .bind(project)
        .execute(&mut *connection)
        .await?;
    let (named, unnamed): (Vec<usize>, Vec<usize>) = places
        .iter()
        .partition(|at| items[**at].event.client_event_id.is_some());
    let mut found: Vec<Uuid> = Vec::new();
    if !named.is_empty() {
        let ids: Vec<Uuid> = named.iter().map(|at| items[*at].event.id.0).collect();
        found = sqlx::query_scalar("select id from events where project_id = $1 and id = any($2)")
            .bind(project)
            .bind(ids)
            .fetch_all(&mut *connection)
            .await?;
    }
    let events = || unnamed.iter().map(|at| &items[*at].event);
    // `offset 0`: one look into the index for each, whatever the planner thinks of reading months whole.
    let at_their_times: Vec<Uuid> = sqlx::query_scalar(
        "select wanted.id from unnest($2::timestamp[], $3::uuid[]) as wanted(timestamp, id) \
         cross join lateral (select from events as event \
         where event.project_id = $1 and event.timestamp = wanted.timestamp and event.id = wanted.id offset 0) as known",
    )
    .bind(project)
    .bind(events().map(|event| Instant(event.timestamp)).collect::<Vec<_>>())
    .bind(events().map(|event| event.id.0).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().chain(at_their_times).map(EventId).collect())
}
