//! What every event store must do. An adapter implements [`Harness`] and calls [`crate::store_suite!`] once.

mod appending;
mod moving;
mod reading;
mod removing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{Deduplication, EnrichedEvent, EventId, Outcome, Project, ProjectId, Timestamp};
use store::{
    AppendBatch, AppendItem, AppendOutcome, Checkpoint, EventStore, Parameters, ProjectScope, Rows, Statement, Value,
};
use uuid::Uuid;

pub use self::{appending::*, moving::*, reading::*, removing::*};
use crate::{build, clock::FixedClock, directory};

/// Long enough for any machine; a test that waits it out has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The queue that batches come from.
pub const QUEUE: Uuid = Uuid::from_u128(0x7000_0000_0000_0000_0000_0000_0000_0001);
/// When the tests happen.
pub const NOW: &str = "2026-01-15T12:00:02Z";

/// One store that can be opened again and again.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens the store; what was opened before has been dropped.
    async fn open(&self) -> Arc<dyn EventStore>;

    /// The clock that the store was given; starts at [`NOW`].
    fn clock(&self) -> &FixedClock;
}

/// Makes a test of every function of [`mod@crate::suites::store`]; `$harness` is evaluated once per test.
#[macro_export]
macro_rules! store_suite {
    ($harness:expr) => {
        $crate::store_suite!(@tests $harness;
            an_empty_store_holds_nothing,
            an_event_comes_back_as_it_went_in,
            absent_values_come_back_as_null,
            extreme_values_come_back_as_they_went_in,
            what_is_stored_is_there_when_opened_again,
            a_redelivered_batch_is_applied_once,
            a_redelivery_that_overlaps_stores_the_rest,
            positions_of_another_queue_are_new,
            a_checkpoint_moves_without_events_and_never_back,
            a_client_retry_is_a_duplicate_across_restarts,
            a_client_retry_is_a_duplicate_for_seven_days,
            an_event_twice_in_a_batch_is_stored_once,
            an_import_is_a_duplicate_at_any_time,
            an_import_is_a_duplicate_only_in_its_project,
            an_import_and_a_request_with_the_same_event_id_are_one_event,
            an_import_with_corrected_times_adds_nothing,
            a_refused_import_gives_up_no_claim_of_others,
            batches_without_a_queue_are_each_new,
            the_ledger_counts_every_outcome_once,
            the_ledger_counts_by_day_of_receipt,
            a_refused_event_leaves_nothing_behind,
            a_refused_event_may_come_again,
            users_are_numbered_by_project,
            a_moved_event_is_stored_once_and_not_counted,
            a_moved_event_is_stored_whatever_is_known_of_its_id,
            a_client_retry_of_a_moved_event_is_a_duplicate,
            claims_are_told_to_whoever_asks,
            checkpoints_of_all_queues_are_told,
            halves_of_surrogate_pairs_do_not_fail_reads,
            a_scope_reads_its_project_alone,
            values_are_bound_and_typed,
            an_answer_of_no_rows_has_its_columns,
            a_wrong_statement_is_refused,
            a_statement_cannot_write,
            an_answer_without_end_is_refused,
            reads_go_on_beside_appends,
            deleting_before_a_time_keeps_the_rest,
            a_dry_run_deletes_nothing,
            deleting_a_project_keeps_the_others_and_the_ledger,
            events_may_come_again_after_their_deletion,
            reclaiming_gives_disk_back_and_keeps_everything,
            reclaiming_nothing_changes_nothing,
            reads_and_appends_go_on_beside_reclaiming,
            the_status_counts_by_project,
            a_closed_store_is_unavailable,
        );
    };
    (@tests $harness:expr; $($name:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let harness = $harness;
                $crate::suites::store::$name(&harness).await;
            }
        )+
    };
}

/// An event of a project whose client named it by number: a retry has the same id.
pub fn named_event(project: ProjectId, number: u128) -> EnrichedEvent {
    let name = format!("event-{number}");
    EnrichedEvent {
        id: EventId::from_client(project, &name),
        client_event_id: Some(name),
        deduplication: Deduplication::Window,
        ..build::enriched_event(project, number)
    }
}

/// The same, as an import brings it.
pub fn imported_event(project: ProjectId, number: u128) -> EnrichedEvent {
    EnrichedEvent {
        client_event_id: None,
        deduplication: Deduplication::History,
        ..named_event(project, number)
    }
}

/// A batch of [`QUEUE`] with one event per position, starting at `first`.
pub fn batch(first: u64, events: impl IntoIterator<Item = EnrichedEvent>) -> AppendBatch {
    let items: Vec<AppendItem> = (first..)
        .zip(events)
        .map(|(position, event)| AppendItem { position, event })
        .collect();
    let checkpoint = items.last().map(|item| Checkpoint {
        queue: QUEUE,
        position: item.position,
    });
    AppendBatch {
        items: items.into(),
        counts: Vec::new(),
        checkpoint,
    }
}

/// Appends a [`batch`] and says what became of each event.
pub async fn append(
    store: &dyn EventStore,
    first: u64,
    events: impl IntoIterator<Item = EnrichedEvent>,
) -> Vec<AppendOutcome> {
    store.append(batch(first, events)).await.expect("append").outcomes
}

/// The scope of a project.
pub async fn scope(id: ProjectId) -> ProjectScope {
    let project = Project {
        id,
        ..Project::new("Test".to_owned(), now())
    };
    directory::scope(project, Vec::new()).await
}

/// Reads from the events of a project.
pub async fn read(
    store: &dyn EventStore,
    project: ProjectId,
    write: impl FnOnce(&str, &mut Parameters) -> String,
) -> Rows {
    let statement = Statement::over_events(&scope(project).await, write);
    store.read(statement).await.expect("read")
}

/// One column of the events of a project, in its order.
pub async fn column(store: &dyn EventStore, project: ProjectId, name: &str) -> Vec<Value> {
    let rows = read(store, project, |events, _| {
        format!("select {name} from {events} order by {name}")
    })
    .await;
    rows.rows.into_iter().flatten().collect()
}

/// How many events a project has.
pub async fn count(store: &dyn EventStore, project: ProjectId) -> i64 {
    let rows = read(store, project, |events, _| format!("select count(*) from {events}")).await;
    rows.rows[0][0].as_integer().expect("a number")
}

/// The ledger of a project, over all days.
pub async fn ledger(store: &dyn EventStore, project: ProjectId, outcome: Outcome) -> u64 {
    let entries = store.ledger().await.expect("ledger");
    entries
        .iter()
        .filter(|entry| entry.project_id == project && entry.outcome == outcome)
        .map(|entry| entry.count)
        .sum()
}

/// [`NOW`] as an instant.
pub fn now() -> Timestamp {
    build::instant(NOW)
}
