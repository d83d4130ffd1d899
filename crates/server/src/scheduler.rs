//! What is due, done by one process of all that have the role.
//!
//! The right to do it is a lease in the metadata store, renewed every [`limits::SCHEDULER_LEASE_RENEWAL`]. What must stay true:
//! - This process believes that it holds the lease no longer than the store does: its time is counted from before it asked.
//! - Work is polled only while the lease is held ([`Lead::while_held`]). A process that stood still, or whose store does not answer, so begins
//!   no further step: the next one is another's.
//! - One step that was under way then may still reach its end beside another's. So every act that is scheduled must be harmless when it is
//!   done twice. Retention is: it deletes what is older than a time that was read at its beginning. An act that is not (a report that is sent)
//!   must write its term down, in the transaction that makes it happen, and be refused when there is a later one.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use model::limits;
use store::{Lease, MetaError, MetaStore, StoreError};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    admin::types::{CleanupReport, CleanupRequest},
    background::{self, Ticks},
    engine::Engine,
};

/// The lease of the one scheduler.
pub const LEASE_NAME: &str = "scheduler";

/// Whether this process is the one scheduler.
#[derive(Debug)]
pub struct Lead {
    name: String,
    held: watch::Sender<Option<Held>>,
}

/// A lease that this process has.
#[derive(Clone, Copy, Debug)]
struct Held {
    term: u64,
    until: Instant,
}

impl Default for Lead {
    fn default() -> Self {
        Self {
            name: process_name(),
            held: watch::Sender::new(None),
        }
    }
}

impl Lead {
    /// The name of this process among the schedulers: machine and process, for people, and a part that no other start has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The term in which this process is the one scheduler; `None` while it is not.
    pub fn term(&self) -> Option<u64> {
        let held = (*self.held.borrow())?;
        (Instant::now() < held.until).then_some(held.term)
    }

    /// Does `work` as long as this process is the scheduler of `term`; `None` when it was not to the end. Then `work` was dropped where it waited.
    pub async fn while_held<T>(&self, term: u64, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut lost = pin!(self.lost(term));
        poll_fn(|context| {
            // Looked at every time: after a standstill the work may be polled before any timer is.
            if self.term() != Some(term) || lost.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Returns when this process is no longer the scheduler of `term`.
    async fn lost(&self, term: u64) {
        let mut watched = self.held.subscribe();
        loop {
            let held = *watched.borrow_and_update();
            let Some(held) = held.filter(|held| held.term == term && Instant::now() < held.until) else {
                return;
            };
            tokio::select! {
                // The sender lives as long as `self`.
                _ = watched.changed() => {}
                () = tokio::time::sleep_until(held.until) => {}
            }
        }
    }

    /// Returns the term when this process is the scheduler.
    async fn gained(&self) -> u64 {
        let mut watched = self.held.subscribe();
        loop {
            watched.borrow_and_update();
            if let Some(term) = self.term() {
                return term;
            }
            let _ = watched.changed().await;
        }
    }

    /// Takes or renews the lease once.
    async fn renew(&self, meta: &dyn MetaStore) {
        // Before asking: the store counts from later on.
        let asked = Instant::now();
        let taking = meta.take_lease(LEASE_NAME, &self.name, limits::SCHEDULER_LEASE);
        let taken = tokio::time::timeout(limits::SCHEDULER_LEASE_RENEWAL, taking);
        match taken.await.unwrap_or_else(|_| Err(no_answer())) {
            Ok(lease) => self.learn(&lease, asked + limits::SCHEDULER_LEASE),
            // What is held runs out by itself.
            Err(error) => tracing::warn!(%error, "whether this is the one scheduler could not be told; tried again"),
        }
    }

    fn learn(&self, lease: &Lease, until: Instant) {
        let before = *self.held.borrow();
        let held = (lease.holder == self.name).then_some(Held {
            term: lease.term,
            until,
        });
        match (before, held) {
            (None, Some(_)) => tracing::info!(term = lease.term, "this is the one scheduler"),
            (Some(_), None) => {
                tracing::warn!(
                    holder = lease.holder,
                    term = lease.term,
                    "another process is the scheduler now"
                );
            }
            _ => {}
        }
        self.held.send_replace(held);
    }
}

/// Does what is due until `stop`, whenever this process is the one scheduler.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let renew = async {
        let mut ticks = Ticks::new(limits::SCHEDULER_LEASE_RENEWAL, stop.clone());
        while ticks.next().await {
            engine.lead.renew(&**engine.meta()).await;
        }
    };
    let work = async {
        loop {
            let term = engine.lead.gained().await;
            engine.lead.while_held(term, apply_retention(&engine, term)).await;
        }
    };
    tokio::select! {
        // Cleaning up can take longer than a stop may; whoever is next goes on with it.
        () = renew => {}
        () = work => {}
    }
    engine.lead.held.send_replace(None);
    // Nothing is done any more: another need not wait for the lease to run out.
    let ended = engine.meta().end_lease(LEASE_NAME, engine.lead.name());
    let ended = tokio::time::timeout(limits::SCHEDULER_LEASE_RENEWAL, ended);
    if let Err(error) = ended.await.unwrap_or_else(|_| Err(no_answer())) {
        tracing::debug!(%error, "the lease of the scheduler runs out by itself");
    }
}

/// Deletes what projects no longer keep, at once and then again and again.
async fn apply_retention(engine: &Engine, term: u64) {
    let mut interval = tokio::time::interval(engine.config.retention_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Those of a moment ago may be old: this process may have stood still.
        if let Err(error) = engine.directory.refresh(&**engine.meta()).await {
            tracing::warn!(%error, "retention waits: settings could not be read");
            continue;
        }
        engine.metrics.retention_runs.increment(1);
        tracing::debug!(term, "retention begins");
        report(background::cleanup(engine, &CleanupRequest::default()).await);
    }
}

fn report(cleaned: Result<CleanupReport, StoreError>) {
    match cleaned {
        Ok(report) => {
            let deleted: u64 = report.projects.iter().map(|project| project.deleted).sum();
            if deleted > 0 {
                let (before, after) = (report.bytes_before, report.bytes_after);
                tracing::info!(deleted, bytes_before = before, bytes_after = after, "retention applied");
            }
            if let Some(error) = report.reclaim_error {
                tracing::warn!(
                    error,
                    "the space of deleted events could not be given back; tried again with the next run"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "retention could not be applied; tried again with the next run"),
    }
}

fn no_answer() -> MetaError {
    MetaError::Unavailable(format!("no answer within {:?}", limits::SCHEDULER_LEASE_RENEWAL))
}

fn process_name() -> String {
    let machine = rustix::system::uname();
    let start = Uuid::new_v4().simple().to_string();
    let (machine, process) = (machine.nodename().to_string_lossy(), std::process::id());
    format!("{machine}/{process}/{}", &start[..8])
}

#[cfg(test)]
mod tests;
