//! `generate`: demo traffic.

mod over_http;

use std::{process::ExitCode, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use model::{ProjectId, Timestamp};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::{Context, fields::project_id};
use crate::{
    engine::{OnInterrupt, stop_signal, with_admin},
    generate::{LiveTraffic, Plan, Traffic, Visit, dice::Dice},
    http_client::server_url,
    output::{duration, grouped},
    queue_feed::{Feed, Line, Settled},
    usage::usage,
    wiring,
};
use over_http::{HttpSender, Sent};

/// Events handed over at once.
const EVENTS_PER_BATCH: usize = 2_000;
/// Events are sent in steps of this length when a rate is asked for.
const TICK: Duration = Duration::from_millis(100);
/// Mean seconds between two events of one visitor: decides how many are there at once.
const SECONDS_BETWEEN_EVENTS: f64 = 38.0;
const VISITORS_MAX: f64 = 100_000.0;

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Makes visits of a shop: page views, searches, sign-ups, purchases; people who come back; browsers, countries, \
    referrers and campaigns. The same --seed, --users, --events, --days and --until make the same events: nothing is stored twice. \
    Over HTTP the limits of project and address apply, and country and browser only come out if the server trusts this machine as a proxy.\n\nExamples:\n  \
    simple-analytics generate --project ID --events 100000\n  \
    simple-analytics generate --project ID --rate 50 --duration 60\n  \
    simple-analytics generate --url http://127.0.0.1:8000 --key sa_… --events 1000"
)]
pub struct Args {
    /// Events, spread over the past days [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["rate", "duration"])]
    events: Option<u64>,
    /// Events a second, from now on
    #[arg(long, value_name = "EVENTS", value_parser = rate)]
    rate: Option<f64>,
    /// Seconds for which the rate is kept [default: 60]
    #[arg(long, value_name = "SECONDS", requires = "rate")]
    duration: Option<u64>,
    /// People
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Decides everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Days over which the events are spread
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// End of these days, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// The project, when the events go straight into the queue [default: the only one]
    #[arg(long, value_name = "ID", value_parser = project_id, conflicts_with = "url")]
    project: Option<ProjectId>,
    /// Send over HTTP to this server instead
    #[arg(long, value_name = "URL", value_parser = server_url, requires = "key")]
    url: Option<Url>,
    /// Public key for --url
    #[arg(long, value_name = "KEY", requires = "url")]
    key: Option<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("a rate is a number above 0".to_owned()),
    }
}

fn until(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("{text:?} is {error}"))
}

