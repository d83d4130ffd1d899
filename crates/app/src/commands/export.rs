//! `export`: events into files that import back unchanged.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use indicatif::{ProgressBar, ProgressStyle};
use model::{ProjectId, Timestamp};
use serde_json::json;
use server::admin::types::ProcessRequest;
use tokio::time::Instant;

use super::{Context, fields::project_id};
use crate::{
    admin_client::{AdminClient, ExportQuery},
    engine::{OnInterrupt, with_admin},
    import::{ImportEvent, csv_file},
    output::{OutputError, duration, grouped},
    usage::usage,
};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The same file imports back unchanged: `import` of it into its own project adds nothing. Examples:\n  \
    simple-analytics export --project ID --output events.ndjson.gz\n  \
    simple-analytics export --project ID --format csv --from 2026-01-01 --to 2026-02-01 > january.csv\n  \
    simple-analytics export --project ID --event-name sign_up | jq .user_id"
)]
pub struct Args {
    /// The project
    #[arg(long, value_name = "ID", value_parser = project_id)]
    project: ProjectId,
    /// ndjson or csv
    #[arg(long, default_value = "ndjson", value_name = "FORMAT")]
    format: String,
    /// First time, RFC 3339 or a date (UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// First time after, RFC 3339 or a date (UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only events of this name
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    event_source: Option<String>,
    /// Only events of this user
    #[arg(long, value_name = "USER")]
    user_id: Option<String>,
    /// Write to a file, compressed when it ends with .gz [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExportFormat {
    Ndjson,
    Csv,
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "a time looks like 2026-01-31 or 2026-01-31T12:00:00Z".to_owned())
}

