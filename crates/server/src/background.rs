//! What runs beside requests and the worker: refreshing settings, sending tallies. And cleaning up, when the scheduler or the operator asks.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::{Project, ProjectId, Timestamp};
use queue::Records;
use store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::types::{CleanupProject, CleanupReport, CleanupRequest},
    engine::Engine,
};

/// How often settings are looked at: changes must reach every process within two seconds.
const REFRESH_INTERVAL: Duration = Duration::from_millis(250);
/// How often outcomes that no event carries are queued: at most this much of them is lost in a crash, on both sides of the ledger.
const TALLY_INTERVAL: Duration = Duration::from_secs(1);
/// Metrics are folded so often.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the directory up to date until `stop`.
pub async fn refresh_directory(engine: Arc<Engine>, stop: CancellationToken) {
    let mut ticks = Ticks::new(REFRESH_INTERVAL, stop);
    while ticks.next().await {
        if let Err(error) = engine.directory.refresh(&**engine.meta()).await {
            tracing::warn!(%error, "settings could not be read; the last ones stay in force");
        }
    }
}

/// Queues tallies until `stop`. Requests that are answered after that need [`flush_tallies`] once more.
pub async fn send_tallies(engine: Arc<Engine>, stop: CancellationToken) {
    let mut ticks = Ticks::new(TALLY_INTERVAL, stop);
    while ticks.next().await {
        flush_tallies(&engine).await;
    }
}

/// Folds metrics until `stop`.
pub async fn keep_metrics(engine: Arc<Engine>, stop: CancellationToken) {
    let mut ticks = Ticks::new(UPKEEP_INTERVAL, stop);
    while ticks.next().await {
        engine.metrics.upkeep();
    }
}

/// Something that is due again and again until it is stopped.
pub(crate) struct Ticks {
    interval: tokio::time::Interval,
    stop: CancellationToken,
}

impl Ticks {
    /// The first is due at once.
    pub(crate) fn new(period: Duration, stop: CancellationToken) -> Self {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { interval, stop }
    }

    /// Waits until it is due; `false` when it is stopped.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interval.tick() => true,
            () = self.stop.cancelled() => false,
        }
    }
}

/// Queues the outcomes so far that no event carries.
pub(crate) async fn flush_tallies(engine: &Engine) {
    let tallies = engine.ledger.take_unsent();
    if tallies.is_empty() {
        return;
    }
    let mut records = Records::default();
    let encoded = tallies.iter().try_for_each(|tally| records.push_tally(tally));
    let outcome = match encoded {
        Ok(()) => engine.queue().append(records).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "tallies could not be queued; tried again");
        engine.ledger.restore(tallies);
    }
}

/// Deletes events older than each project keeps, then gives the space back.
pub async fn cleanup(engine: &Engine, request: &CleanupRequest) -> Result<CleanupReport, StoreError> {
    let now = engine.clock().now();
    let mut report = CleanupReport {
        dry_run: request.dry_run,
        ..CleanupReport::default()
    };
    report.bytes_before = engine.store().status(now).await?.bytes;
    let mut projects = engine.directory.projects();
    projects.sort_by(|one, other| one.name.cmp(&other.name));
    projects.retain(|project| request.project.is_none_or(|only| only == project.id));
    for project in projects {
        if let Some(before) = keeps_from(&project, request.days, now) {
            report.projects.push(CleanupProject {
                id: project.id,
                name: project.name,
                before,
                deleted: 0,
            });
        }
    }
    let expired: Vec<(ProjectId, Timestamp)> = report
        .projects
        .iter()
        .map(|project| (project.id, project.before))
        .collect();
    for (project, deleted) in report
        .projects
        .iter_mut()
        .zip(delete_expired(engine, &expired, request.dry_run).await?)
    {
        project.deleted = deleted;
    }
    if report.projects.iter().any(|project| project.deleted > 0) && !request.dry_run {
        engine.reclaim_owed.store(true, Ordering::Relaxed);
    }
    // Also when nothing was deleted now: an earlier try may have found no room for the copy.
    if !request.dry_run && engine.reclaim_owed.load(Ordering::Relaxed) {
        report.reclaim_error = engine.store().reclaim(false).await.err().map(|error| error.to_string());
        engine
            .reclaim_owed
            .store(report.reclaim_error.is_some(), Ordering::Relaxed);
    }
    report.bytes_after = engine.store().status(now).await?.bytes;
    Ok(report)
}

/// Deletes (with `dry_run`: counts) what each project no longer keeps; how many of each.
async fn delete_expired(
    engine: &Engine,
    expired: &[(ProjectId, Timestamp)],
    dry_run: bool,
) -> Result<Vec<u64>, StoreError> {
    if !dry_run {
        return engine.store().delete_expired(expired).await;
    }
    let mut counted = Vec::with_capacity(expired.len());
    for (project, before) in expired {
        counted.push(engine.store().delete(*project, Some(*before), true).await?);
    }
    Ok(counted)
}

/// The first instant that is kept; `None` = everything is.
fn keeps_from(project: &Project, days: Option<u32>, now: Timestamp) -> Option<Timestamp> {
    match days {
        Some(days) => Some(now.days_before(days)),
        None => project.keeps_from(now),
    }
}

/// When a quota is free again: the first instant of the next calendar month, UTC.
pub(crate) fn next_month(now: Timestamp) -> Timestamp {
    let date = now.date_in(&jiff::tz::TimeZone::UTC);
    let next = date.first_of_month().checked_add(jiff::Span::new().months(1));
    let start = next.ok().and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    start.map_or(Timestamp::MAX, |start| Timestamp::from(start.timestamp()))
}
