//! Appending a batch: everything that can be found out before, then one transaction.
//!
//! The transaction locks the row of the queue's checkpoint first. Whoever else stores from the same queue waits there, and then finds the
//! positions applied.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use model::{Deduplication, EventId, ProjectId};
use sqlx::PgConnection;
use store::{AppendBatch, AppendItem, AppendOutcome, AppendReport, StoreError, properties};
use uuid::Uuid;

use super::{
    PostgresEventStore,
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

/// Stores a batch; see [`store::EventStore::append`].
pub(super) async fn append(store: &PostgresEventStore, batch: &AppendBatch) -> Result<AppendReport, StoreError> {
    let properties = storable(batch)?;
    let mut tries = 1;
    loop {
        match try_append(store, batch, &properties).await {
            Ok(outcomes) => return Ok(AppendReport { outcomes }),
            Err(error) if is_stale(&error) && tries < TRIES => {
                tries += 1;
                store.known.forget_schema();
            }
            Err(error) => return Err(write_failed(error)),
        }
    }
}

/// The properties of every event as they can be stored; refused when one could not be read back.
fn storable(batch: &AppendBatch) -> Result<Vec<Cow<'_, str>>, StoreError> {
    let items = batch.items.iter();
    items
        .map(|item| {
            properties::storable(&item.event.properties).ok_or_else(|| {
                StoreError::Refused(format!(
                    "the properties of the event at position {} are no JSON object",
                    item.position
                ))
            })
        })
        .collect()
}

/// A batch with its rows, before anybody knows which of them are new.
struct Prepared<'a> {
    items: &'a [AppendItem],
    /// The number of each one's project.
    projects: Vec<i32>,
    rows: Encoded,
}

async fn try_append(
    store: &PostgresEventStore,
    batch: &AppendBatch,
    properties: &[Cow<'_, str>],
) -> sqlx::Result<Vec<AppendOutcome>> {
    let prepared = prepare(store, batch, properties).await?;
    let mut lease = Lease::take(&store.writers).await?;
    lease.run("begin").await?;
    let stored = match batch.checkpoint {
        Some(checkpoint) => lock_queue(&mut lease, checkpoint.queue).await?,
        None => None,
    };
    let is_applied = |position| stored.is_some_and(|stored| position <= stored);
    let is_new = find_new(&mut lease, &prepared, is_applied).await?;
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
async fn prepare<'a>(
    store: &PostgresEventStore,
    batch: &'a AppendBatch,
    properties: &[Cow<'_, str>],
) -> sqlx::Result<Prepared<'a>> {
    let now = store.clock.now();
    let items = &batch.items[..];
    if items.is_empty() {
        return Ok(Prepared {
            items,
            projects: Vec::new(),
            rows: Encoded::default(),
        });
    }
    let ids: HashSet<ProjectId> = items.iter().map(|item| item.event.project_id).collect();
    let numbers: HashMap<ProjectId, i32> = numbers::projects(store, ids.into_iter()).await?;
    let projects: Vec<i32> = items.iter().map(|item| numbers[&item.event.project_id]).collect();
    let users: Vec<(i32, &str)> = projects
        .iter()
        .zip(items)
        .map(|(project, item)| (*project, item.event.user_id.as_str()))
        .collect();
    let uids = numbers::users(store, &users).await?;
    let months: BTreeSet<Month> = items.iter().map(|item| Month::of(item.event.timestamp)).collect();
    partitions::ensure(store, months.into_iter().chain(Month::wanted(now))).await?;
    let claiming = items
        .iter()
        .filter(|item| item.event.deduplication == Deduplication::Window);
    let epochs: BTreeSet<i64> = claiming.map(|item| claims::epoch_of(item.event.received_at)).collect();
    claims::ensure(store, &epochs, now).await?;
    let mut rows = Encoded::default();
    for (((item, properties), project), uid) in items.iter().zip(properties).zip(&projects).zip(&uids) {
        rows.push(&item.event, properties, *project, *uid);
    }
    Ok(Prepared { items, projects, rows })
}

impl Prepared<'_> {
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
    lease: &mut Lease,
    prepared: &Prepared<'_>,
    is_applied: impl Fn(u64) -> bool,
) -> sqlx::Result<Vec<bool>> {
    let mut seen = HashSet::with_capacity(prepared.items.len());
    let mut is_new = Vec::with_capacity(prepared.items.len());
    let mut claims: BTreeMap<i64, Vec<Claim>> = BTreeMap::new();
    let mut imported: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (at, item) in prepared.items.iter().enumerate() {
        let may_be_new = !is_applied(item.position) && seen.insert(prepared.claim(at));
        is_new.push(may_be_new);
        match item.event.deduplication {
            Deduplication::Window if may_be_new => {
                let epoch = claims::epoch_of(item.event.received_at);
                claims.entry(epoch).or_default().push(prepared.claim(at));
            }
            Deduplication::History if may_be_new => imported.entry(prepared.projects[at]).or_default().push(at),
            _ => {}
        }
    }
    let granted = claims::claim(lease, &claims).await?;
    for (at, item) in prepared.items.iter().enumerate() {
        if is_new[at] && item.event.deduplication == Deduplication::Window {
            is_new[at] = granted.contains(&prepared.claim(at));
        }
    }
    for (project, places) in imported {
        let known = known_imports(lease, project, &places, prepared.items).await?;
        for at in places {
            is_new[at] = !known.contains(&prepared.items[at].event.id);
        }
    }
    Ok(is_new)
}

/// The imported events that are there already: each keeps its time, so that the index finds it.
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
    let events = || places.iter().map(|at| &items[*at].event);
    // `offset 0`: one look into the index for each, whatever the planner thinks of reading months whole.
    let found: Vec<Uuid> = sqlx::query_scalar(
        "select wanted.id from unnest($2::timestamp[], $3::uuid[]) as wanted(timestamp, id) \
         cross join lateral (select from events as event \
         where event.project_id = $1 and event.timestamp = wanted.timestamp and event.id = wanted.id offset 0) as known",
    )
    .bind(project)
    .bind(events().map(|event| Instant(event.timestamp)).collect::<Vec<_>>())
    .bind(events().map(|event| event.id.0).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().map(EventId).collect())
}