fn export_format(text: &str) -> anyhow::Result<ExportFormat> {
    match text {
        "ndjson" => Ok(ExportFormat::Ndjson),
        "csv" => Ok(ExportFormat::Csv),
        "parquet" => Err(usage(
            "this build does not write parquet yet; use --format ndjson or csv",
        )),
        _ => Err(usage(format!("{text:?} is no format; formats are ndjson and csv"))),
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let format = export_format(&args.format)?;
    if context.output.json && args.output.is_none() {
        return Err(usage(
            "--json tells about the export, so the export needs --output FILE",
        ));
    }
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(usage("--from must be before --to"));
    }
    let query = ExportQuery {
        project: args.project.to_string(),
        from: args.from.map(|from| from.to_string()),
        to: args.to.map(|to| to.to_string()),
        event_name: args.event_name,
        event_source: args.event_source,
        user_id: args.user_id,
    };
    let started = Instant::now();
    let target = args.output.as_deref();
    let bar = progress(target.is_some() && context.output.shows_progress());
    let events = with_admin(&context.settings, OnInterrupt::Abandon, async |client| {
        take_in_waiting(client).await?;
        let mut writer = Writer::open(target, format)?;
        copy(client, &query, &mut writer, &bar).await?;
        writer.finish()
    })
    .await?;
    bar.finish_and_clear();
    if let Some(file) = target {
        let elapsed = started.elapsed();
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let document = json!({"file": file, "events": events, "elapsed_ms": elapsed_ms});
        context.output.answer(&document, || {
            let seconds = duration(elapsed.as_secs_f64());
            format!("Wrote {} events to {} in {seconds}.", grouped(events), file.display())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Without a worker nobody would ever store what was accepted and waits, and the export would miss it.
async fn take_in_waiting(client: &AdminClient) -> anyhow::Result<()> {
    let queue = client.status().await?.queue;
    if queue.consumers == 0 && queue.waiting > 0 {
        client.process(&ProcessRequest::default()).await?;
    }
    Ok(())
}

async fn copy(
    client: &AdminClient,
    query: &ExportQuery,
    writer: &mut Writer<'_>,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut stream = client.export(query).await?;
    let mut rest = Vec::new();
    while let Some(bytes) = stream.next().await? {
        rest.extend_from_slice(&bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        for line in rest[..end].split(|byte| *byte == b'\n') {
            writer.line(line)?;
        }
        rest.drain(..=end);
        bar.set_position(writer.events);
    }
    if !rest.is_empty() {
        writer.line(&rest)?;
    }
    Ok(())
}

/// Takes lines of an export and writes them in a format.
struct Writer<'a> {
    sink: Sink,
    place: Place<'a>,
    format: ExportFormat,
    events: u64,
}

enum Sink {
    Plain(Box<dyn Write>),
    Gzip(Box<GzEncoder<Box<dyn Write>>>),
}

impl Sink {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer,
        }
    }
}

impl<'a> Writer<'a> {
    /// Writes to a file, or to standard output.
    fn open(target: Option<&'a Path>, format: ExportFormat) -> anyhow::Result<Self> {
        let place = match target {
            None => Place::StandardOutput,
            Some(path) => Place::File(PartialFile::new(path)),
        };
        let sink = match &place {
            Place::StandardOutput => Sink::Plain(Box::new(io::BufWriter::new(io::stdout()))),
            Place::File(file) => {
                let opened = place.told(std::fs::File::create(&file.partial))?;
                let plain: Box<dyn Write> = Box::new(io::BufWriter::with_capacity(128 * 1024, opened));
                if file.target.extension().is_some_and(|extension| extension == "gz") {
                    Sink::Gzip(Box::new(GzEncoder::new(plain, Compression::default())))
                } else {
                    Sink::Plain(plain)
                }
            }
        };
        let mut writer = Self {
            sink,
            place,
            format,
            events: 0,
        };
        if format == ExportFormat::Csv {
            writer.csv_record(csv_file::COLUMNS)?;
        }
        Ok(writer)
    }

    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        self.events += 1;
        match self.format {
            ExportFormat::Ndjson => {
                let writer = self.sink.writer();
                let written = writer.write_all(line).and_then(|()| writer.write_all(b"\n"));
                self.place.told(written)
            }
            ExportFormat::Csv => {
                let event: ImportEvent = serde_json::from_slice(line)
                    .context("the server's export makes no sense to this command; run both from the same version")?;
                self.csv_record(csv_file::cells(&event))
            }
        }
    }

    fn csv_record(&mut self, cells: [&str; csv_file::COLUMNS.len()]) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(cells)?;
        let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
        self.place.told(self.sink.writer().write_all(&bytes))
    }

    /// Writes what is buffered and returns how many events there were; a file gets its name only now, so that a file of that name is
    /// always whole.
    fn finish(self) -> anyhow::Result<u64> {
        let mut plain = match self.sink {
            Sink::Plain(plain) => plain,
            Sink::Gzip(encoder) => self.place.told(encoder.finish())?,
        };
        self.place.told(plain.flush())?;
        drop(plain);
        if let Place::File(file) = &self.place {
            self.place.told(std::fs::rename(&file.partial, file.target))?;
        }
        Ok(self.events)
    }
}

/// Where an export goes.
enum Place<'a> {
    StandardOutput,
    File(PartialFile<'a>),
}

impl Place<'_> {
    /// An error of writing, with the name of what could not be written.
    fn told<T>(&self, result: io::Result<T>) -> anyhow::Result<T> {
        match self {
            Self::StandardOutput => Ok(result.map_err(OutputError::from)?),
            Self::File(file) => result.with_context(|| format!("cannot write {}", file.target.display())),
        }
    }
}

/// A file that grows under another name until it is whole. Removed when that does not happen.
struct PartialFile<'a> {
    target: &'a Path,
    partial: PathBuf,
}

impl<'a> PartialFile<'a> {
    fn new(target: &'a Path) -> Self {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        Self {
            target,
            partial: PathBuf::from(name),
        }
    }
}

impl Drop for PartialFile<'_> {
    fn drop(&mut self) {
        // A whole one has its own name by now.
        let _ = std::fs::remove_file(&self.partial);
    }
}

fn progress(shown: bool) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} events  {per_sec}") {
        bar.set_style(style);
    }
    bar
}
