//! Everything on: load at a steady rate, everything stored, readable soon.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use model::Project;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Bench;
use crate::{
    bench::{
        children::{Server, Site},
        load::{self, Measured, Shape},
        payload::{self, Head, Template},
        report::{Bar, Measure, Section},
        stats::{Latencies, median},
    },
    http_client::{HttpClient, server_url},
};

/// Longest measurement of the bare handler.
const CEILING_LENGTH_MAX: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);
/// Share of the bare handler that must be sustained.
const SUSTAINED_SHARE: f64 = 0.25;
/// Share that is sent, so that the last requests of a round, which are not counted, do not decide.
const SENT_SHARE: f64 = 0.26;
/// A rate counts as kept when so much of it was accepted.
const RATE_KEPT: f64 = 0.98;
/// Emptying the queue after the load.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);
const MARKER: &str = "bench_marker";
const MARKER_INTERVAL: Duration = Duration::from_millis(100);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// A marker that is not readable by then ends the measurement.
const READABLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest measurement with markers: 200 of them tell a 99th percentile.
const LATENCY_LENGTH_MAX: Duration = Duration::from_secs(20);

/// A server with everything on, and its project.
struct Subject {
    server: Server,
    project: Project,
    /// Events that it said yes to.
    accepted: u64,
}

/// Sustained load, then latency at half of it.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Vec<Section>> {
    let site = Site::new(&bench.options.scratch())?;
    let ceiling = ceiling(bench, &site).await?;
    let rate = bench.options.rate.map_or(ceiling * SENT_SHARE, f64::from);
    let project = site.create_project().await?;
    let server = site.serve("api,worker,scheduler,dashboard").await?;
    let mut subject = Subject {
        server,
        project,
        accepted: 0,
    };
    let sustained = sustained(bench, &mut subject, rate, ceiling).await?;
    let latency = latency(bench, &mut subject, rate / 2.0).await?;
    subject.server.stop().await?;
    Ok(vec![sustained, latency])
}

async fn ceiling(bench: &Bench<'_>, site: &Site) -> anyhow::Result<f64> {
    bench.says("end to end: the bare handler");
    let bare = site.bare().await?;
    let shape = Shape {
        connections: bench.options.connections(64),
        warm_up: WARM_UP,
        length: bench.sustained_length().min(CEILING_LENGTH_MAX),
        rate: None,
        requests_max: None,
    };
    let measured = load::run(bare.address, &[template(bench, "sa_none")], &bench.numbers, shape).await?;
    bare.kill().await?;
    Ok(measured.rate())
}

fn template(bench: &Bench<'_>, key: &str) -> Template {
    let head = Head {
        path: "/api/events/ingest/",
        key,
        user_agent: "simple-analytics-bench/1",
        address: None,
    };
    Template::new(head, &payload::event(&bench.clock.now().to_string()))
}

/// Sends at `rate` for `length`.
async fn send(bench: &Bench<'_>, subject: &Subject, rate: f64, length: Duration) -> anyhow::Result<Measured> {
    let shape = Shape {
        connections: bench.options.connections(64),
        warm_up: WARM_UP,
        length,
        rate: Some(rate),
        requests_max: None,
    };
    let template = template(bench, subject.project.public_api_key.expose());
    let measured = load::run(subject.server.address, &[template], &bench.numbers, shape).await?;
    if let Some(error) = &measured.first_error {
        bail!(
            "{} requests of the load were not accepted; the first: {error}",
            measured.errors
        );
    }
    Ok(measured)
}

async fn sustained(bench: &Bench<'_>, subject: &mut Subject, rate: f64, ceiling: f64) -> anyhow::Result<Section> {
    let length = bench.sustained_length();
    bench.says(format!("end to end: {rate:.0} events/s for {} s", length.as_secs()));
    let (measured, backlog) = tokio::join!(send(bench, subject, rate, length), watch(subject, length));
    let (mut measured, backlog) = (measured?, backlog?);
    subject.accepted += measured.accepted;
    bench.says("end to end: waiting until everything is stored");
    let settled = Instant::now();
    settle(subject).await?;
    let memory = subject.server.memory();
    let third = backlog.len() / 3;
    let growth = median(&backlog[2 * third..]) - median(&backlog[third..2 * third]);
    Ok(Section {
        title: format!(
            "End to end, {rate:.0} events/s for {} s, everything on",
            length.as_secs()
        ),
        measures: vec![
            Measure::of("bare handler", "events/s", ceiling),
            Measure::of("accepted and stored", "events/s", measured.rate()).with_bar(Bar::AtLeast(rate * RATE_KEPT)),
            Measure::of("accepted / bare handler", "", measured.rate() / ceiling)
                .with_bar(Bar::AtLeast(SUSTAINED_SHARE)),
            Measure::of("p50", "ms", measured.latencies.percentile_ms(0.5)),
            Measure::of("p99", "ms", measured.latencies.percentile_ms(0.99)),
            Measure::of("backlog, median", "events", median(&backlog)),
            // Flat: in the last third not a second's worth more than in the middle one.
            Measure::of("backlog, growth", "events", growth).with_bar(Bar::AtMost(rate)),
            Measure::of("emptied after the load in", "s", settled.elapsed().as_secs_f64()),
            Measure::of("memory, at its highest", "MiB", memory.peak as f64 / f64::from(1 << 20))
                .with_bar(Bar::AtMost(400.0)),
        ],
    })
}

