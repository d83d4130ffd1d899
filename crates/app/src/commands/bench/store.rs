//! From the queue into the store, against a bare appender into the same table.

use std::time::{Duration, Instant};

use anyhow::bail;
use ingest::Enricher;
use model::{EnrichedEvent, ProjectId, Timestamp, limits::STORE_BATCH_EVENTS_MAX};
use server::admin::types::ProcessReport;
use store_duckdb::{DuckdbOptions, ceiling::BareAppender};

use super::Bench;
use crate::{
    bench::{
        children::Site,
        load::{self, Shape},
        payload::{self, Head, Template},
        report::{Bar, Measure, Section},
    },
    generate::{LiveTraffic, Visit},
};

pub(super) const EVENTS_PER_BATCH: u64 = 500;
const FILLING_CONNECTIONS: usize = 8;
/// Different requests that are sent round and round, each with the address and browser of another visitor.
const TEMPLATES: usize = 200;
/// Ends a fill that does not get on.
const FILL_TIMEOUT: Duration = Duration::from_secs(3600);

/// Fills a queue while no worker runs, then times the worker alone.
pub async fn drain(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let events = bench.options.events / EVENTS_PER_BATCH * EVENTS_PER_BATCH;
    let (mut ours, mut ceilings) = (Vec::new(), Vec::new());
    for number in 1..=bench.options.rounds {
        let rounds = bench.options.rounds;
        bench.says(format!("queue to store: round {number} of {rounds}, filling the queue"));
        let site = Site::new(&bench.options.scratch())?;
        fill(bench, &site, events).await?;
        bench.says(format!("queue to store: round {number} of {rounds}, ours"));
        ours.push(process(&site, events).await?);
        bench.says(format!("queue to store: round {number} of {rounds}, bare appender"));
        ceilings.push(bare_appender(bench, events).await?);
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&ceilings)
        .map(|(ours, ceiling)| ours / ceiling)
        .collect();
    Ok(Section {
        title: format!("Queue to embedded store, {} events", crate::output::grouped(events)),
        measures: vec![
            Measure::of_rounds("ours", "events/s", ours),
            Measure::of_rounds("bare DuckDB appender", "events/s", ceilings),
            Measure::of_rounds("ours / bare appender", "", ratios).with_bar(Bar::AtLeast(0.6)),
        ],
    })
}

/// Events a second of the worker alone.
pub(super) async fn process(site: &Site, events: u64) -> anyhow::Result<f64> {
    let printed = site.run(["process_events", "--json"]).await?;
    let report: ProcessReport = serde_json::from_slice(&printed)?;
    if report.stored != events || report.waiting != 0 {
        bail!(
            "{events} events were accepted, {} stored, {} wait",
            report.stored,
            report.waiting
        );
    }
    Ok(events as f64 * 1_000.0 / report.elapsed_ms.max(1) as f64)
}

/// Sends realistic events to a server without worker.
pub(super) async fn fill(bench: &Bench<'_>, site: &Site, events: u64) -> anyhow::Result<()> {
    let project = site.create_project().await?;
    let server = site.serve("api").await?;
    let templates = templates(bench, project.public_api_key.expose());
    let shape = Shape {
        connections: FILLING_CONNECTIONS,
        warm_up: Duration::ZERO,
        length: FILL_TIMEOUT,
        rate: None,
        requests_max: Some(events / EVENTS_PER_BATCH),
    };
    let measured = load::run(server.address, &templates, &bench.numbers, shape).await?;
    if let Some(error) = measured.first_error {
        bail!("the queue could not be filled: {error}");
    }
    server.stop().await
}

fn templates(bench: &Bench<'_>, key: &str) -> Vec<Template> {
    let now = bench.clock.now();
    let mut traffic = LiveTraffic::new(1, 1, 20_000, 2_000);
    (0..TEMPLATES)
        .map(|_| {
            let visit: Visit = (0..EVENTS_PER_BATCH).map(|_| traffic.event()).collect();
            let address = visit[0].ip_address.clone();
            let user_agent = visit[0].user_agent.clone().unwrap_or_default();
            let bodies: Vec<String> = visit
                .into_iter()
                .map(|mut event| {
                    event.event_id = payload::slot();
                    event.timestamp = now.to_string();
                    event.ip_address = None;
                    event.user_agent = None;
                    serde_json::to_string(&event).unwrap_or_default()
                })
                .collect();
            let head = Head {
                path: "/api/events/batch/",
                key,
                user_agent: &user_agent,
                address: address.as_deref(),
            };
            Template::new(head, &format!("[{}]", bodies.join(",")))
        })
        .collect()
}

/// Rows a second of a bare appender, for the same kind of events in the store's batches. Only appending is timed.
async fn bare_appender(bench: &Bench<'_>, events: u64) -> anyhow::Result<f64> {
    let site = Site::new(&bench.options.scratch())?;
    let now = bench.clock.now();
    let elapsed = tokio::task::spawn_blocking(move || -> anyhow::Result<Duration> {
        let appender = BareAppender::open(&site.data_dir(), &DuckdbOptions::default())?;
        let mut rows = Rows::new(now)?;
        let mut elapsed = Duration::ZERO;
        let mut left = usize::try_from(events)?;
        while left > 0 {
            let batch = rows.next_batch(left.min(STORE_BATCH_EVENTS_MAX))?;
            left -= batch.len();
            let started = Instant::now();
            appender.append(&batch)?;
            elapsed += started.elapsed();
        }
        Ok(elapsed)
    })
    .await??;
    Ok(events as f64 / elapsed.as_secs_f64())
}

/// Makes rows as the worker would.
pub(super) struct Rows {
    traffic: LiveTraffic,
    enricher: Enricher,
    project: ProjectId,
    now: Timestamp,
    made: u64,
}

impl Rows {
    pub(super) fn new(now: Timestamp) -> anyhow::Result<Self> {
        Ok(Self {
            traffic: LiveTraffic::new(1, 1, 20_000, 2_000),
            enricher: Enricher::new(None, None)?,
            project: ProjectId::generate(now),
            now,
            made: 0,
        })
    }

    pub(super) fn next_batch(&mut self, events: usize) -> anyhow::Result<Vec<EnrichedEvent>> {
        (0..events).map(|_| self.row()).collect()
    }

    fn row(&mut self) -> anyhow::Result<EnrichedEvent> {
        let mut event = self.traffic.event();
        event.event_id = format!("{:016}", self.made);
        event.timestamp = self.now.to_string();
        self.made += 1;
        let line = serde_json::to_vec(&event)?;
        let accepted = ingest::decode_import_line(&line, self.project, self.now)
            .map_err(|fields| anyhow::anyhow!("a made-up event is refused: {}", fields.to_line()))?;
        let mut row = self.enricher.enrich(accepted);
        // What the run-time tables say of most visitors.
        row.derived.country = Some("US".to_owned());
        row.derived.browser = Some("Chrome".to_owned());
        row.derived.browser_version = Some("138".to_owned());
        row.derived.os = Some("Windows".to_owned());
        row.derived.device = Some("desktop".to_owned());
        Ok(row)
    }
}