/// What was made, and what became of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    sent: u64,
    accepted: u64,
    new: u64,
    duplicates: u64,
    sampled_out: u64,
    refused: u64,
    elapsed_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_refusal: Option<String>,
    /// Over HTTP nobody waits until events are stored.
    stored_known: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let bar = progress(&args, context);
    let mut report = match (&args.url, &args.key) {
        (Some(url), Some(key)) => {
            let mut sender = HttpSender::new(url.clone(), key.clone());
            make(&args, context, &mut Target::Http(&mut sender), &bar).await?;
            over_http_report(sender.finish())
        }
        _ => {
            let project = project(&args, context).await?;
            with_admin(&context.settings, OnInterrupt::LeaveToWork, async |client| {
                let mut target = QueueTarget::begin(Feed::begin(client, project).await?);
                make(&args, context, &mut Target::Queue(&mut target), &bar).await?;
                bar.set_message("storing");
                target.finish().await
            })
            .await?
        }
    };
    bar.finish_and_clear();
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    context.output.answer(&report, || text(&report))?;
    Ok(if report.accepted == 0 && report.refused > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The project that was named, or the only one there is.
async fn project(args: &Args, context: &Context) -> anyhow::Result<ProjectId> {
    if let Some(id) = args.project {
        return Ok(id);
    }
    let store = wiring::open_meta_store(&context.settings).await?;
    let projects = store.projects().await;
    store.close().await;
    match projects?.as_slice() {
        [project] => Ok(project.id),
        [] => Err(usage(
            "there is no project yet: simple-analytics project create --name NAME",
        )),
        _ => Err(usage("there are several projects; say which with --project ID")),
    }
}

/// Where events go.
enum Target<'a, 'b> {
    Queue(&'a mut QueueTarget<'b>),
    Http(&'a mut HttpSender),
}

impl Target<'_, '_> {
    async fn send(&mut self, visit: Visit) -> anyhow::Result<()> {
        match self {
            Self::Queue(target) => target.send(visit).await,
            Self::Http(sender) => sender.send(visit).await,
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Queue(target) => target.flush().await,
            Self::Http(_) => Ok(()),
        }
    }
}

/// Collects events into batches for the admin socket.
struct QueueTarget<'a> {
    feed: Feed<'a>,
    lines: Vec<Line>,
    report: Report,
}

impl<'a> QueueTarget<'a> {
    fn begin(feed: Feed<'a>) -> Self {
        Self {
            feed,
            lines: Vec::new(),
            report: Report::default(),
        }
    }

    async fn send(&mut self, visit: Visit) -> anyhow::Result<()> {
        for event in visit {
            self.report.sent += 1;
            let json = Ok(serde_json::to_vec(&event)?);
            self.lines.push(Line {
                line: self.report.sent,
                timestamp: None,
                json,
            });
        }
        if self.lines.len() >= EVENTS_PER_BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        for (_, reason) in self.feed.send(std::mem::take(&mut self.lines)).await? {
            self.report.refused += 1;
            self.report.first_refusal.get_or_insert(reason);
        }
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<Report> {
        self.flush().await?;
        let Settled {
            accepted,
            new,
            duplicates,
            ..
        } = self.feed.settle(|_| {}).await?;
        Ok(Report {
            accepted,
            new,
            duplicates,
            stored_known: true,
            ..self.report
        })
    }
}

fn over_http_report(sent: Sent) -> Report {
    Report {
        sent: sent.sent,
        accepted: sent.accepted,
        sampled_out: sent.sampled_out,
        refused: sent.refused,
        first_refusal: sent.first_refusal,
        ..Report::default()
    }
}

async fn make(args: &Args, context: &Context, target: &mut Target<'_, '_>, bar: &ProgressBar) -> anyhow::Result<()> {
    match args.rate {
        Some(rate) => make_live(args, rate, context, target, bar).await,
        None => make_past(args, context, target, bar).await,
    }
}

async fn make_past(
    args: &Args,
    context: &Context,
    target: &mut Target<'_, '_>,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let until = args.until.unwrap_or_else(|| context.clock.now());
    let plan = Plan {
        seed: args.seed,
        users: args.users,
        events: args.events.unwrap_or(10_000),
        from: until.saturating_add_seconds(-i64::from(args.days) * 86_400),
        until,
    };
    tokio::pin! {
        let told_to_stop = stop_signal();
    }
    for visit in Traffic::new(plan) {
        bar.inc(visit.len() as u64);
        tokio::select! {
            biased;
            sent = target.send(visit) => sent?,
            () = &mut told_to_stop => break,
        }
    }
    target.flush().await
}

/// Events at a steady rate; what a slow server delays is made up for.
async fn make_live(
    args: &Args,
    rate: f64,
    context: &Context,
    target: &mut Target<'_, '_>,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let run = Dice::of(args.seed, "run", context.clock.now().as_micros().unsigned_abs()).bits();
    let visitors = (rate * SECONDS_BETWEEN_EVENTS).min(VISITORS_MAX) as usize;
    let mut traffic = LiveTraffic::new(args.seed, run, args.users, visitors);
    let length = Duration::from_secs(args.duration.unwrap_or(60));
    let total = (rate * length.as_secs_f64()).round() as u64;
    let started = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    tokio::pin! {
        let told_to_stop = stop_signal();
    }
    let mut sent = 0;
    while sent < total {
        tokio::select! {
            () = &mut told_to_stop => break,
            _ = ticks.tick() => {}
        }
        let due = ((started.elapsed().as_secs_f64() * rate) as u64).min(total);
        while sent < due {
            let mut event = traffic.event();
            event.timestamp = context.clock.now().to_string();
            event.event_id = format!("generated-live-{run:016x}-{sent}");
            target.send(vec![event]).await?;
            sent += 1;
            bar.inc(1);
        }
        target.flush().await?;
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let elapsed = duration(report.elapsed_ms as f64 / 1_000.0);
    let mut text = format!("Made {} events in {elapsed}: ", grouped(report.sent));
    if report.stored_known {
        text.push_str(&format!(
            "{} new, {} there already",
            grouped(report.new),
            grouped(report.duplicates)
        ));
    } else {
        text.push_str(&format!(
            "{} accepted, {} sampled out",
            grouped(report.accepted),
            grouped(report.sampled_out)
        ));
    }
    text.push_str(&format!(", {} refused.\n", grouped(report.refused)));
    if let Some(reason) = &report.first_refusal {
        text.push_str(&format!("First refusal: {reason}\n"));
    }
    text
}

fn progress(args: &Args, context: &Context) -> ProgressBar {
    if !context.output.shows_progress() {
        return ProgressBar::hidden();
    }
    let total = match args.rate {
        Some(rate) => (rate * args.duration.unwrap_or(60) as f64).round() as u64,
        None => args.events.unwrap_or(10_000),
    };
    let bar = ProgressBar::new(total);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} events  {per_sec}  {eta} left  {msg}")
    {
        bar.set_style(style);
    }
    bar
}
