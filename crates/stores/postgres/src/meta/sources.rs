//! The table `sources`.

use std::collections::HashMap;

use model::{ProjectId, Source, SourceChanges, SourceId, limits::SOURCES_PER_PROJECT_MAX};
use sqlx::{PgConnection, PgPool, Row, postgres::PgRow};
use store::MetaError;

use super::{
    error::{unavailable, write_error},
    projects::set,
    row,
};
use crate::types::Instant;

pub(super) async fn list(pool: &PgPool) -> Result<Vec<Source>, MetaError> {
    let rows = sqlx::query("select * from sources order by project_id, name")
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(unavailable)
}

pub(super) async fn ensure(connection: &mut PgConnection, sources: &[Source]) -> Result<u64, MetaError> {
    let mut added = 0;
    let mut room_by_project: HashMap<ProjectId, usize> = HashMap::new();
    for source in sources {
        let room = match room_by_project.get(&source.project_id) {
            Some(room) => *room,
            None => room_of(connection, source.project_id).await.map_err(unavailable)?,
        };
        let inserted = room > 0
            && insert(connection, source)
                .await
                .map_err(|error| write_error(error, || format!("source {} is there already", source.id)))?;
        added += u64::from(inserted);
        room_by_project.insert(source.project_id, room - usize::from(inserted));
    }
    Ok(added)
}

/// How many sources the project may still get; none when there is no such project.
async fn room_of(connection: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<usize> {
    let count: Option<i64> = sqlx::query_scalar(
        "select (select count(*) from sources where project_id = projects.id) from projects where id = $1",
    )
    .bind(project_id.0)
    .fetch_optional(connection)
    .await?;
    let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    Ok(SOURCES_PER_PROJECT_MAX.saturating_sub(count))
}

/// Whether the source was new.
async fn insert(connection: &mut PgConnection, source: &Source) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into sources (id, project_id, name, description, is_active, rate_limit_per_minute, sampling_enabled, \
         sampling_rate, sampling_strategy, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         on conflict do nothing",
    )
    .bind(source.id.0)
    .bind(source.project_id.0)
    .bind(&source.name)
    .bind(&source.description)
    .bind(source.is_active)
    .bind(source.rate_limit_per_minute.map(i64::from))
    .bind(source.sampling_enabled)
    .bind(source.sampling_rate)
    .bind(source.sampling_strategy.map(row::strategy_name))
    .bind(Instant(source.created_at))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn update(
    connection: &mut PgConnection,
    id: SourceId,
    changes: &SourceChanges,
) -> Result<Source, MetaError> {
    let row = sqlx::query("select * from sources where id = $1")
        .bind(id.0)
        .fetch_optional(&mut *connection)
        .await
        .map_err(unavailable)?
        .ok_or_else(|| MetaError::NotFound {
            what: "source",
            id: id.to_string(),
        })?;
    let mut source = read(&row).map_err(unavailable)?;
    apply(&mut source, changes.clone());
    sqlx::query(
        "update sources set description = $2, is_active = $3, rate_limit_per_minute = $4, sampling_enabled = $5, \
         sampling_rate = $6, sampling_strategy = $7 where id = $1",
    )
    .bind(id.0)
    .bind(&source.description)
    .bind(source.is_active)
    .bind(source.rate_limit_per_minute.map(i64::from))
    .bind(source.sampling_enabled)
    .bind(source.sampling_rate)
    .bind(source.sampling_strategy.map(row::strategy_name))
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(source)
}

fn read(row: &PgRow) -> sqlx::Result<Source> {
    Ok(Source {
        id: SourceId(row.try_get("id")?),
        project_id: ProjectId(row.try_get("project_id")?),
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        is_active: row.try_get("is_active")?,
        rate_limit_per_minute: row::number(row, "rate_limit_per_minute")?,
        sampling_enabled: row.try_get("sampling_enabled")?,
        sampling_rate: row.try_get("sampling_rate")?,
        sampling_strategy: row::strategy(row, "sampling_strategy")?,
        created_at: row::instant(row, "created_at")?,
    })
}

fn apply(source: &mut Source, changes: SourceChanges) {
    // Taken apart in full, so that a new field cannot be forgotten here.
    let SourceChanges {
        description,
        is_active,
        rate_limit_per_minute,
        sampling_enabled,
        sampling_rate,
        sampling_strategy,
    } = changes;
    set(&mut source.description, description);
    set(&mut source.is_active, is_active);
    set(&mut source.rate_limit_per_minute, rate_limit_per_minute);
    set(&mut source.sampling_enabled, sampling_enabled);
    set(&mut source.sampling_rate, sampling_rate);
    set(&mut source.sampling_strategy, sampling_strategy);
}
