//! Claims: who was first to bring an event of an id that its client made.
//!
//! Claims are kept by epochs of `received_at`, one table each, and an epoch is dropped whole once it and the one after it have passed: a claim
//! is known for one to two epochs, and nothing is deleted row by row. A retry in the next epoch is looked up among its neighbours.
//!
//! Two processes that claim one id in the same epoch meet in the primary key. In two epochs next to one another they would not: so whoever
//! claims in an epoch locks its neighbours against claims until it commits. Claims take `row exclusive`, that lock is `share`: each goes well
//! with itself, so that writers of one epoch never wait for one another, and writers on both sides of its end take turns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{PoisonError, atomic::Ordering},
};

use model::{EventId, Timestamp, ledger::utc_day, limits};

use super::Shared;
use crate::{
    connect::{Lease, SCHEMA_LOCK},
    failure::is_conflict,
};

/// Days of an epoch: one more than must be remembered, so that the clock of a retry may be a day off.
const EPOCH_DAYS: i64 = limits::IDEMPOTENCY_WINDOW_DAYS + 1;
/// What the names of the tables begin with.
pub(super) const PREFIX: &str = "event_ids_";

/// A claim that is asked for: the project's number and the id.
pub(super) type Claim = (i32, EventId);

/// The epoch that an instant of receipt lies in.
pub(super) fn epoch_of(received_at: Timestamp) -> i64 {
    i64::from(utc_day(received_at)).div_euclid(EPOCH_DAYS)
}

fn table(epoch: i64) -> String {
    // A minus sign would need quotes.
    format!("{PREFIX}{epoch}").replace('-', "minus_")
}

/// An epoch with its neighbours.
fn around(epoch: i64) -> [i64; 3] {
    [epoch - 1, epoch, epoch + 1]
}

/// Makes the tables that claims of these epochs need. A new one is the occasion to drop those that have passed, seen from it and from `now`
/// alike: neither a clock that jumped ahead nor an old backlog makes recent claims forgotten.
pub(super) async fn ensure(store: &Shared, epochs: &BTreeSet<i64>, now: Timestamp) -> sqlx::Result<()> {
    let wanted: BTreeSet<i64> = epochs.iter().copied().flat_map(around).collect();
    let missing: Vec<i64> = {
        let known = store.known.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.into_iter().filter(|epoch| !known.contains(epoch)).collect()
    };
    let Some(oldest) = epochs.first().filter(|_| !missing.is_empty()) else {
        return Ok(());
    };
    let mut lease = Lease::take(&store.writers).await?;
    lease
        .run(format!("begin; select pg_advisory_xact_lock({SCHEMA_LOCK})"))
        .await?;
    for epoch in &missing {
        // Nothing is ever deleted from it, so there is nothing to vacuum.
        lease
            .run(format!(
                "create table if not exists {} (project integer not null, id uuid not null, primary key (id, project)) \
                 with (autovacuum_enabled = off)",
                table(*epoch)
            ))
            .await?;
    }
    let kept = oldest.min(&epoch_of(now)) - 1;
    for passed in existing(&mut lease).await?.into_iter().filter(|epoch| *epoch < kept) {
        lease.run(format!("drop table {}", table(passed))).await?;
    }
    lease.run("commit").await?;
    lease.give_back();
    store
        .known
        .epochs
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(missing);
    Ok(())
}

async fn existing(lease: &mut Lease) -> sqlx::Result<Vec<i64>> {
    let names: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = current_schema() and starts_with(tablename, $1)",
    )
    .bind(PREFIX)
    .fetch_all(&mut **lease)
    .await?;
    let epoch = |name: &String| name.strip_prefix(PREFIX)?.replace("minus_", "-").parse().ok();
    Ok(names.iter().filter_map(epoch).collect())
}

/// Locks the epochs that claims are about to be made in, and their neighbours: always in the same order.
fn lock_sql(epochs: impl Iterator<Item = i64> + Clone) -> String {
    let claimed: BTreeSet<i64> = epochs.clone().collect();
    let neighbours: BTreeSet<i64> = epochs.flat_map(|epoch| [epoch - 1, epoch + 1]).collect();
    let locks = claimed.union(&neighbours).map(|epoch| {
        let mode = match (claimed.contains(epoch), neighbours.contains(epoch)) {
            (true, true) => "share row exclusive",
            (true, false) => "row exclusive",
            (false, _) => "share",
        };
        format!("lock table {} in {mode} mode", table(*epoch))
    });
    locks.collect::<Vec<_>>().join("; ")
}

/// Claims, in the transaction under way. Returns what was refused, because it is somebody else's: mostly nothing, so that nothing is sent back.
///
/// An insertion that minds conflicts takes nearly twice as long, so it comes second: after a plain one that met a conflict, and for as long as
/// batches have some.
pub(super) async fn claim(
    store: &Shared,
    lease: &mut Lease,
    wanted: &BTreeMap<i64, Vec<Claim>>,
) -> sqlx::Result<HashSet<Claim>> {
    let mut refused = HashSet::new();
    if wanted.is_empty() {
        return Ok(refused);
    }
    let locks = lock_sql(wanted.keys().copied());
    let meets_conflicts = &store.known.meets_conflicts;
    let is_hopeful = !meets_conflicts.load(Ordering::Relaxed);
    lease
        .run(if is_hopeful {
            format!("{locks}; savepoint claims")
        } else {
            locks
        })
        .await?;
    if is_hopeful {
        match insert(lease, wanted, false, &mut refused).await {
            Err(error) if is_conflict(&error) => {
                lease
                    .run("rollback to savepoint claims; release savepoint claims")
                    .await?
            }
            inserted => {
                inserted?;
                return Ok(refused);
            }
        }
    }
    refused.clear();
    insert(lease, wanted, true, &mut refused).await?;
    meets_conflicts.store(!refused.is_empty(), Ordering::Relaxed);
    Ok(refused)
}

