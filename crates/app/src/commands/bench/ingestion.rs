//! Taking events: until they are durable, nothing further.

use std::time::Duration;

use anyhow::bail;

use super::Bench;
use crate::bench::{
    children::{Memory, Server, Site},
    load::{self, Measured, Shape},
    payload::{self, Head, Template},
    report::{Bar, Measure, Section},
};

const EVENTS_PER_BATCH: usize = 500;
/// As many as the design measured with: fewer leave processors idle while a group of batches is flushed.
const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);

/// One of the two that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Ceiling,
}

/// What is sent.
struct Kind {
    title: &'static str,
    path: &'static str,
    events_per_request: usize,
    connections: usize,
    ratio: f64,
    p99_ms: Option<f64>,
}

/// Single events.
pub async fn single(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let kind = Kind {
        title: "Single events, 202 = durable, embedded queue",
        path: "/api/events/ingest/",
        events_per_request: 1,
        connections: bench.options.connections(CONNECTIONS),
        ratio: 0.6,
        p99_ms: Some(20.0),
    };
    compare(bench, &kind).await
}

/// Batches.
pub async fn batches(bench: &Bench<'_>) -> anyhow::Result<Section> {
    let kind = Kind {
        title: "Batches of 500 events, 202 = durable, embedded queue",
        path: "/api/events/batch/",
        events_per_request: EVENTS_PER_BATCH,
        connections: bench.options.connections(CONNECTIONS),
        ratio: 0.5,
        p99_ms: None,
    };
    compare(bench, &kind).await
}

/// One round of one side.
struct Round {
    measured: Measured,
    idle: Memory,
    after: Memory,
}

async fn compare(bench: &Bench<'_>, kind: &Kind) -> anyhow::Result<Section> {
    let (mut ours, mut ceilings) = (Vec::new(), Vec::new());
    for number in 0..bench.options.rounds {
        // Whoever goes first changes from round to round.
        let order = if number % 2 == 0 {
            [Side::Ours, Side::Ceiling]
        } else {
            [Side::Ceiling, Side::Ours]
        };
        for side in order {
            let who = if side == Side::Ours { "ours" } else { "the bare handler" };
            bench.says(format!(
                "{}: round {} of {}, {who}",
                kind.title,
                number + 1,
                bench.options.rounds
            ));
            let round = round(bench, kind, side).await?;
            match side {
                Side::Ours => ours.push(round),
                Side::Ceiling => ceilings.push(round),
            }
        }
    }
    Ok(section(kind, &mut ours, &mut ceilings))
}

async fn round(bench: &Bench<'_>, kind: &Kind, side: Side) -> anyhow::Result<Round> {
    let site = Site::new(&bench.options.scratch())?;
    let (server, key) = match side {
        Side::Ours => {
            let project = site.create_project().await?;
            (site.serve("api").await?, project.public_api_key.expose().to_owned())
        }
        Side::Ceiling => (site.bare().await?, "sa_none".to_owned()),
    };
    let now = bench.clock.now().to_string();
    let body = match kind.events_per_request {
        1 => payload::event(&now),
        events => payload::batch(&now, events),
    };
    let head = Head {
        path: kind.path,
        key: &key,
        user_agent: "simple-analytics-bench/1",
        address: None,
    };
    let templates = [Template::new(head, &body)];
    let shape = Shape {
        connections: kind.connections,
        warm_up: WARM_UP,
        length: bench.options.round_length(),
        rate: None,
        requests_max: None,
    };
    let idle = server.memory();
    let measured = load::run(server.address, &templates, &bench.numbers, shape).await?;
    let after = server.memory();
    finish(server, side, &measured, kind).await?;
    Ok(Round { measured, idle, after })
}

/// Ends the server; ours must hold every event that it said yes to.
async fn finish(server: Server, side: Side, measured: &Measured, kind: &Kind) -> anyhow::Result<()> {
    if let Some(error) = &measured.first_error {
        bail!(
            "{} requests of the load were not accepted; the first: {error}",
            measured.errors
        );
    }
    if side == Side::Ours {
        let waiting = server.admin.status().await?.queue.waiting;
        let accepted = measured.accepted * kind.events_per_request as u64;
        if waiting != accepted {
            bail!("the server accepted {accepted} events, but its queue holds {waiting}");
        }
    }
    server.kill().await
}

fn section(kind: &Kind, ours: &mut [Round], ceilings: &mut [Round]) -> Section {
    let events = kind.events_per_request as f64;
    let rates = |rounds: &[Round]| {
        rounds
            .iter()
            .map(|round| round.measured.rate() * events)
            .collect::<Vec<_>>()
    };
    let (our_rates, ceiling_rates) = (rates(ours), rates(ceilings));
    let ratios: Vec<f64> = our_rates
        .iter()
        .zip(&ceiling_rates)
        .map(|(ours, ceiling)| ours / ceiling)
        .collect();
    let percentile = |rounds: &mut [Round], share: f64| {
        rounds
            .iter_mut()
            .map(|round| round.measured.latencies.percentile_ms(share))
            .collect::<Vec<_>>()
    };
    let mebibytes = |memory: fn(&Round) -> u64, rounds: &[Round]| {
        rounds
            .iter()
            .map(|round| memory(round) as f64 / f64::from(1 << 20))
            .collect::<Vec<_>>()
    };
    let mut p99 = Measure::of_rounds("p99", "ms", percentile(ours, 0.99));
    if let Some(most) = kind.p99_ms {
        p99 = p99.with_bar(Bar::AtMost(most));
    }
    Section {
        title: format!("{}; {} connections", kind.title, kind.connections),
        measures: vec![
            Measure::of_rounds("ours", "events/s", our_rates),
            Measure::of_rounds("bare handler", "events/s", ceiling_rates),
            Measure::of_rounds("ours / bare handler", "", ratios).with_bar(Bar::AtLeast(kind.ratio)),
            Measure::of_rounds("p50", "ms", percentile(ours, 0.5)),
            p99,
            Measure::of_rounds("bare handler p50", "ms", percentile(ceilings, 0.5)),
            Measure::of_rounds("bare handler p99", "ms", percentile(ceilings, 0.99)),
            Measure::of_rounds("memory, idle", "MiB", mebibytes(|round| round.idle.resident, ours))
                .with_bar(Bar::AtMost(60.0)),
            Measure::of_rounds(
                "memory, at its highest",
                "MiB",
                mebibytes(|round| round.after.peak, ours),
            )
            .with_bar(Bar::AtMost(400.0)),
        ],
    }
}
