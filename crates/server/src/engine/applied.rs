//! What a crash has left in the queue although the store has it.

use std::time::Duration;

use queue::{EventQueue, Position, QueueError};

/// Records read at once.
const RECORDS: usize = 1_000;

/// Acknowledges what the store's checkpoint says is done: the last acknowledgements before a crash may be lost. Before anything is counted,
/// because an event that is in the store and waits too would be counted twice until it is delivered. Does nothing without a checkpoint.
pub async fn acknowledge(queue: &dyn EventQueue, applied: Option<u64>) -> Result<(), QueueError> {
    let Some(applied) = applied else { return Ok(()) };
    loop {
        let deliveries = queue.read(RECORDS, Duration::ZERO).await?;
        let positions = deliveries.iter().map(|delivery| delivery.position);
        let (done, waiting): (Vec<Position>, Vec<Position>) = positions.partition(|position| position.0 <= applied);
        queue.acknowledge(&done).await?;
        if done.is_empty() || !waiting.is_empty() {
            return queue.retry(&waiting, Duration::ZERO).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use queue::{EmbeddedOptions, EmbeddedQueue};
    use testkit::{
        clock::FixedClock,
        suites::queue::{contents, read_exactly, records},
        suites::store::now,
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_the_store_has_does_not_wait_and_the_rest_comes_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            EmbeddedQueue::open(
                directory.path(),
                EmbeddedOptions::default(),
                Arc::new(FixedClock::at(now())),
            )
        };
        let queue = open().unwrap();
        queue.append(records(0..3_000).into()).await.unwrap();
        let stored = read_exactly(&queue, 2_500).await;
        drop(queue);
        // The acknowledgements are lost, the store's checkpoint is not.
        for (applied, waiting) in [
            (None, 0..3_000),
            (stored.last().map(|last| last.position.0), 2_500..3_000),
        ] {
            let queue = open().unwrap();
            acknowledge(&queue, applied).await.unwrap();
            let status = queue.status().await.unwrap();
            assert_eq!((status.waiting, status.delivered), (waiting.end - waiting.start, 0));
            let rest = read_exactly(&queue, status.waiting as usize).await;
            assert_eq!(contents(&rest), records(waiting));
            drop(queue);
        }
        let queue = open().unwrap();
        acknowledge(&queue, Some(u64::MAX)).await.unwrap();
        assert_eq!(queue.status().await.unwrap().waiting, 0);
    }
}
