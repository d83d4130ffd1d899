//! The table `projects`.

use model::{PrivateKey, Project, ProjectChanges, ProjectId, PublicKey, Timestamp};
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool, query::Query, sqlite::SqliteArguments, sqlite::SqliteRow};
use store::MetaError;

use crate::{
    error::{unavailable, write_error},
    row,
};

pub(crate) async fn list(pool: &SqlitePool) -> Result<Vec<Project>, MetaError> {
    let rows = sqlx::query("select * from projects")
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    let mut projects = rows
        .iter()
        .map(read)
        .collect::<sqlx::Result<Vec<_>>>()
        .map_err(unavailable)?;
    // Not in SQL: times with and without a fraction do not sort as text.
    projects.sort_by_key(|project| (project.created_at, project.id));
    Ok(projects)
}

pub(crate) async fn get(connection: &mut SqliteConnection, id: ProjectId) -> Result<Project, MetaError> {
    let row = sqlx::query("select * from projects where id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?
        .ok_or_else(|| missing(id))?;
    read(&row).map_err(unavailable)
}

pub(crate) async fn create(connection: &mut SqliteConnection, project: &Project) -> Result<(), MetaError> {
    let insert = sqlx::query(
        "insert into projects (id, name, public_api_key, private_api_key, is_active, rate_limit_per_minute, \
         monthly_event_quota, retention_days, aggregation_retention_days, cors_allowed_origins, sampling_enabled, \
         sampling_rate, sampling_strategy, time_zone, cookie_identification, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    );
    bind(insert, project)
        .map_err(unavailable)?
        .execute(connection)
        .await
        .map_err(|error| write_error(error, || taken(project.id)))?;
    Ok(())
}

pub(crate) async fn update(
    connection: &mut SqliteConnection,
    id: ProjectId,
    changes: &ProjectChanges,
    now: Timestamp,
) -> Result<Project, MetaError> {
    let mut project = get(connection, id).await?;
    apply(&mut project, changes.clone());
    project.updated_at = now;
    let update = sqlx::query(
        "update projects set name = $2, public_api_key = $3, private_api_key = $4, is_active = $5, \
         rate_limit_per_minute = $6, monthly_event_quota = $7, retention_days = $8, aggregation_retention_days = $9, \
         cors_allowed_origins = $10, sampling_enabled = $11, sampling_rate = $12, sampling_strategy = $13, \
         time_zone = $14, cookie_identification = $15, created_at = $16, updated_at = $17 where id = $1",
    );
    bind(update, &project)
        .map_err(unavailable)?
        .execute(connection)
        .await
        .map_err(|error| write_error(error, || taken(id)))?;
    Ok(project)
}

pub(crate) async fn delete(pool: &SqlitePool, id: ProjectId) -> Result<(), MetaError> {
    let done = sqlx::query("delete from projects where id = $1")
        .bind(id.to_string())
        .execute(pool)
        .await
        .map_err(unavailable)?;
    if done.rows_affected() == 0 {
        return Err(missing(id));
    }
    Ok(())
}

/// Binds every field, in the order that both statements above number them.
fn bind<'query>(
    query: Query<'query, Sqlite, SqliteArguments>,
    project: &Project,
) -> sqlx::Result<Query<'query, Sqlite, SqliteArguments>> {
    // Beyond 2^63 events a month a quota limits nothing.
    let quota = project
        .monthly_event_quota
        .map(|quota| i64::try_from(quota).unwrap_or(i64::MAX));
    Ok(query
        .bind(project.id.to_string())
        .bind(project.name.clone())
        .bind(project.public_api_key.expose().to_owned())
        .bind(project.private_api_key.expose().to_owned())
        .bind(project.is_active)
        .bind(project.rate_limit_per_minute)
        .bind(quota)
        .bind(project.retention_days)
        .bind(project.aggregation_retention_days)
        .bind(row::json_text(&project.cors_allowed_origins)?)
        .bind(project.sampling_enabled)
        .bind(project.sampling_rate)
        .bind(row::strategy_name(project.sampling_strategy))
        .bind(project.time_zone.clone())
        .bind(project.cookie_identification)
        .bind(project.created_at.to_string())
        .bind(project.updated_at.to_string()))
}

fn read(row: &SqliteRow) -> sqlx::Result<Project> {
    Ok(Project {
        id: row::parsed(row, "id")?,
        name: row.try_get("name")?,
        public_api_key: PublicKey::from_stored(row.try_get("public_api_key")?),
        private_api_key: PrivateKey::from_stored(row.try_get("private_api_key")?),
        is_active: row.try_get("is_active")?,
        rate_limit_per_minute: row::number(row, "rate_limit_per_minute")?,
        monthly_event_quota: row::number(row, "monthly_event_quota")?,
        retention_days: row::number(row, "retention_days")?,
        aggregation_retention_days: row::number(row, "aggregation_retention_days")?,
        cors_allowed_origins: row::json(row, "cors_allowed_origins")?,
        sampling_enabled: row.try_get("sampling_enabled")?,
        sampling_rate: row.try_get("sampling_rate")?,
        sampling_strategy: row::strategy(row, "sampling_strategy")?.unwrap_or_default(),
        time_zone: row.try_get("time_zone")?,
        cookie_identification: row.try_get("cookie_identification")?,
        created_at: row::parsed(row, "created_at")?,
        updated_at: row::parsed(row, "updated_at")?,
    })
}

fn apply(project: &mut Project, changes: ProjectChanges) {
    // Taken apart in full, so that a new field cannot be forgotten here.
    let ProjectChanges {
        name,
        public_api_key,
        private_api_key,
        is_active,
        rate_limit_per_minute,
        monthly_event_quota,
        retention_days,
        aggregation_retention_days,
        cors_allowed_origins,
        sampling_enabled,
        sampling_rate,
        sampling_strategy,
        time_zone,
        cookie_identification,
    } = changes;
    set(&mut project.name, name);
    set(&mut project.public_api_key, public_api_key);
    set(&mut project.private_api_key, private_api_key);
    set(&mut project.is_active, is_active);
    set(&mut project.rate_limit_per_minute, rate_limit_per_minute);
    set(&mut project.monthly_event_quota, monthly_event_quota);
    set(&mut project.retention_days, retention_days);
    set(&mut project.aggregation_retention_days, aggregation_retention_days);
    set(&mut project.cors_allowed_origins, cors_allowed_origins);
    set(&mut project.sampling_enabled, sampling_enabled);
    set(&mut project.sampling_rate, sampling_rate);
    set(&mut project.sampling_strategy, sampling_strategy);
    set(&mut project.time_zone, time_zone);
    set(&mut project.cookie_identification, cookie_identification);
}

/// Replaces `field` where there is a change.
pub(crate) fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
    }
}

fn missing(id: ProjectId) -> MetaError {
    MetaError::NotFound {
        what: "project",
        id: id.to_string(),
    }
}

fn taken(id: ProjectId) -> String {
    format!("project {id}, or a project with one of its keys, is there already")
}
