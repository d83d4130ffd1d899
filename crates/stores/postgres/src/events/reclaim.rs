//! Giving space back: months of which much was deleted are written anew, empty ones are dropped.
//!
//! `VACUUM` gives nothing back from the middle of a file, and `VACUUM FULL` keeps readers out for as long as it works. So what is left of a
//! month is copied into a new table, and the two are exchanged in a moment without readers. Appends wait meanwhile, readers do not.

use std::collections::HashSet;

use model::limits;
use store::{Reclaimed, StoreError};

use super::{
    Shared,
    partitions::{self, Month},
    state,
};
use crate::{
    connect::Lease,
    failure::{is_locked, write_failed},
};

/// Tries to find a moment without readers. Each waits [`limits::POSTGRES_EXCHANGE_TIMEOUT`].
const EXCHANGE_TRIES: usize = 10;

/// See [`store::EventStore::reclaim`].
pub(super) async fn reclaim(store: &Shared, force: bool) -> Result<Reclaimed, StoreError> {
    let bytes_before = state::bytes(store).await?;
    let wanted: HashSet<Month> = Month::wanted(store.clock.now()).collect();
    let mut lease = Lease::take(&store.writers).await.map_err(write_failed)?;
    for month in partitions::list(&mut lease).await.map_err(write_failed)? {
        let found = Found::look(&mut lease, month).await.map_err(write_failed)?;
        if found.rows == 0 && !wanted.contains(&month) {
            drop_empty(store, &mut lease, month).await.map_err(write_failed)?;
        } else if found.is_worth_it(force) {
            rewrite(&mut lease, month).await.map_err(write_failed)?;
        }
    }
    lease.give_back();
    Ok(Reclaimed {
        bytes_before,
        bytes_after: state::bytes(store).await?,
    })
}

/// What is known of a partition.
struct Found {
    rows: u64,
    deleted: u64,
    bytes: u64,
}

impl Found {
    async fn look(lease: &mut Lease, month: Month) -> sqlx::Result<Self> {
        let (rows, deleted, bytes): (i64, i64, i64) = sqlx::query_as(
            "select coalesce((select sum(count) from event_counts where month = $1), 0)::bigint, \
             coalesce((select deleted from event_partitions where month = $1), 0), coalesce(pg_total_relation_size(to_regclass($2)), 0)",
        )
        .bind(month.0)
        .bind(month.name())
        .fetch_one(&mut **lease)
        .await?;
        Ok(Self {
            rows: rows.unsigned_abs(),
            deleted: deleted.unsigned_abs(),
            bytes: bytes.unsigned_abs(),
        })
    }

    /// As if each row were as large as any other, and no deleted one's room were used again.
    fn is_worth_it(&self, force: bool) -> bool {
        if self.deleted == 0 || force {
            return self.deleted > 0;
        }
        let percent = self.deleted * 100 / (self.deleted + self.rows);
        let waste = u64::try_from(u128::from(self.bytes) * u128::from(percent) / 100).unwrap_or(u64::MAX);
        percent >= limits::STORE_COMPACT_PERCENT_MIN && waste >= limits::STORE_COMPACT_BYTES_MIN
    }
}

/// Drops the partition of a month without rows. Not now, if it gets rows or readers: the next time finds it again.
async fn drop_empty(store: &Shared, lease: &mut Lease, month: Month) -> sqlx::Result<()> {
    let (name, wait) = (month.name(), limits::POSTGRES_EXCHANGE_TIMEOUT.as_millis());
    let begun = lease.run(format!(
        "begin; set local lock_timeout = {wait}; lock table only events in access exclusive mode; lock table only {name} in access exclusive mode"
    ));
    match begun.await {
        Err(error) if is_locked(&error) => return lease.run("rollback").await,
        begun => begun?,
    }
    let rows: i64 = sqlx::query_scalar("select coalesce(sum(count), 0)::bigint from event_counts where month = $1")
        .bind(month.0)
        .fetch_one(&mut **lease)
        .await?;
    if rows != 0 {
        return lease.run("rollback").await;
    }
    lease
        .run(format!(
            "drop table {name}; delete from event_partitions where month = {0}; delete from event_counts where month = {0}; commit",
            month.0
        ))
        .await?;
    store.known.forget_schema();
    Ok(())
}

/// Writes a month anew and exchanges it.
async fn rewrite(lease: &mut Lease, month: Month) -> sqlx::Result<()> {
    let name = month.name();
    let time = limits::STORE_COMPACT_TIME_MAX.as_millis();
    // The parent first: whoever appends waits there, before it holds anything that is needed here. The check spares the exchange a scan.
    lease
        .run(format!(
            "begin; set local statement_timeout = {time}; set local idle_in_transaction_session_timeout = 0; \
             lock table only events in share mode; lock table only {name} in share mode; \
             create table {name}_anew (like events including all, constraint its_month check ({condition})); \
             insert into {name}_anew select * from only {name}",
            condition = month.condition()
        ))
        .await?;
    let mut tries = 1;
    let wait = limits::POSTGRES_EXCHANGE_TIMEOUT.as_millis();
    loop {
        let locked = lease.run(format!(
            "savepoint exchange; set local lock_timeout = {wait}; lock table only events in access exclusive mode"
        ));
        match locked.await {
            Err(error) if is_locked(&error) && tries < EXCHANGE_TRIES => {
                tries += 1;
                lease.run("rollback to savepoint exchange").await?;
                // Readers that waited behind this go first.
                tokio::time::sleep(limits::POSTGRES_EXCHANGE_TIMEOUT / 4).await;
            }
            locked => {
                locked?;
                break;
            }
        }
    }
    lease
        .run(format!(
            "alter table events detach partition {name}; drop table {name}; alter table {name}_anew rename to {name}; {attach}; \
             alter table {name} drop constraint its_month; update event_partitions set deleted = 0 where month = {number}; commit",
            attach = month.attach_sql(),
            number = month.0
        ))
        .await
}
