//! The table `leases`. Time is the server's, so that clocks of the processes' machines do not matter.

use std::time::Duration;

use sqlx::{PgPool, Row, postgres::PgRow};
use store::{Lease, MetaError};

use super::error::unavailable;

pub(super) async fn take(pool: &PgPool, name: &str, holder: &str, duration: Duration) -> Result<Lease, MetaError> {
    // One statement. The condition is looked at, with the time as it is then, once the row is locked: of several callers one gets it. The
    // lease may begin earlier than that, where the row had to be waited for: it is then shorter, never longer.
    let taken = sqlx::query(
        "insert into leases as held (name, holder, term, expires_at) \
         values ($1, $2, 1, clock_timestamp() at time zone 'utc' + $3 * interval '1 microsecond') \
         on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at, \
         term = held.term + case when held.holder = excluded.holder and held.expires_at > clock_timestamp() at time zone 'utc' \
         then 0 else 1 end \
         where held.holder = excluded.holder or held.expires_at <= clock_timestamp() at time zone 'utc' \
         returning holder, term, $3 as left_micros",
    )
    .bind(name)
    .bind(holder)
    .bind(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2))
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

pub(super) async fn get(pool: &PgPool, name: &str) -> Result<Option<Lease>, MetaError> {
    let row = select(pool, name).await?;
    let lease = row.as_ref().map(read).transpose().map_err(unavailable)?;
    Ok(lease.filter(|lease| !lease.expires_in.is_zero()))
}

pub(super) async fn end(pool: &PgPool, name: &str, holder: &str) -> Result<(), MetaError> {
    sqlx::query("update leases set expires_at = '-infinity' where name = $1 and holder = $2")
        .bind(name)
        .bind(holder)
        .execute(pool)
        .await
        .map_err(unavailable)?;
    Ok(())
}

async fn select(pool: &PgPool, name: &str) -> Result<Option<PgRow>, MetaError> {
    sqlx::query(
        "select holder, term, case when expires_at > now then (extract(epoch from expires_at - now) * 1000000)::bigint \
         else 0 end as left_micros from leases, lateral (select clock_timestamp() at time zone 'utc' as now) as clock \
         where name = $1",
    )
    .bind(name)
    .fetch_optional(pool)
    .await
    .map_err(unavailable)
}

fn read(row: &PgRow) -> sqlx::Result<Lease> {
    let left_micros: i64 = row.try_get("left_micros")?;
    let term: i64 = row.try_get("term")?;
    Ok(Lease {
        holder: row.try_get("holder")?,
        term: term.unsigned_abs(),
        expires_in: Duration::from_micros(u64::try_from(left_micros).unwrap_or(0)),
    })
}