/// Inserts claims, and adds those that were not inserted to `refused`.
async fn insert(
    lease: &mut Lease,
    wanted: &BTreeMap<i64, Vec<Claim>>,
    may_conflict: bool,
    refused: &mut HashSet<Claim>,
) -> sqlx::Result<()> {
    for (epoch, claims) in wanted {
        // Equal order everywhere: two processes that want the same ids wait for one another, and never in a circle.
        let mut claims = claims.clone();
        claims.sort_unstable_by_key(|(project, id)| (*id, *project));
        let (projects, ids): (Vec<i32>, Vec<uuid::Uuid>) = claims.iter().map(|(project, id)| (*project, id.0)).unzip();
        let own = table(*epoch);
        let mut sql = format!(
            "insert into {own} (project, id) \
             select wanted.project, wanted.id from unnest($1::integer[], $2::uuid[]) as wanted(project, id) where true"
        );
        for neighbour in [epoch - 1, epoch + 1] {
            // The one after has claims only around its beginning, and a look for each id costs as much as half of its claim.
            if has_claims(lease, neighbour).await? {
                let other = table(neighbour);
                // Not flattened by the planner: it would read the table whole.
                sql.push_str(&format!(
                    " and not exists (select from {other} as other where other.id = wanted.id and other.project = wanted.project offset 0)"
                ));
            }
        }
        if may_conflict {
            sql.push_str(" on conflict do nothing");
        }
        let granted = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&projects)
            .bind(&ids)
            .execute(&mut **lease)
            .await?
            .rows_affected();
        if granted < claims.len() as u64 {
            refused.extend(not_ours(lease, &own, may_conflict, projects, ids).await?);
        }
    }
    Ok(())
}

/// Those of the claims that this transaction has not made. Without conflicts all that are there are its own.
async fn not_ours(
    lease: &mut Lease,
    table: &str,
    may_conflict: bool,
    projects: Vec<i32>,
    ids: Vec<uuid::Uuid>,
) -> sqlx::Result<impl Iterator<Item = Claim>> {
    let mark = if may_conflict {
        "and own.xmin = pg_current_xact_id()::xid"
    } else {
        ""
    };
    // One look into the index for each: `offset 0` keeps the planner from reading the table whole.
    let rows: Vec<(i32, uuid::Uuid)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select wanted.project, wanted.id from unnest($1::integer[], $2::uuid[]) as wanted(project, id) \
         where not exists (select from {table} as own where own.id = wanted.id and own.project = wanted.project \
         {mark} offset 0)"
    )))
    .bind(projects)
    .bind(ids)
    .fetch_all(&mut **lease)
    .await?;
    Ok(rows.into_iter().map(|(project, id)| (project, EventId(id))))
}

/// As of when each of these ids of a project is claimed, in order: the beginning of its last epoch.
pub(super) async fn claimed_at(store: &Shared, project: i32, ids: &[EventId]) -> sqlx::Result<Vec<Option<Timestamp>>> {
    let mut lease = Lease::take(&store.readers).await?;
    let mut last: HashMap<EventId, i64> = HashMap::new();
    let wanted: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
    for epoch in existing(&mut lease).await? {
        let found: Vec<uuid::Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select wanted.id from unnest($2::uuid[]) as wanted(id) \
             cross join lateral (select from {} as claim where claim.id = wanted.id and claim.project = $1 offset 0) as known",
            table(epoch)
        )))
        .bind(project)
        .bind(&wanted)
        .fetch_all(&mut *lease)
        .await?;
        for id in found {
            let last = last.entry(EventId(id)).or_insert(epoch);
            *last = epoch.max(*last);
        }
    }
    lease.give_back();
    let beginning = |epoch: &i64| Timestamp::default().saturating_add_seconds(epoch * EPOCH_DAYS * 86_400);
    Ok(ids.iter().map(|id| last.get(id).map(beginning)).collect())
}

/// Whether there is any claim of an epoch that is locked against new ones.
async fn has_claims(lease: &mut Lease, epoch: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "select exists (select from {})",
        table(epoch)
    )))
    .fetch_one(&mut **lease)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_in_order_and_the_strongest_at_once() {
        assert_eq!(
            lock_sql([2600].into_iter()),
            "lock table event_ids_2599 in share mode; lock table event_ids_2600 in row exclusive mode; \
             lock table event_ids_2601 in share mode"
        );
        assert_eq!(
            lock_sql([2601, 2600].into_iter()),
            "lock table event_ids_2599 in share mode; lock table event_ids_2600 in share row exclusive mode; \
             lock table event_ids_2601 in share row exclusive mode; lock table event_ids_2602 in share mode"
        );
        assert_eq!(table(-3), "event_ids_minus_3");
    }
}
