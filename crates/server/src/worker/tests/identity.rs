//! A queue that becomes another one while a batch is read: another server of Redis took over, or it was lost.

use std::sync::atomic::AtomicU64;

use queue::{DeadLetter, QueueStatus};

use super::*;

/// Has another id from its second read on.
struct Changing {
    queue: EmbeddedQueue,
    reads: AtomicU64,
}

const BEFORE: Uuid = Uuid::from_u128(1);
const AFTER: Uuid = Uuid::from_u128(2);

#[async_trait]
impl EventQueue for Changing {
    fn id(&self) -> Uuid {
        if self.reads.load(Ordering::Relaxed) < 2 {
            BEFORE
        } else {
            AFTER
        }
    }
    async fn append(&self, records: Records) -> Result<(), QueueError> {
        self.queue.append(records).await
    }
    async fn read(&self, _: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.queue.read(2, wait).await
    }
    async fn acknowledge(&self, positions: &[Position]) -> Result<(), QueueError> {
        self.queue.acknowledge(positions).await
    }
    async fn retry(&self, positions: &[Position], delay: Duration) -> Result<(), QueueError> {
        self.queue.retry(positions, delay).await
    }
    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        self.queue.dead_letter(delivery, reason).await
    }
    async fn dead_letters(&self, from: Position, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.queue.dead_letters(from, limit).await
    }
    async fn discard_dead_letters(&self, positions: &[Position]) -> Result<u64, QueueError> {
        self.queue.discard_dead_letters(positions).await
    }
    async fn status(&self) -> Result<QueueStatus, QueueError> {
        self.queue.status().await
    }
    async fn check(&self) -> Result<(), QueueError> {
        self.queue.check().await
    }
    async fn close(&self) -> Result<(), QueueError> {
        self.queue.close().await
    }
    fn is_shared(&self) -> bool {
        // What is left is not looked at when the engine is loaded.
        true
    }
}

#[tokio::test]
async fn a_batch_stands_in_the_checkpoint_of_the_queue_that_it_was_read_from() {
    let (directory, store) = (tempfile::tempdir().unwrap(), Arc::<Store>::default());
    let clock = Arc::new(FixedClock::at(now()));
    let queue = EmbeddedQueue::open(directory.path(), EmbeddedOptions::default(), Arc::clone(&clock) as _).unwrap();
    let reads = AtomicU64::new(0);
    let engine = start_on(Arc::new(Changing { queue, reads }), directory.path(), &store, clock).await;
    accept(&engine, (1..=4).map(|number| accepted_event(project(1), number))).await;
    let mut of_batches = Vec::new();
    for _ in 0..2 {
        let collected = collect(&engine, 10, Duration::ZERO, &mut Vec::new()).await.unwrap();
        let taken = take(&engine, collected).await.unwrap().expect("a batch");
        let batch = taken.prepared.append();
        of_batches.push((batch.checkpoint.expect("a checkpoint").queue, batch.items.len()));
    }
    assert_eq!(of_batches, [(BEFORE, 2), (AFTER, 2)]);
}
