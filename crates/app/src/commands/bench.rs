//! `bench`: this machine against the performance bars of the design.

mod end_to_end;
mod ingestion;
mod postgres;
mod store;
mod workers;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use model::Clock;

use super::Context;
use crate::{
    bench::{
        children::{is_in_memory, load_average},
        load::Numbers,
        report::{Report, Section},
    },
    config::Settings,
    engine::stop_signal,
    usage::usage,
};

/// A load average from which on other programs disturb the measurement.
const BUSY: f64 = 0.5;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Starts its own servers with temporary data; touches neither yours nor the network. Ends with 1 when a bar is missed.\n\
    The load and the servers share the processors, ours and the ceiling alike. Examples:\n  \
    simple-analytics bench ingest\n  \
    simple-analytics bench all --rounds 1 --seconds 3 --json\n  \
    simple-analytics bench end-to-end --rate 10000 --seconds 300 --scratch /mnt/disk"
)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
    #[command(flatten)]
    options: Options,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum Part {
    /// Single events over 64 connections against a bare handler that parses the same JSON
    Ingest,
    /// Batches of 500 events against a bare handler that parses and validates them
    Batch,
    /// From the queue into the embedded store against a bare DuckDB appender
    Store,
    /// From the queue into the empty PostgreSQL database of DATABASE_URL against a binary copy into the same table; not part of `all`
    Postgres,
    /// Everything on: sustained load, then the time from accepted to readable
    #[command(name = "end-to-end", alias = "end_to_end")]
    EndToEnd,
    /// All of these
    All,
}

/// How it is measured.
#[derive(Debug, clap::Args)]
struct Options {
    /// Seconds of each round (end-to-end: of the sustained load) [default: 8; end-to-end: 60]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Rounds of ours and of the ceiling, by turns
    #[arg(long, global = true, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections of the load [default: 64]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: Option<u16>,
    /// Events of a round of `store`
    #[arg(long, global = true, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Instead of one worker on the embedded queue, so many processes on one in Redis (`postgres`; needs REDIS_URL), as in 1,2,4
    #[arg(long, global = true, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Vec<u16>,
    /// Events a second of end-to-end [default: a quarter of the bare handler]
    #[arg(long, global = true, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Where the temporary data go; must be on the disk that is to be measured [default: the system's]
    #[arg(long, global = true, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

impl Options {
    fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn round_length(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(8))
    }

    fn connections(&self, default: usize) -> usize {
        self.connections.map_or(default, usize::from)
    }
}

/// What the parts share.
struct Bench<'a> {
    options: &'a Options,
    clock: &'a dyn Clock,
    numbers: Numbers,
    progress: ProgressBar,
}

impl Bench<'_> {
    /// How long end-to-end sends.
    fn sustained_length(&self) -> Duration {
        Duration::from_secs(self.options.seconds.unwrap_or(60))
    }

    fn says(&self, what: impl Into<String>) {
        self.progress.set_message(what.into());
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let scratch = args.options.scratch();
    if !scratch.is_dir() {
        return Err(usage(format!("--scratch {} is no directory", scratch.display())));
    }
    let notes = notes(&args.options);
    let bench = Bench {
        options: &args.options,
        clock: context.clock.as_ref(),
        numbers: Numbers::default(),
        progress: spinner(context),
    };
    // Dropping the work ends the children and removes their data.
    let sections = tokio::select! {
        sections = measure(args.part, &bench, &context.settings) => sections?,
        () = stop_signal() => anyhow::bail!("interrupted"),
    };
    bench.progress.finish_and_clear();
    let report = Report::new(notes, sections);
    context.output.answer(&report, || report.text(context.output))?;
    Ok(if report.met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(part: Part, bench: &Bench<'_>, settings: &Settings) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    let wanted = |one: Part| part == one || part == Part::All;
    if wanted(Part::Ingest) {
        sections.push(ingestion::single(bench).await?);
    }
    if wanted(Part::Batch) {
        sections.push(ingestion::batches(bench).await?);
    }
    if wanted(Part::Store) {
        sections.push(store::drain(bench).await?);
    }
    // It needs a database that somebody made for it.
    if part == Part::Postgres {
        sections.push(postgres::measure(bench, settings).await?);
    }
    if wanted(Part::EndToEnd) {
        sections.extend(end_to_end::measure(bench).await?);
    }
    Ok(sections)
}

fn notes(options: &Options) -> Vec<String> {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut notes = vec![
        format!("The load and the servers share {processors} processors, ours and the ceiling alike."),
        format!("Data in {}.", options.scratch().display()),
    ];
    if is_in_memory(&options.scratch()) {
        notes.push(
            "That is memory, not a disk: making events durable costs nothing there. Choose a disk with --scratch."
                .to_owned(),
        );
    }
    if let Some(load) = load_average().filter(|load| *load > BUSY) {
        notes.push(format!(
            "Other programs were busy at the start (load average {load}): compare ratios, not rates."
        ));
    }
    if cfg!(debug_assertions) {
        notes.push("This is a debug build: the numbers mean nothing. Build with --release.".to_owned());
    }
    notes
}

fn spinner(context: &Context) -> ProgressBar {
    if !context.output.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