/// The queue's length, every second.
async fn watch(subject: &Subject, length: Duration) -> anyhow::Result<Vec<f64>> {
    let mut backlog = Vec::new();
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..=length.as_secs() {
        ticks.tick().await;
        backlog.push(subject.server.admin.status().await?.queue.waiting as f64);
    }
    Ok(backlog)
}

/// Waits until the queue is empty; then everything that was accepted must be stored, once.
async fn settle(subject: &Subject) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let status = subject.server.admin.status().await?;
        if status.queue.waiting == 0 {
            let project = status.projects.iter().find(|project| project.id == subject.project.id);
            let ledger = project.context("the project is gone")?.ledger;
            if ledger.stored != subject.accepted || ledger.duplicate != 0 || ledger.dead_lettered != 0 {
                bail!("{} events were accepted; the ledger says {ledger:?}", subject.accepted);
            }
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{} events still wait {} s after the load",
                status.queue.waiting,
                SETTLE_TIMEOUT.as_secs()
            );
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn latency(bench: &Bench<'_>, subject: &mut Subject, rate: f64) -> anyhow::Result<Section> {
    bench.says(format!("end to end: accepted to readable at {rate:.0} events/s"));
    let length = bench.sustained_length().min(LATENCY_LENGTH_MAX);
    let (measured, markers) = tokio::join!(send(bench, subject, rate, length), markers(subject, length));
    let (measured, mut markers) = (measured?, markers?);
    subject.accepted += measured.accepted + markers.count() as u64;
    settle(subject).await?;
    Ok(Section {
        title: format!(
            "Accepted to readable at {rate:.0} events/s, {} markers",
            markers.count()
        ),
        measures: vec![
            Measure::of("p50", "ms", markers.percentile_ms(0.5)).with_bar(Bar::AtMost(400.0)),
            Measure::of("p99", "ms", markers.percentile_ms(0.99)).with_bar(Bar::AtMost(1_000.0)),
            Measure::of("longest", "ms", markers.percentile_ms(1.0)),
        ],
    })
}

/// Sends a marker now and then, and asks for the newest all the time: from its 202 to the first answer that has it.
async fn markers(subject: &Subject, length: Duration) -> anyhow::Result<Latencies> {
    let base = server_url(&format!("http://{}", subject.server.address)).map_err(anyhow::Error::msg)?;
    let mut sender = HttpClient::new(base.clone());
    let mut reader = HttpClient::new(base);
    let mut latencies = Latencies::default();
    let mut unseen: HashMap<String, Instant> = HashMap::new();
    let mut ticks = interval(MARKER_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = Instant::now() + length;
    let mut number = 0;
    while Instant::now() < end || !unseen.is_empty() {
        if Instant::now() < end {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    number += 1;
                    let id = format!("marker-{number}");
                    send_marker(subject, &mut sender, &id).await?;
                    unseen.insert(id, Instant::now());
                }
                () = sleep(POLL_INTERVAL) => {}
            }
        } else {
            sleep(POLL_INTERVAL).await;
        }
        for id in readable(subject, &mut reader).await? {
            if let Some(accepted_at) = unseen.remove(&id) {
                latencies.add(accepted_at.elapsed());
            }
        }
        if let Some((id, _)) = unseen.iter().find(|(_, at)| at.elapsed() > READABLE_TIMEOUT) {
            bail!(
                "{id} was accepted {} s ago and cannot be read",
                READABLE_TIMEOUT.as_secs()
            );
        }
    }
    Ok(latencies)
}

async fn send_marker(subject: &Subject, client: &mut HttpClient, id: &str) -> anyhow::Result<()> {
    let authorization = format!("Bearer {}", subject.project.public_api_key.expose());
    let body = serde_json::to_vec(&json!({"event_name": MARKER, "event_id": id}))?;
    let headers = [("authorization", authorization.as_str())];
    let answer = client.send("POST", "api/events/ingest/", &headers, body.into()).await?;
    if answer.status != 202 {
        bail!("a marker was not accepted: {}", String::from_utf8_lossy(&answer.body));
    }
    Ok(())
}

/// Ids of the newest markers that can be read.
async fn readable(subject: &Subject, client: &mut HttpClient) -> anyhow::Result<Vec<String>> {
    let authorization = format!("Bearer {}", subject.project.private_api_key.expose());
    let headers = [("authorization", authorization.as_str())];
    let path = format!("api/events/query/?event_name={MARKER}&page_size=50");
    let answer = client.send("GET", &path, &headers, Bytes::new()).await?;
    if answer.status != 200 {
        bail!("markers cannot be read: {}", String::from_utf8_lossy(&answer.body));
    }
    let page: Value = serde_json::from_slice(&answer.body)?;
    let results = page["results"].as_array().context("the answer has no results")?;
    let ids = results.iter().filter_map(|event| event["event_id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}
