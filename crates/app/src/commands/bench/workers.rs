//! Several worker processes on one queue in Redis and one database, against a binary copy by one connection.

use std::time::Duration;

use anyhow::bail;
use server::admin::types::ProcessReport;

use super::{
    Bench,
    postgres::bare_copy,
    store::{EVENTS_PER_BATCH, fill},
};
use crate::bench::{
    children::Site,
    report::{Measure, Section},
};

/// Redis keeps what waits in memory; this much holds the events of a round.
const REDIS_QUEUE_BYTES: &str = "2GiB";

/// For each number of workers: fills the queue while none runs, then lets them all empty it; then the copy.
pub async fn scale(bench: &Bench<'_>, database_url: &str, redis_url: &str) -> anyhow::Result<Section> {
    let events = bench.options.events / EVENTS_PER_BATCH * EVENTS_PER_BATCH;
    let counts = &bench.options.workers;
    let mut rates = vec![Vec::new(); counts.len()];
    let mut ratios = vec![Vec::new(); counts.len()];
    let mut ceilings = Vec::new();
    for round in 1..=bench.options.rounds {
        for (place, count) in counts.iter().enumerate() {
            bench.says(format!("round {round} of {}: {count} workers", bench.options.rounds));
            rates[place].push(drain(bench, database_url, redis_url, events, *count).await?);
        }
        bench.says(format!("round {round} of {}: binary copy", bench.options.rounds));
        let ceiling = bare_copy(bench, database_url, events).await?;
        for (ratios, rates) in ratios.iter_mut().zip(&rates) {
            ratios.extend(rates.last().map(|rate| rate / ceiling));
        }
        ceilings.push(ceiling);
    }
    let mut measures = vec![Measure::of_rounds(
        "binary COPY into the same table",
        "rows/s",
        ceilings,
    )];
    for ((count, rates), ratios) in counts.iter().zip(rates).zip(ratios) {
        let workers = if *count == 1 { "worker" } else { "workers" };
        measures.push(Measure::of_rounds(&format!("{count} {workers}"), "events/s", rates));
        measures.push(Measure::of_rounds(
            &format!("{count} {workers} / binary COPY"),
            "",
            ratios,
        ));
    }
    Ok(Section {
        title: format!(
            "Redis to PostgreSQL by workers, {} events",
            crate::output::grouped(events)
        ),
        measures,
    })
}

/// Events a second of so many worker processes together: all of them, by the time of the one that took longest.
async fn drain(
    bench: &Bench<'_>,
    database_url: &str,
    redis_url: &str,
    events: u64,
    workers: u16,
) -> anyhow::Result<f64> {
    // Its own keys: nobody else's events are taken, and nothing of an interrupted run.
    let prefix = format!("bench-{}:", uuid::Uuid::new_v4());
    let site = || -> anyhow::Result<Site> {
        let site = Site::new(&bench.options.scratch())?.with_database(database_url);
        Ok(site.with_redis(redis_url, &prefix, REDIS_QUEUE_BYTES))
    };
    fill(bench, &site()?, events).await?;
    let sites: Vec<Site> = (0..workers).map(|_| site()).collect::<anyhow::Result<_>>()?;
    let at_work = sites.iter().map(|site| site.run(["process_events", "--json"]));
    let (mut stored, mut longest) = (0, Duration::from_millis(1));
    for printed in futures::future::try_join_all(at_work).await? {
        let report: ProcessReport = serde_json::from_slice(&printed)?;
        stored += report.stored;
        longest = longest.max(Duration::from_millis(report.elapsed_ms));
    }
    if stored != events {
        bail!("{events} events were accepted and {stored} stored");
    }
    Ok(events as f64 / longest.as_secs_f64())
}
