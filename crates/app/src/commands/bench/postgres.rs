//! From the queue into PostgreSQL, against a binary copy into the same table.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use model::{SystemClock, limits::STORE_BATCH_EVENTS_MAX};
use store::{EventStore, MetaStore};
use store_postgres::{PostgresEventStore, PostgresMetaStore, ceiling::BareCopy};

use super::{
    Bench,
    store::{EVENTS_PER_BATCH, Rows, fill, process},
    workers,
};
use crate::{
    bench::{
        children::Site,
        report::{Bar, Measure, Section},
    },
    config::Settings,
    usage::usage,
};

/// Fills a queue while no worker runs, then times the worker alone; ours and the copy by turns, into one table that grows by both.
pub async fn measure(bench: &Bench<'_>, settings: &Settings) -> anyhow::Result<Section> {
    let Some(url) = settings.database_url.as_deref() else {
        return Err(usage(
            "name an empty PostgreSQL database with DATABASE_URL: the benchmark fills it",
        ));
    };
    check_empty(bench, url).await?;
    if bench.options.workers.is_empty() {
        return drain(bench, url).await;
    }
    match settings.redis_url.as_deref() {
        Some(redis_url) => workers::scale(bench, url, redis_url).await,
        None => Err(usage(
            "name a Redis with REDIS_URL: --workers take from one queue in it",
        )),
    }
}

async fn drain(bench: &Bench<'_>, url: &str) -> anyhow::Result<Section> {
    let events = bench.options.events / EVENTS_PER_BATCH * EVENTS_PER_BATCH;
    let rounds = bench.options.rounds;
    let (mut ours, mut ceilings) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        let says = |what: &str| bench.says(format!("queue to PostgreSQL: round {number} of {rounds}, {what}"));
        says("filling the queue");
        let site = Site::new(&bench.options.scratch())?.with_database(url);
        fill(bench, &site, events).await?;
        says("ours");
        ours.push(process(&site, events).await?);
        says("binary copy");
        ceilings.push(bare_copy(bench, url, events).await?);
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&ceilings)
        .map(|(ours, ceiling)| ours / ceiling)
        .collect();
    Ok(Section {
        title: format!("Queue to PostgreSQL, {} events", crate::output::grouped(events)),
        measures: vec![
            Measure::of_rounds("ours", "events/s", ours),
            Measure::of_rounds("binary COPY into the same table", "events/s", ceilings),
            Measure::of_rounds("ours / binary COPY", "", ratios).with_bar(Bar::AtLeast(0.5)),
        ],
    })
}

/// Events that are there would be measured with, and what is measured would stay among them.
async fn check_empty(bench: &Bench<'_>, url: &str) -> anyhow::Result<()> {
    let meta = PostgresMetaStore::open(url).await?;
    let projects = meta.projects().await?;
    meta.close().await;
    let store = PostgresEventStore::open(url, None, Arc::new(SystemClock)).await?;
    let events = store.status(bench.clock.now()).await?.events;
    store.close().await?;
    if !projects.is_empty() || events > 0 {
        bail!("the database of DATABASE_URL is not empty: make one for the benchmark and drop it afterwards");
    }
    Ok(())
}

/// Rows a second of a bare copy, for the same kind of events in the store's batches. Only copying is timed.
pub(super) async fn bare_copy(bench: &Bench<'_>, url: &str, events: u64) -> anyhow::Result<f64> {
    let copy = BareCopy::open(url, Arc::new(SystemClock)).await?;
    let mut rows = Rows::new(bench.clock.now())?;
    let mut elapsed = Duration::ZERO;
    let mut left = usize::try_from(events)?;
    while left > 0 {
        let batch = rows.next_batch(left.min(STORE_BATCH_EVENTS_MAX))?;
        left -= batch.len();
        copy.prepare(&batch).await?;
        let started = Instant::now();
        copy.append(&batch).await?;
        elapsed += started.elapsed();
    }
    Ok(events as f64 / elapsed.as_secs_f64())
}
