//! From deliveries to what the store takes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ingest::Enricher;
use model::{AcceptedEvent, Deduplication, Tally};
use queue::{Delivery, Payload};
use store::{AppendBatch, AppendItem, Checkpoint};
use uuid::Uuid;

use super::tally_entries;

/// Deliveries, decoded and enriched.
pub(super) struct Prepared {
    /// Events, in the order of the queue.
    pub items: Arc<Vec<AppendItem>>,
    /// Tallies with their positions.
    tallies: Vec<(u64, Tally)>,
    /// What can never be stored.
    pub refused: Vec<Refused>,
    /// Those of `items`.
    deliveries: Vec<Delivery>,
    /// The queue's id when they were read.
    queue: Uuid,
    last_position: Option<u64>,
}

/// A delivery that can never be stored, and why.
pub(super) struct Refused {
    pub delivery: Delivery,
    pub reason: String,
}

/// Decodes and enriches. From a queue that `is_shared` an event may come under a second position. An event that breaks the code is refused by itself; its neighbours do not notice.
pub(super) fn prepare(queue: Uuid, deliveries: Vec<Delivery>, enricher: &Enricher, is_shared: bool) -> Prepared {
    let mut items = Vec::with_capacity(deliveries.len());
    let mut prepared = Prepared {
        items: Arc::default(),
        tallies: Vec::new(),
        refused: Vec::new(),
        queue,
        last_position: deliveries.last().map(|delivery| delivery.position.0),
        deliveries: Vec::with_capacity(deliveries.len()),
    };
    for delivery in deliveries {
        let position = delivery.position.0;
        match delivery.record.decode() {
            Ok(Payload::Event(event)) => {
                match catch_unwind(AssertUnwindSafe(|| enricher.enrich(known_by_id(event, is_shared)))) {
                    Ok(event) => {
                        items.push(AppendItem { position, event });
                        prepared.deliveries.push(delivery);
                    }
                    Err(_) => prepared.refuse(
                        delivery,
                        "the event could not be enriched: this is a bug, please report it".to_owned(),
                    ),
                }
            }
            Ok(Payload::Tally(tally)) => prepared.tallies.push((position, tally)),
            Err(error) => prepared.refuse(delivery, error.to_string()),
        }
    }
    prepared.items = Arc::new(items);
    prepared
}

/// The position does not tell an event of a shared queue from another; its id does, as it was fixed when the event was accepted.
fn known_by_id(mut event: AcceptedEvent, is_shared: bool) -> AcceptedEvent {
    if is_shared && event.deduplication == Deduplication::Redelivery {
        event.deduplication = Deduplication::Window;
    }
    event
}

impl Prepared {
    fn refuse(&mut self, delivery: Delivery, reason: String) {
        self.refused.push(Refused { delivery, reason });
    }

    /// The batch for the store, so far as it can be told before what was refused is set aside.
    pub(super) fn append(&self) -> AppendBatch {
        AppendBatch {
            items: Arc::clone(&self.items),
            counts: self
                .tallies
                .iter()
                .flat_map(|(position, tally)| tally_entries(tally).map(|entry| (*position, entry)))
                .collect(),
            checkpoint: self.last_position.map(|position| Checkpoint {
                queue: self.queue,
                position,
            }),
        }
    }

    /// Leaves the events to the batch that [`Self::append`] returned, so that they are not copied when it is halved.
    pub(super) fn release_items(&mut self) {
        self.items = Arc::default();
    }

    /// The delivery of an event: asked for a few, when the store refuses them.
    pub(super) fn delivery(&self, position: u64) -> Option<&Delivery> {
        let mut deliveries = self.deliveries.iter();
        deliveries.find(|delivery| delivery.position.0 == position)
    }
}
