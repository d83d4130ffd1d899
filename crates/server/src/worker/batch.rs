//! From deliveries to what the store takes.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use ingest::Enricher;
use model::Tally;
use queue::{Delivery, Payload};
use store::{AppendBatch, AppendItem, Checkpoint};

use super::tally_entries;
use crate::engine::Engine;

/// Deliveries, decoded and enriched.
pub(super) struct Prepared {
    /// Events, in the order of the queue.
    pub items: Vec<AppendItem>,
    /// Tallies with their positions.
    tallies: Vec<(u64, Tally)>,
    /// What can never be stored.
    pub refused: Vec<Refused>,
    deliveries: HashMap<u64, Delivery>,
    last_position: Option<u64>,
}

/// A delivery that can never be stored, and why.
pub(super) struct Refused {
    pub delivery: Delivery,
    pub reason: String,
}

/// Decodes and enriches. An event that breaks the code is refused by itself; its neighbours do not notice.
pub(super) fn prepare(deliveries: Vec<Delivery>, enricher: &Enricher) -> Prepared {
    let mut prepared = Prepared {
        items: Vec::with_capacity(deliveries.len()),
        tallies: Vec::new(),
        refused: Vec::new(),
        last_position: deliveries.last().map(|delivery| delivery.position.0),
        deliveries: HashMap::with_capacity(deliveries.len()),
    };
    for delivery in deliveries {
        let position = delivery.position.0;
        match delivery.record.decode() {
            Ok(Payload::Event(event)) => match catch_unwind(AssertUnwindSafe(|| enricher.enrich(event))) {
                Ok(event) => {
                    prepared.items.push(AppendItem { position, event });
                    prepared.deliveries.insert(position, delivery);
                }
                Err(_) => prepared.refuse(
                    delivery,
                    "the event could not be enriched: this is a bug, please report it".to_owned(),
                ),
            },
            Ok(Payload::Tally(tally)) => prepared.tallies.push((position, tally)),
            Err(error) => prepared.refuse(delivery, error.to_string()),
        }
    }
    prepared
}

impl Prepared {
    fn refuse(&mut self, delivery: Delivery, reason: String) {
        self.refused.push(Refused { delivery, reason });
    }

    /// The batch for the store; the events go with it.
    pub(super) fn take_append(&mut self, queue: uuid::Uuid) -> AppendBatch {
        AppendBatch {
            items: std::mem::take(&mut self.items).into(),
            counts: self
                .tallies
                .iter()
                .flat_map(|(position, tally)| tally_entries(tally).map(|entry| (*position, entry)))
                .collect(),
            checkpoint: self.last_position.map(|position| Checkpoint { queue, position }),
        }
    }

    /// The delivery of an event.
    pub(super) fn delivery(&self, position: u64) -> Option<&Delivery> {
        self.deliveries.get(&position)
    }

    /// Tallies that an earlier process queued and the store did not have when this one started.
    pub(super) fn foreign_tallies(&self, engine: &Engine) -> impl Iterator<Item = &Tally> {
        let (started_at, applied) = (engine.started_at, engine.applied_before_start);
        let foreign =
            move |(position, tally): &&(u64, Tally)| tally.received_at < started_at && Some(*position) > applied;
        self.tallies.iter().filter(foreign).map(|(_, tally)| tally)
    }
}
