//! Brings events to the admin socket in batches and waits until they are stored: what `import` and `generate` share.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use model::{LedgerTotals, ProjectId, Timestamp, limits::IMPORT_LINES_PER_REQUEST};
use server::admin::types::{ProcessRequest, StatusReport};
use tokio::time::Instant;

use crate::admin_client::{AdminClient, AdminFailure};

/// A request is sent when it holds so many bytes, far below the server's limit, so that one more line always fits.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Without a worker in the process that answers, the queue is emptied after so many events.
const EVENTS_BETWEEN_DRAINS: u64 = 100_000;
/// Batches of one call to store, so that progress is seen.
const BATCHES_PER_CALL: u64 = 10;
/// A full queue is given this long to drain by itself.
const FULL_QUEUE_PATIENCE: Duration = Duration::from_secs(300);
const FULL_QUEUE_WAIT: Duration = Duration::from_secs(2);
/// Nothing stored for this long: whoever should store them is not there.
const NO_PROGRESS_PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A record on its way: its line in the file, and its JSON or why it has none.
#[derive(Debug)]
pub struct Line {
    /// From 1.
    pub line: u64,
    /// The event's time, where it can be read.
    pub timestamp: Option<Timestamp>,
    /// A [`crate::import::ImportEvent`], or the reason of its refusal.
    pub json: Result<Vec<u8>, String>,
}

/// Sends events of one project.
pub struct Feed<'a> {
    client: &'a AdminClient,
    project: ProjectId,
    before: LedgerTotals,
    has_worker: bool,
    accepted: u64,
    refused_by_server: u64,
    since_drain: u64,
    body: Vec<u8>,
    lines: Vec<u64>,
}

/// Where the events of a feed ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Durable in the queue.
    pub accepted: u64,
    /// New in the store.
    pub new: u64,
    /// In the store already.
    pub duplicates: u64,
    /// Set aside.
    pub dead_lettered: u64,
    /// Not stored yet.
    pub waiting: u64,
    /// Received by the project from elsewhere meanwhile.
    pub other_events: u64,
}

impl<'a> Feed<'a> {
    /// Begins; fails when there is no such project.
    pub async fn begin(client: &'a AdminClient, project: ProjectId) -> anyhow::Result<Self> {
        let status = client.status().await?;
        Ok(Self {
            client,
            project,
            before: totals(&status, project)?,
            has_worker: status.queue.consumers > 0,
            accepted: 0,
            refused_by_server: 0,
            since_drain: 0,
            body: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Sends a batch; all of it is durable when this returns. Returns the refused lines with their reasons.
    pub async fn send(&mut self, batch: Vec<Line>) -> anyhow::Result<Vec<(u64, String)>> {
        let mut refused = Vec::new();
        for Line { line, json, .. } in batch {
            match json {
                Err(reason) => refused.push((line, reason)),
                Ok(json) => {
                    self.body.extend_from_slice(&json);
                    self.body.push(b'\n');
                    self.lines.push(line);
                    if self.lines.len() >= IMPORT_LINES_PER_REQUEST || self.body.len() >= REQUEST_BYTES {
                        self.request(&mut refused).await?;
                    }
                }
            }
        }
        self.request(&mut refused).await?;
        Ok(refused)
    }

    async fn request(&mut self, refused: &mut Vec<(u64, String)>) -> anyhow::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let body = Bytes::from(std::mem::take(&mut self.body));
        let lines = std::mem::take(&mut self.lines);
        let report = self.request_patiently(body).await?;
        self.accepted += report.accepted;
        self.refused_by_server += report.rejected.len() as u64;
        for rejection in report.rejected {
            let line = lines.get(rejection.index).copied().unwrap_or_default();
            refused.push((line, rejection.error));
        }
        self.since_drain += report.accepted;
        if !self.has_worker && self.since_drain >= EVENTS_BETWEEN_DRAINS {
            self.since_drain = 0;
            self.client.process(&ProcessRequest::default()).await?;
        }
        Ok(())
    }

    /// Waits while the queue is full.
    async fn request_patiently(&self, body: Bytes) -> anyhow::Result<server::admin::types::ImportReport> {
        let deadline = Instant::now() + FULL_QUEUE_PATIENCE;
        loop {
            match self.client.import(self.project, body.clone()).await {
                Err(error) if is_unavailable(&error) && Instant::now() < deadline => {
                    tracing::warn!("the server takes no events for the moment, trying again: {error:#}");
                    tokio::time::sleep(FULL_QUEUE_WAIT).await;
                }
                result => return result.context("the events could not be handed over"),
            }
        }
    }

    /// Waits until everything that was sent is stored, and tells where it ended. `progress` hears how many are.
    pub async fn settle(self, mut progress: impl FnMut(u64)) -> anyhow::Result<Settled> {
        let mut last = (0, Instant::now());
        loop {
            let request = ProcessRequest {
                batch_size: None,
                max_batches: Some(BATCHES_PER_CALL),
            };
            let processed = self.client.process(&request).await?;
            let settled = self.settled(&self.client.status().await?)?;
            let done = settled.new + settled.duplicates + settled.dead_lettered;
            progress(done);
            if processed.waiting == 0 || done >= self.accepted {
                return Ok(settled);
            }
            if done > last.0 {
                last = (done, Instant::now());
            } else if last.1.elapsed() > NO_PROGRESS_PATIENCE {
                tracing::warn!("nothing is stored for a minute; the events wait in the queue for a worker");
                return Ok(settled);
            }
            if processed.batches == 0 {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// The difference of the ledger. Where other events came in between, they are counted too and told apart in `other_events`.
    fn settled(&self, status: &StatusReport) -> anyhow::Result<Settled> {
        let now = totals(status, self.project)?;
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        let new = grown(now.stored, self.before.stored).min(self.accepted);
        let duplicates = grown(now.duplicate, self.before.duplicate).min(self.accepted - new);
        let dead_lettered = grown(now.dead_lettered, self.before.dead_lettered).min(self.accepted - new - duplicates);
        let received = grown(now.received, self.before.received);
        Ok(Settled {
            accepted: self.accepted,
            new,
            duplicates,
            dead_lettered,
            waiting: self.accepted - new - duplicates - dead_lettered,
            other_events: received.saturating_sub(self.accepted + self.refused_by_server),
        })
    }
}

fn totals(status: &StatusReport, project: ProjectId) -> anyhow::Result<LedgerTotals> {
    match status.projects.iter().find(|report| report.id == project) {
        Some(report) => Ok(report.ledger),
        None => bail!("there is no project {project}; `simple-analytics project list` shows them"),
    }
}

fn is_unavailable(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<AdminFailure>()
        .is_some_and(|failure| failure.status == 503)
}
