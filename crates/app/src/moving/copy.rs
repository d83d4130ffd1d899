//! The events of one project: read on one task, stored on another, each ahead of the other by a page.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use model::{
    Deduplication, EnrichedEvent, EventId, Timestamp,
    limits::{STORE_BATCH_BYTES_MAX, STORE_BATCH_EVENTS_MAX},
};
use query::transfer::StoredEvents;
use store::{AppendBatch, AppendItem, AppendOutcome, Checkpoint, EventStore, ProjectScope};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Move,
    digest::{self, Digests},
    queue_of, told_days,
};

/// Batches that are read ahead of the one that is stored.
const BATCHES_AHEAD: usize = 2;

/// What became of a project's events.
pub struct Copied {
    /// All events of the source.
    pub source: Digests,
    /// Those of the target, where they were read and none was added.
    pub target: Option<Digests>,
    /// Events that were added.
    pub copied_events: u64,
    /// Events that were there, from an earlier call.
    pub found_events: u64,
}

/// What the reader hands over.
enum Piece {
    /// The events that the target should have already.
    Found(Digests),
    /// Those behind them.
    Batch(AppendBatch),
}

/// Copies the events that the target lacks.
pub async fn project(moving: &Move<'_>, scope: &ProjectScope) -> anyhow::Result<Copied> {
    let (from, to) = (&moving.from.events, &moving.to.events);
    let queue = queue_of(scope.project_id());
    let found_events = to.checkpoint(queue).await?.unwrap_or(0);
    let (sender, mut pieces) = mpsc::channel(BATCHES_AHEAD);
    let reader = Reader {
        store: Arc::clone(from),
        scope: scope.clone(),
        queue,
        found_events,
        sender,
    };
    let reading = tokio::spawn(reader.run());
    let mut copied_events = 0;
    let mut target = None;
    let mut next = pieces.recv().await;
    while let Some(piece) = next {
        match piece {
            Piece::Found(expected) => {
                let there = digest::of_project(to, scope, &indicatif::ProgressBar::hidden()).await?;
                refuse_others(&expected, &there)?;
                moving.bar.inc(found_events);
                target = Some(there);
                next = pieces.recv().await;
            }
            Piece::Batch(batch) => {
                target = None;
                let events = batch.items.len() as u64;
                let ahead = async {
                    let next = pieces.recv().await;
                    if let Some(Piece::Batch(batch)) = &next {
                        to.announce(batch);
                    }
                    next
                };
                let (report, after) = tokio::join!(to.append(batch), ahead);
                let report =
                    report.context("stopped; what is copied stays, and the same command goes on from there")?;
                if let Some(outcome) = report
                    .outcomes
                    .iter()
                    .find(|outcome| **outcome != AppendOutcome::Stored)
                {
                    bail!(
                        "another process moves the same project at the same time ({outcome:?}): let one of them do it"
                    );
                }
                copied_events += events;
                moving.bar.inc(events);
                next = after;
            }
        }
    }
    let source = reading.await.context("the reader failed")??;
    let events: u64 = source.values().map(|day| day.events).sum();
    if events < found_events {
        bail!(
            "the source has {events} events, and {found_events} were moved before: it has changed since; move into an empty target"
        );
    }
    Ok(Copied {
        source,
        target,
        copied_events,
        found_events,
    })
}

/// A target that holds anything but the first events of the source, in the order of time, is not what an earlier call left.
fn refuse_others(expected: &Digests, there: &Digests) -> anyhow::Result<()> {
    if expected == there {
        return Ok(());
    }
    bail!(
        "the target holds other events than those that were moved: {}. Either side has changed since: move into an empty target, or see \
         all of it with --verify-only",
        told_days(expected, there)
    )
}

struct Reader {
    store: Arc<dyn EventStore>,
    scope: ProjectScope,
    queue: Uuid,
    found_events: u64,
    sender: mpsc::Sender<Piece>,
}

impl Reader {
    /// Reads all events and hands over those that are not there yet. Ends early when nobody takes them any more.
    async fn run(self) -> anyhow::Result<Digests> {
        let mut stored = StoredEvents::new(Arc::clone(&self.store), self.scope.clone());
        let mut digests = Digests::new();
        let mut position = 0;
        while let Some(events) = stored.next().await? {
            let mut new = Vec::new();
            for event in events {
                digest::add(&mut digests, &event);
                position += 1;
                if position == self.found_events {
                    self.hand_over(Piece::Found(digests.clone())).await?;
                }
                if position > self.found_events {
                    new.push(AppendItem { position, event });
                }
            }
            self.claim(&mut new).await?;
            for items in batches(new) {
                let position = items.last().map_or(0, |item| item.position);
                let batch = AppendBatch {
                    items: Arc::new(items),
                    counts: Vec::new(),
                    checkpoint: Some(Checkpoint {
                        queue: self.queue,
                        position,
                    }),
                };
                self.hand_over(Piece::Batch(batch)).await?;
            }
        }
        Ok(digests)
    }

    async fn hand_over(&self, piece: Piece) -> anyhow::Result<()> {
        let gone = || anyhow::anyhow!("nobody takes what is read");
        self.sender.send(piece).await.map_err(|_| gone())
    }

    /// Says of each event as of when its client's retries are known.
    async fn claim(&self, items: &mut [AppendItem]) -> anyhow::Result<()> {
        let named = |item: &&mut AppendItem| item.event.client_event_id.is_some();
        let ids: Vec<EventId> = items.iter_mut().filter(named).map(|item| item.event.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let claims: Vec<Option<Timestamp>> = self.store.claims(self.scope.project_id(), ids).await?;
        for (item, claimed_at) in items.iter_mut().filter(named).zip(claims) {
            item.event.deduplication = Deduplication::Moved { claimed_at };
        }
        Ok(())
    }
}

/// As many as the store takes at once, in number and in bytes.
fn batches(items: Vec<AppendItem>) -> Vec<Vec<AppendItem>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for item in items {
        bytes += size(&item.event);
        batch.push(item);
        if batch.len() >= STORE_BATCH_EVENTS_MAX || bytes >= STORE_BATCH_BYTES_MAX {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Bytes of an event, but for small fields.
fn size(event: &EnrichedEvent) -> usize {
    size_of::<EnrichedEvent>() + event.properties.len() + event.user_agent.as_ref().map_or(0, String::len)
}
