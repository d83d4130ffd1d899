//! What the store is measured against: the same rows by a binary copy into the same table, and nothing else.

use std::sync::Arc;

use model::{Clock, EnrichedEvent};
use store::StoreError;

use super::{
    PostgresEventStore,
    copy::Encoded,
    partitions::{self, Month},
};
use crate::{connect::Lease, failure::write_failed};

/// Copies events as they come: no number, no look-up, no ledger. For benchmarks.
#[derive(Debug)]
pub struct BareCopy {
    store: PostgresEventStore,
}

impl BareCopy {
    /// Connects to a database that nothing else is stored in.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let store = PostgresEventStore::open(url, None, clock).await?;
        Ok(Self { store })
    }

    /// Makes the partitions that events need; their making is not measured.
    pub async fn prepare(&self, events: &[EnrichedEvent]) -> Result<(), StoreError> {
        let months = events.iter().map(|event| Month::of(event.timestamp));
        partitions::ensure(&self.store.shared, months)
            .await
            .map_err(write_failed)
    }

    /// One transaction.
    pub async fn append(&self, events: &[EnrichedEvent]) -> Result<(), StoreError> {
        let mut rows = Encoded::default();
        for event in events {
            rows.push(event, &event.properties, 0, 0);
        }
        let mut lease = Lease::take(&self.store.shared.writers).await.map_err(write_failed)?;
        let sent = rows.send(&mut lease, &vec![true; events.len()]).await;
        sent.map_err(write_failed)?;
        lease.give_back();
        Ok(())
    }
}
