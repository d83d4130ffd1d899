//! Deleting: a month that nobody keeps is emptied at once, the rest goes row by row.

use std::collections::BTreeMap;

use model::{ProjectId, Timestamp, limits};
use store::StoreError;

use super::{
    Shared, numbers,
    partitions::{self, Month},
};
use crate::{
    connect::Lease,
    failure::{is_locked, read_failed, write_failed},
    types::Instant,
};

/// How many events a deletion would take.
pub(super) async fn count(store: &Shared, project: ProjectId, before: Option<Timestamp>) -> Result<u64, StoreError> {
    let number = numbers::project(store, &store.readers, project)
        .await
        .map_err(read_failed)?;
    let count: i64 = sqlx::query_scalar(
        "select count(*) from events where project_id = $1 and ($2::timestamp is null or timestamp < $2)",
    )
    .bind(number.unwrap_or(numbers::NO_PROJECT))
    .bind(before.map(Instant))
    .fetch_one(&store.readers)
    .await
    .map_err(read_failed)?;
    Ok(count.unsigned_abs())
}

/// Deletes a project's events before a time, or all of them.
pub(super) async fn delete(store: &Shared, project: ProjectId, before: Option<Timestamp>) -> Result<u64, StoreError> {
    let deleted = delete_from(store, &[(project, before)]).await?;
    Ok(deleted.into_iter().sum())
}

/// The same for many projects: a month that all of them have done with goes at once.
pub(super) async fn delete_expired(store: &Shared, expired: &[(ProjectId, Timestamp)]) -> Result<Vec<u64>, StoreError> {
    let expired: Vec<_> = expired
        .iter()
        .map(|(project, before)| (*project, Some(*before)))
        .collect();
    delete_from(store, &expired).await
}

async fn delete_from(store: &Shared, expired: &[(ProjectId, Option<Timestamp>)]) -> Result<Vec<u64>, StoreError> {
    let mut deletion = Deletion::default();
    let mut numbers = Vec::with_capacity(expired.len());
    for (project, before) in expired {
        let number = numbers::project(store, &store.writers, *project)
            .await
            .map_err(write_failed)?;
        numbers.push(number);
        if let Some(number) = number {
            deletion.before.insert(number, *before);
        }
    }
    let mut lease = Lease::take(&store.writers).await.map_err(write_failed)?;
    deletion.run(&mut lease).await.map_err(write_failed)?;
    lease.give_back();
    let deleted = |number: Option<i32>| number.and_then(|number| deletion.deleted.get(&number)).copied();
    Ok(numbers.into_iter().map(|number| deleted(number).unwrap_or(0)).collect())
}

#[derive(Default)]
struct Deletion {
    /// The first instant that each project keeps; `None`: it keeps nothing.
    before: BTreeMap<i32, Option<Timestamp>>,
    deleted: BTreeMap<i32, u64>,
}

impl Deletion {
    async fn run(&mut self, lease: &mut Lease) -> sqlx::Result<()> {
        for month in partitions::list(lease).await? {
            let mut projects = projects_in(lease, month).await?;
            projects.retain(|project| self.reaches(*project, month));
            if !projects.is_empty() && !self.empty(lease, month).await? {
                for project in projects {
                    self.delete_rows(lease, month, project).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether a project may have events of the month to delete.
    fn reaches(&self, project: i32, month: Month) -> bool {
        match self.before.get(&project) {
            None => false,
            Some(None) => true,
            Some(Some(before)) => month <= Month::of(*before),
        }
    }

    /// Whether a project keeps nothing of the month.
    fn covers(&self, project: i32, month: Month) -> bool {
        match self.before.get(&project) {
            None => false,
            Some(None) => true,
            Some(Some(before)) => month.is_before(*before),
        }
    }

    /// Empties a month of which nobody keeps anything: a new file instead of its rows. `false` when somebody does, or when readers did not
    /// let go of it for a moment.
    async fn empty(&mut self, lease: &mut Lease, month: Month) -> sqlx::Result<bool> {
        let covered = |projects: &[i32]| projects.iter().all(|project| self.covers(*project, month));
        if !covered(&projects_in(lease, month).await?) {
            return Ok(false);
        }
        let name = month.name();
        let wait = limits::POSTGRES_EXCHANGE_TIMEOUT.as_millis();
        let locked = lease.run(format!(
            "begin; set local lock_timeout = {wait}; lock table only {name} in access exclusive mode"
        ));
        match locked.await {
            Err(error) if is_locked(&error) => {
                lease.run("rollback").await?;
                return Ok(false);
            }
            locked => locked?,
        }
        // Whoever added rows has told so before it let go of the table: now the counts are exact.
        if !covered(&projects_in(lease, month).await?) {
            lease.run("rollback").await?;
            return Ok(false);
        }
        let gone: Vec<(i32, i64)> =
            sqlx::query_as("delete from event_counts where month = $1 returning project, count")
                .bind(month.0)
                .fetch_all(&mut **lease)
                .await?;
        lease
            .run(format!(
                "truncate only {name}; update event_partitions set deleted = 0 where month = {}; commit",
                month.0
            ))
            .await?;
        for (project, count) in gone {
            *self.deleted.entry(project).or_default() += count.unsigned_abs();
        }
        Ok(true)
    }

    async fn delete_rows(&mut self, lease: &mut Lease, month: Month, project: i32) -> sqlx::Result<()> {
        let before = self.before.get(&project).copied().flatten();
        let name = month.name();
        let delete = format!(
            "delete from only {name} where ctid = any(array(select ctid from only {name} \
             where project_id = $1 and ($2::timestamp is null or timestamp < $2) limit $3))"
        );
        loop {
            lease.run("begin").await?;
            let done = sqlx::query(sqlx::AssertSqlSafe(delete.clone()))
                .bind(project)
                .bind(before.map(Instant))
                .bind(limits::POSTGRES_DELETE_ROWS)
                .execute(&mut **lease)
                .await?;
            let deleted = i64::try_from(done.rows_affected()).unwrap_or(i64::MAX);
            sqlx::query(
                "with counted as (update event_counts set count = count - $3 where project = $1 and month = $2) \
                 update event_partitions set deleted = deleted + $3 where month = $2",
            )
            .bind(project)
            .bind(month.0)
            .bind(deleted)
            .execute(&mut **lease)
            .await?;
            lease.run("commit").await?;
            *self.deleted.entry(project).or_default() += done.rows_affected();
            if deleted < limits::POSTGRES_DELETE_ROWS {
                return Ok(());
            }
        }
    }
}

/// The projects that have rows of a month.
async fn projects_in(lease: &mut Lease, month: Month) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar("select project from event_counts where month = $1 and count > 0 order by project")
        .bind(month.0)
        .fetch_all(&mut **lease)
        .await
}
