//! What is there: checkpoints, ledger, status, and whether the database is.

use model::{EventId, LedgerEntry, ProjectId, Timestamp};
use store::{Checkpoint, StoreError, StoreStatus, event_store::ProjectStatus};
use uuid::Uuid;

use super::{Shared, claims, numbers};
use crate::{
    failure::{read_failed, sentence},
    types::Instant,
};

/// How far a queue has been stored.
pub(super) async fn checkpoint(store: &Shared, queue: Uuid) -> Result<Option<u64>, StoreError> {
    let found: Option<Option<i64>> = sqlx::query_scalar("select position from checkpoints where queue = $1")
        .bind(queue)
        .fetch_optional(&store.writers)
        .await
        .map_err(read_failed)?;
    Ok(found.flatten().map(i64::unsigned_abs))
}

/// How far every queue has been stored.
pub(super) async fn checkpoints(store: &Shared) -> Result<Vec<Checkpoint>, StoreError> {
    let found: Vec<(Uuid, i64)> =
        sqlx::query_as("select queue, position from checkpoints where position is not null order by queue")
            .fetch_all(&store.readers)
            .await
            .map_err(read_failed)?;
    let checkpoints = found.into_iter().map(|(queue, position)| Checkpoint {
        queue,
        position: position.unsigned_abs(),
    });
    Ok(checkpoints.collect())
}

/// As of when ids are claimed.
pub(super) async fn claims(
    store: &Shared,
    project: ProjectId,
    ids: &[EventId],
) -> Result<Vec<Option<Timestamp>>, StoreError> {
    let number = numbers::project(store, &store.readers, project)
        .await
        .map_err(read_failed)?;
    match number {
        Some(number) => claims::claimed_at(store, number, ids).await.map_err(read_failed),
        None => Ok(vec![None; ids.len()]),
    }
}

/// Every entry of the ledger.
pub(super) async fn ledger(store: &Shared) -> Result<Vec<LedgerEntry>, StoreError> {
    let rows: Vec<(Uuid, i32, String, i64)> =
        sqlx::query_as("select project_id, day, outcome, count from ledger order by project_id, day, outcome")
            .fetch_all(&store.readers)
            .await
            .map_err(read_failed)?;
    let entries = rows.into_iter().map(|(project, day, outcome, count)| {
        Ok(LedgerEntry {
            project_id: ProjectId(project),
            day,
            outcome: outcome
                .parse()
                .map_err(|error| StoreError::Unavailable(format!("the ledger: {error}")))?,
            count: count.unsigned_abs(),
        })
    });
    entries.collect()
}

/// The state now. Rows are counted as they are stored and deleted, so that only the last day is looked at.
pub(super) async fn status(store: &Shared, now: Timestamp) -> Result<StoreStatus, StoreError> {
    let rows: Vec<(Uuid, i64, i64, i64, Option<Instant>)> = sqlx::query_as(
        "select project.id, counted.count, recent.last_hour, recent.last_day, latest.timestamp \
         from (select project, sum(count)::bigint as count from event_counts group by project having sum(count) > 0) as counted \
         join event_projects as project on project.number = counted.project \
         cross join lateral (select count(*) filter (where timestamp > $1) as last_hour, count(*) as last_day \
         from events where project_id = counted.project and timestamp > $2 and timestamp <= $3) as recent \
         left join lateral (select timestamp from events where project_id = counted.project \
         order by timestamp desc limit 1) as latest on true \
         order by project.number",
    )
    .bind(Instant(now.saturating_add_seconds(-3_600)))
    .bind(Instant(now.saturating_add_seconds(-86_400)))
    .bind(Instant(now))
    .fetch_all(&store.readers)
    .await
    .map_err(read_failed)?;
    let projects: Vec<ProjectStatus> = rows
        .into_iter()
        .map(|(id, events, last_hour, last_day, latest)| ProjectStatus {
            project_id: ProjectId(id),
            events: events.unsigned_abs(),
            events_last_hour: last_hour.unsigned_abs(),
            events_last_day: last_day.unsigned_abs(),
            latest: latest.map(|latest| latest.0),
        })
        .collect();
    Ok(StoreStatus {
        events: projects.iter().map(|project| project.events).sum(),
        bytes: bytes(store).await?,
        projects,
    })
}

/// Bytes on disk of everything that holds events or knows of them.
pub(super) async fn bytes(store: &Shared) -> Result<u64, StoreError> {
    let bytes: i64 = sqlx::query_scalar(
        "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from (\
         select relid as oid from pg_partition_tree('events') \
         union all select oid from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace \
         and (starts_with(relname, $1) or relname in ('event_users', 'event_projects', 'event_counts', 'ledger', 'checkpoints'))\
         ) as tables",
    )
    .bind(claims::PREFIX)
    .fetch_one(&store.readers)
    .await
    .map_err(read_failed)?;
    Ok(bytes.unsigned_abs())
}

/// Whether reading and writing would work.
pub(super) async fn check(store: &Shared) -> Result<(), StoreError> {
    let unavailable = |error: sqlx::Error| StoreError::Unavailable(sentence(&error));
    // On a connection of writers: those of readers are read-only by themselves.
    let read_only: bool = sqlx::query_scalar(
        "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean from (select count(*) from changes) as reading",
    )
    .fetch_one(&store.writers)
    .await
    .map_err(unavailable)?;
    if read_only {
        return Err(StoreError::Unavailable(
            "PostgreSQL takes no writes: it is a standby, or read-only by its settings".to_owned(),
        ));
    }
    Ok(())
}
