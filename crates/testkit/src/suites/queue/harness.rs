//! What the tests of a queue share, also those that only one adapter has.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use model::{AcceptedEvent, ProjectId, Tally};
use queue::{Delivery, EventQueue, Position, Record, Records};

use crate::build;

/// Long enough for any machine; a test that waits it out has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough to see that nothing comes, short enough to be waited for.
pub const MOMENT: Duration = Duration::from_millis(50);
/// Bytes that the queue of [`Harness::open_small`] holds at least and at most: a few hundred small records.
pub const SMALL_BYTES: u64 = 256 * 1024;

/// One queue that can be opened again and again.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens the queue; what was opened before has been dropped.
    async fn open(&self) -> Arc<dyn EventQueue>;

    /// The same, with room for about [`SMALL_BYTES`].
    async fn open_small(&self) -> Arc<dyn EventQueue>;
}

/// The record of an event of a project, different for every number.
pub fn record(project_id: ProjectId, number: u64) -> Record {
    event_record(&build::accepted_event(project_id, u128::from(number)))
}

/// The record of an event.
pub fn event_record(event: &AcceptedEvent) -> Record {
    let mut records = Records::default();
    records.push_event(event, event.received_at).expect("event encodes");
    records.into_iter().next().expect("a record")
}

/// The record of a tally.
pub fn tally_record(tally: &Tally) -> Record {
    let mut records = Records::default();
    records.push_tally(tally).expect("tally encodes");
    records.into_iter().next().expect("a record")
}

/// Records of project 1 with these numbers.
pub fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(|number| record(build::project(1), number)).collect()
}

/// Reads until `count` records have come.
///
/// # Panics
/// When they do not come within [`PATIENCE`].
pub async fn read_exactly(queue: &dyn EventQueue, count: usize) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} records came",
            deliveries.len()
        );
        let more = queue.read(count - deliveries.len(), PATIENCE).await.expect("read");
        deliveries.extend(more);
    }
    deliveries
}

/// Asserts that nothing comes.
pub async fn assert_nothing_comes(queue: &dyn EventQueue) {
    let more = queue.read(10, MOMENT).await.expect("read");
    assert!(more.is_empty(), "{more:?}");
}

/// The positions of deliveries.
pub fn positions(deliveries: &[Delivery]) -> Vec<Position> {
    deliveries.iter().map(|delivery| delivery.position).collect()
}

/// The records of deliveries.
pub fn contents(deliveries: &[Delivery]) -> Vec<Record> {
    deliveries.iter().map(|delivery| delivery.record.clone()).collect()
}
