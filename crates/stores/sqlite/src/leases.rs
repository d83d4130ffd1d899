//! The table `leases`. Time is SQLite's own, as it is the server's in PostgreSQL: the same clock decides for every process.

use std::time::Duration;

use sqlx::{Row, SqlitePool, sqlite::SqliteRow};
use store::{Lease, MetaError};

use crate::error::unavailable;

pub(crate) async fn take(pool: &SqlitePool, name: &str, holder: &str, duration: Duration) -> Result<Lease, MetaError> {
    // One statement, and SQLite's time stands still within it: nobody can come between the look and the change.
    let taken = sqlx::query(
        "insert into leases as held (name, holder, term, expires_at_ms) \
         values ($1, $2, 1, cast(unixepoch('subsec') * 1000 as integer) + $3) \
         on conflict (name) do update set holder = excluded.holder, expires_at_ms = excluded.expires_at_ms, \
         term = held.term + (held.holder <> excluded.holder or held.expires_at_ms <= excluded.expires_at_ms - $3) \
         where held.holder = excluded.holder or held.expires_at_ms <= excluded.expires_at_ms - $3 \
         returning holder, term, $3 as left_ms",
    )
    .bind(name)
    .bind(holder)
    .bind(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2))
    .fetch_optional(pool)
    .await
    .map_err(unavailable)?;
    let row = match taken {
        Some(row) => row,
        None => select(pool, name)
            .await?
            .ok_or_else(|| MetaError::Unavailable(format!("the lease {name} was removed a moment ago")))?,
    };
    read(&row).map_err(unavailable)
}

pub(crate) async fn get(pool: &SqlitePool, name: &str) -> Result<Option<Lease>, MetaError> {
    let row = select(pool, name).await?;
    let lease = row.as_ref().map(read).transpose().map_err(unavailable)?;
    Ok(lease.filter(|lease| !lease.expires_in.is_zero()))
}

pub(crate) async fn end(pool: &SqlitePool, name: &str, holder: &str) -> Result<(), MetaError> {
    sqlx::query("update leases set expires_at_ms = 0 where name = $1 and holder = $2")
        .bind(name)
        .bind(holder)
        .execute(pool)
        .await
        .map_err(unavailable)?;
    Ok(())
}

async fn select(pool: &SqlitePool, name: &str) -> Result<Option<SqliteRow>, MetaError> {
    sqlx::query(
        "select holder, term, expires_at_ms - cast(unixepoch('subsec') * 1000 as integer) as left_ms \
         from leases where name = $1",
    )
    .bind(name)
    .fetch_optional(pool)
    .await
    .map_err(unavailable)
}

fn read(row: &SqliteRow) -> sqlx::Result<Lease> {
    let left_ms: i64 = row.try_get("left_ms")?;
    let term: i64 = row.try_get("term")?;
    Ok(Lease {
        holder: row.try_get("holder")?,
        term: term.unsigned_abs(),
        expires_in: Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)),
    })
}
