//! Takes records from Redis for this process, when a reader asks. A task of its own, because a call that is given up half way
//! would leave records with a consumer that has never heard of them.

use std::{sync::Arc, time::Duration};

use model::limits;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Core,
    entry::{self, Entry},
    keys::GROUP,
    link::{Failure, Link},
    scripts,
    state::Fetched,
};
use crate::{Delivery, Position, QueueError};

/// A reader that found nothing in memory.
pub(super) struct Wish {
    /// How long it can wait.
    pub wait: Duration,
    /// Hears when there may be something, or nothing after all.
    pub done: oneshot::Sender<Result<(), QueueError>>,
}

/// Wishes that wait at once: readers of one process.
pub(super) const WISHES_MAX: usize = 64;

struct Fetcher {
    core: Arc<Core>,
    link: Link,
    /// Of the last call.
    epoch: u64,
    /// Up to where this consumer's pending entries have been read in this epoch; `None` = all are known. Before anything new is
    /// taken: the store's checkpoint says "everything that this consumer was given up to here is done".
    pending_after: Option<u64>,
    /// The last position that the queue had given when it was last asked.
    last_position: u64,
}

/// Serves readers until there are none any more.
pub(super) async fn run(core: Arc<Core>, mut wishes: mpsc::Receiver<Wish>) {
    let mut fetcher = Fetcher {
        link: Link::new(Arc::clone(&core.server)),
        core,
        epoch: 0,
        pending_after: Some(0),
        last_position: 0,
    };
    while let Some(Wish { wait, done }) = wishes.recv().await {
        let outcome = fetcher.serve(wait).await;
        fetcher.core.readable.notify_waiters();
        let _ = done.send(outcome.map_err(QueueError::from));
    }
}

impl Fetcher {
    async fn serve(&mut self, wait: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + wait;
        if self.core.lock().has_front() {
            return Ok(());
        }
        let now = self.core.server.availability();
        if let Some(why) = now.away {
            // Not at once, or a worker would ask in circles.
            let mut watch = self.core.server.watch();
            let back = watch.wait_for(|now| now.away.is_none());
            if tokio::time::timeout_at(deadline, back).await.is_err() {
                return Err(Failure::Away(why.to_string()));
            }
            return Ok(());
        }
        if now.epoch != self.epoch {
            self.epoch = now.epoch;
            self.pending_after = Some(0);
        }
        while let Some(after) = self.pending_after {
            let last = self.fetch(&now.tenure, Some(after)).await?;
            self.pending_after = last;
            if self.core.lock().has_front() {
                return Ok(());
            }
        }
        if self.fetch(&now.tenure, None).await?.is_some() || wait.is_zero() {
            return Ok(());
        }
        if self.wait_for_news(deadline).await? {
            self.fetch(&now.tenure, None).await?;
        }
        Ok(())
    }

    /// Takes records: pending ones behind a position, or new ones. Returns the last one's position.
    async fn fetch(&mut self, tenure: &str, pending_after: Option<u64>) -> Result<Option<u64>, Failure> {
        let core = Arc::clone(&self.core);
        let keys = [&*core.keys.stream, &core.keys.tenures, &core.keys.state];
        let mut command = scripts::call(&core.scripts.fetch, &keys);
        command
            .arg(GROUP)
            .arg(&core.options.consumer)
            .arg(tenure)
            .arg(limits::REDIS_FETCH_RECORDS)
            .arg(pending_after.map_or_else(|| ">".to_owned(), |after| format!("{after}-0")));
        let is_new = pending_after.is_none();
        let (entries, last_position, deliveries): (Vec<Entry>, u64, Vec<u32>) =
            self.link.query(&command, limits::REDIS_ANSWER_TIMEOUT).await?;
        self.last_position = last_position;
        let last = entries.last().map(|entry| entry.id.0);
        if !core.lock().accept(self.epoch, last.filter(|_| is_new)) {
            return Err(Failure::Away("Redis was greeted again meanwhile".to_owned()));
        }
        for (index, entry) in entries.into_iter().enumerate() {
            // Redis has counted the delivery that is under way.
            let before = deliveries.get(index).map_or(0, |count| count.saturating_sub(1));
            self.take_in(entry, before).await?;
        }
        Ok(last)
    }

    async fn take_in(&self, mut entry: Entry, deliveries: u32) -> Result<(), Failure> {
        let position = entry.id.0;
        let earlier: u32 = entry.parse("a").unwrap_or(0);
        let deliveries = deliveries + earlier;
        let Some(bytes) = entry.take("r") else {
            tracing::error!(
                position,
                "an entry of the stream was removed by somebody else before it was stored"
            );
            return self.core.drop_entry(entry.id).await;
        };
        let Some(record) = entry::read(bytes) else {
            tracing::error!(position, "an entry of the stream is none of ours; it is removed");
            return self.core.drop_entry(entry.id).await;
        };
        if deliveries >= limits::QUEUE_DELIVERIES_MAX {
            let delivery = Delivery {
                position: Position(position),
                attempt: deliveries,
                record,
            };
            let reason = format!("{deliveries} times delivered, and each time the worker stopped before it was stored");
            tracing::error!(project.id = %delivery.record.project_id, position, reason, "an event was set aside");
            self.core.set_aside(&delivery, &reason).await?;
            self.core.lock().end(&delivery);
            return self.core.flush_acknowledged().await;
        }
        self.core
            .lock()
            .publish(self.epoch, position, Fetched { record, deliveries });
        Ok(())
    }

    /// Waits until something is appended; `false` when nothing was.
    async fn wait_for_news(&self, deadline: Instant) -> Result<bool, Failure> {
        let wait = deadline
            .saturating_duration_since(Instant::now())
            .min(limits::REDIS_IDLE_WAIT);
        // 0 means for ever.
        let millis = wait.as_millis().max(1);
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(u64::try_from(millis).unwrap_or(u64::MAX))
            .arg("STREAMS")
            .arg(&self.core.keys.stream)
            .arg(format!("{}-0", self.last_position));
        let news: redis::Value = self.link.query(&command, wait + limits::REDIS_ANSWER_TIMEOUT).await?;
        Ok(news != redis::Value::Nil)
    }
}
