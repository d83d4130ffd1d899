//! `import`: events from files.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use model::{ProjectId, Timestamp};
use tokio::{sync::mpsc, time::Instant};

use super::{Context, fields::project_id};
use crate::{
    admin_client::AdminClient,
    engine::{OnInterrupt, with_admin},
    import::{
        Format, Records,
        open::{Hints, STANDARD_INPUT, open},
        report::Report,
    },
    queue_feed::{Feed, Line},
    usage::usage,
    wiring,
};

/// Batches that are parsed ahead of the one being sent.
const BATCHES_AHEAD: usize = 4;
/// Records that travel from the parser together.
const RECORDS_PER_BATCH: usize = 1_000;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An event without event_id gets one from its content, so that importing the same file again adds nothing.\n\n\
    Access logs: a GET answered with 2xx or 304 is a page_view unless it is for a file of a page (styles, scripts, images, fonts, \
    feeds, downloads, robots.txt, …); everything else is a request.\n\n\
    CSV needs a head with event_name and timestamp; other columns become properties. Ends with 1 when every record was refused.\n\nExamples:\n  \
    simple-analytics import access.log.1.gz access.log --project ID\n  \
    simple-analytics import events.csv --project ID --json\n  \
    zcat old/*.gz | simple-analytics import - --project ID --format ndjson"
)]
pub struct Args {
    /// Files, plain or gzip; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The project that gets the events
    #[arg(long, value_name = "ID", value_parser = project_id)]
    project: ProjectId,
    /// auto tells it by the first line
    #[arg(long, default_value = "auto", value_name = "FORMAT", value_parser = format)]
    format: FormatChoice,
    /// event_source of events that name none [default for access logs: access-log]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The site that an access log is of, so that links inside it do not count as referrals
    #[arg(long, value_name = "HOST")]
    hostname: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct FormatChoice(Option<Format>);

fn format(text: &str) -> Result<FormatChoice, String> {
    let text = text.replace('_', "-");
    if text == "auto" {
        return Ok(FormatChoice(None));
    }
    [Format::Ndjson, Format::Csv, Format::CombinedLog]
        .into_iter()
        .find(|format| format.name() == text)
        .map(|format| FormatChoice(Some(format)))
        .ok_or_else(|| "formats are auto, ndjson, csv and combined-log".to_owned())
}

/// What the parser hands over.
enum Parsed {
    /// Records of one file.
    Batch { file: usize, lines: Vec<Line> },
    /// Fields of a file that were left out.
    Ignored(Vec<String>),
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let total_bytes = check_files(&args.files)?;
    let report = with_admin(&context.settings, OnInterrupt::Abandon, async |client| {
        import(&args, client, context, total_bytes).await
    })
    .await?;
    context.output.answer(&report, || report.text(context.output))?;
    Ok(if report.accepted == 0 && report.refused > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Bytes of all files, `None` when standard input is among them. A file that cannot be read is told before anything is imported.
fn check_files(files: &[PathBuf]) -> anyhow::Result<Option<u64>> {
    let mut total = Some(0);
    let mut standard_inputs = 0;
    for file in files {
        if file.as_os_str() == STANDARD_INPUT {
            standard_inputs += 1;
            total = None;
            continue;
        }
        let opened = std::fs::File::open(file).and_then(|file| file.metadata());
        let metadata = opened.map_err(|error| usage(format!("cannot read {}: {error}", file.display())))?;
        if metadata.is_dir() {
            return Err(usage(format!("{} is a directory; name its files", file.display())));
        }
        total = total.map(|total| total + metadata.len());
    }
    if standard_inputs > 1 {
        return Err(usage("standard input (-) can be read once"));
    }
    Ok(total)
}

async fn import(
    args: &Args,
    client: &AdminClient,
    context: &Context,
    total_bytes: Option<u64>,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut feed = Feed::begin(client, args.project).await?;
    let kept_from = kept_from(args, context).await?;
    let bar = progress_bar(context, total_bytes);
    let bytes_read = Arc::new(AtomicU64::new(0));
    let (sender, mut receiver) = mpsc::channel(BATCHES_AHEAD);
    let (files, source) = (args.files.clone(), args.source.clone());
    let hints = Hints {
        format: args.format.0,
        hostname: args.hostname.clone(),
    };
    let counter = Arc::clone(&bytes_read);
    let parser = tokio::task::spawn_blocking(move || parse_all(&files, &hints, source.as_deref(), &counter, &sender));

    let mut report = Report::default();
    while let Some(parsed) = receiver.recv().await {
        match parsed {
            Parsed::Ignored(names) => report.ignored_fields.extend(names),
            Parsed::Batch { file, lines } => {
                let name = args
                    .files
                    .get(file)
                    .map(|file| file.display().to_string())
                    .unwrap_or_default();
                report.records += lines.len() as u64;
                let is_past = |line: &&Line| kept_from.zip(line.timestamp).is_some_and(|(from, time)| time < from);
                report.past_retention += lines.iter().filter(is_past).count() as u64;
                for (line, reason) in feed.send(lines).await? {
                    report.refuse(&reason, &name, line);
                }
            }
        }
        bar.set_position(bytes_read.load(Ordering::Relaxed));
    }
    // The parser's end decides: what was sent until then is stored in any case.
    let parsed = parser.await.context("the parser failed")?;
    bar.set_message("storing");
    let settled = feed
        .settle(|stored| bar.set_message(format!("storing, {stored} done")))
        .await?;
    bar.finish_and_clear();
    report.accepted = settled.accepted;
    report.new = settled.new;
    report.duplicates = settled.duplicates;
    report.dead_lettered = settled.dead_lettered;
    report.waiting = settled.waiting;
    report.other_events = settled.other_events;
    report.ignored_fields.sort();
    report.ignored_fields.dedup();
    report.finish(started.elapsed());
    parsed.with_context(|| {
        format!(
            "stopped after {} records ({} events accepted and kept); mend the file and import it again: what is stored is not stored twice",
            report.records, report.accepted
        )
    })?;
    Ok(report)
}

/// The time before which the project keeps no events.
async fn kept_from(args: &Args, context: &Context) -> anyhow::Result<Option<Timestamp>> {
    let store = wiring::open_meta_store(&context.settings).await?;
    let project = store.project(args.project).await;
    store.close().await;
    Ok(project?.keeps_from(context.clock.now()))
}

/// Reads every file in order. Runs on a thread of its own; ends when the receiver is gone.
fn parse_all(
    files: &[PathBuf],
    hints: &Hints,
    source: Option<&str>,
    bytes_read: &Arc<AtomicU64>,
    sender: &mpsc::Sender<Parsed>,
) -> anyhow::Result<()> {
    for (index, file) in files.iter().enumerate() {
        let mut records = open(file, hints, Arc::clone(bytes_read)).with_context(|| named(file))?;
        while let Some(lines) = next_batch(records.as_mut(), source).with_context(|| named(file))? {
            if sender.blocking_send(Parsed::Batch { file: index, lines }).is_err() {
                return Ok(());
            }
        }
        if sender.blocking_send(Parsed::Ignored(records.ignored_fields())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn named(file: &Path) -> String {
    if file.as_os_str() == STANDARD_INPUT {
        "cannot read standard input".to_owned()
    } else {
        format!("cannot read {}", file.display())
    }
}

fn next_batch(records: &mut dyn Records, source: Option<&str>) -> std::io::Result<Option<Vec<Line>>> {
    let mut lines = Vec::with_capacity(RECORDS_PER_BATCH);
    while lines.len() < RECORDS_PER_BATCH {
        let Some(record) = records.next_record()? else { break };
        let mut timestamp = None;
        let json = match record.outcome {
            Ok(mut event) => {
                timestamp = event.timestamp.parse().ok();
                if let (None, Some(source)) = (&event.event_source, source) {
                    event.event_source = Some(source.to_owned());
                }
                Ok(serde_json::to_vec(&event)?)
            }
            Err(refusal) => Err(refusal.reason),
        };
        lines.push(Line {
            line: record.line,
            timestamp,
            json,
        });
    }
    Ok((!lines.is_empty()).then_some(lines))
}

fn progress_bar(context: &Context, total_bytes: Option<u64>) -> ProgressBar {
    if !context.output.shows_progress() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total_bytes {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes} read  {bytes_per_sec}  {msg}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
