//! What a batch says beside its rows: where events ended, how many rows are where, how far the queue is stored.

use std::collections::BTreeMap;

use model::{LedgerEntry, Outcome, ProjectId, ledger::utc_day};
use sqlx::PgConnection;
use store::{AppendBatch, AppendOutcome, Checkpoint};
use uuid::Uuid;

use super::partitions::Month;

/// What a batch adds to the ledger, in order: writers that meet in its rows wait for one another, never in a circle.
pub(super) type Counts = BTreeMap<(ProjectId, i32, Outcome), u64>;

/// New rows by project and partition.
pub(super) type NewRows = BTreeMap<(i32, Month), i64>;

/// Counts the outcomes of a batch's items, and the counts that it brings. `is_applied` tells positions of an earlier delivery.
pub(super) fn count(batch: &AppendBatch, outcomes: &[AppendOutcome], is_applied: impl Fn(u64) -> bool) -> Counts {
    let mut counts = Counts::new();
    for (item, outcome) in batch.items.iter().zip(outcomes) {
        if let Some(outcome) = outcome.counted()
            && !item.event.deduplication.is_moved()
        {
            let key = (item.event.project_id, utc_day(item.event.received_at), outcome);
            *counts.entry(key).or_default() += 1;
        }
    }
    for (position, entry) in &batch.counts {
        let LedgerEntry {
            project_id,
            day,
            outcome,
            count,
        } = entry;
        if *count > 0 && !is_applied(*position) {
            *counts.entry((*project_id, *day, *outcome)).or_default() += count;
        }
    }
    counts
}

/// Adds all of it to the transaction under way, in one statement.
pub(super) async fn record(
    connection: &mut PgConnection,
    counts: &Counts,
    rows: &NewRows,
    checkpoint: Option<Checkpoint>,
) -> sqlx::Result<()> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let projects: Vec<Uuid> = counts.keys().map(|(project, _, _)| project.0).collect();
    let days: Vec<i32> = counts.keys().map(|(_, day, _)| *day).collect();
    let outcomes: Vec<String> = counts.keys().map(|(_, _, outcome)| outcome.to_string()).collect();
    let added: Vec<i64> = counts.values().map(|count| number(*count)).collect();
    let row_projects: Vec<i32> = rows.keys().map(|(project, _)| *project).collect();
    let row_months: Vec<i32> = rows.keys().map(|(_, month)| month.0).collect();
    sqlx::query(
        "with counted as (\
         insert into ledger (project_id, day, outcome, count) select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::bigint[]) \
         on conflict (project_id, day, outcome) do update set count = ledger.count + excluded.count), \
         placed as (\
         insert into event_counts (project, month, count) select * from unnest($5::integer[], $6::integer[], $7::bigint[]) \
         on conflict (project, month) do update set count = event_counts.count + excluded.count) \
         update checkpoints set position = greatest(position, $9) where queue = $8",
    )
    .bind(projects)
    .bind(days)
    .bind(outcomes)
    .bind(added)
    .bind(row_projects)
    .bind(row_months)
    .bind(rows.values().copied().collect::<Vec<i64>>())
    .bind(checkpoint.map(|checkpoint| checkpoint.queue))
    .bind(checkpoint.map(|checkpoint| number(checkpoint.position)))
    .execute(connection)
    .await?;
    Ok(())
}
