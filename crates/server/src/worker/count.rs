//! Counting what became of a batch: each position of the queue once, whatever is delivered how often.

use std::collections::HashMap;

use model::{Outcome, ProjectId, Timestamp};
use store::{AppendBatch, AppendOutcome, AppendReport};

use super::Worker;

impl Worker {
    /// Counts a batch that the store has, by what it reported. What was counted before is known by its position: it was delivered once more.
    pub(super) async fn count(&mut self, batch: &AppendBatch, report: &AppendReport) {
        // The ledger is locked for each call, and nearly all events of a batch end alike.
        let mut stored = Events::new();
        let mut unseen = Events::new();
        for (item, outcome) in batch.items.iter().zip(&report.outcomes) {
            let (project, received_at) = (item.event.project_id, item.event.received_at);
            match outcome {
                AppendOutcome::Stored => stored.entry(project).or_insert((0, received_at)).0 += 1,
                AppendOutcome::Duplicate => {
                    self.engine.ledger.finished(project, Outcome::Duplicate, 1, received_at);
                    self.report.duplicate += 1;
                }
                AppendOutcome::AlreadyApplied if self.engine.ledger.is_counted(item.position) => {}
                AppendOutcome::AlreadyApplied => unseen.entry(project).or_insert((0, received_at)).0 += 1,
            }
        }
        for (project, (count, received_at)) in stored {
            self.engine
                .ledger
                .finished(project, Outcome::Stored, count, received_at);
            self.report.stored += count;
        }
        self.count_unseen(unseen).await;
        self.count_without_events(batch);
        if let Some(checkpoint) = batch.checkpoint {
            self.engine.ledger.counted_up_to(checkpoint.position);
        }
        #[expect(clippy::cast_precision_loss, reason = "at most a few thousand")]
        self.engine.metrics.batch_events.record(batch.items.len() as f64);
    }

    /// Counts events that the store has from an append whose answer never came, as when its commit went through and what followed did not.
    async fn count_unseen(&mut self, unseen: Events) {
        if unseen.is_empty() {
            return;
        }
        let entries = match self.engine.store().ledger().await {
            Ok(entries) => Some(entries),
            Err(error) => {
                tracing::warn!(%error, "cannot tell stored events from duplicates after a lost answer; the next start can");
                None
            }
        };
        for (project, (count, received_at)) in unseen {
            let ledger = &self.engine.ledger;
            let (stored, duplicate) = match &entries {
                Some(entries) => ledger.finished_unseen(project, count, entries, received_at),
                None => {
                    ledger.finished(project, Outcome::Stored, count, received_at);
                    (count, 0)
                }
            };
            self.report.stored += stored;
            self.report.duplicate += duplicate;
        }
    }

    /// Counts dead letters, and tallies of an earlier process.
    fn count_without_events(&mut self, batch: &AppendBatch) {
        let now = self.engine.clock().now();
        for (position, entry) in &batch.counts {
            if self.engine.ledger.is_counted(*position) {
                continue;
            }
            self.engine.ledger.counted_without_event(*position, entry, now);
            if entry.outcome == Outcome::DeadLettered {
                self.report.dead_lettered += entry.count;
            }
        }
    }
}

/// Events by project: how many, and when one of them was received.
type Events = HashMap<ProjectId, (u64, Timestamp)>;
