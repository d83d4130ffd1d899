//! `event_status`: how everything is.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use server::admin::types::{DependencyStatus, ProjectReport, QueueReport, ReplicaReport, StatusReport};

use super::Context;
use crate::{
    engine::{OnInterrupt, stop_signal, with_admin},
    output::{Align, Output, duration, grouped, size, write_out},
};

const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Moves the cursor home and clears the screen.
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[2J";

/// Arguments of `event_status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with 1 when something does not answer. Examples:\n  \
    simple-analytics event_status --detailed\n  \
    simple-analytics event_status --watch\n  \
    simple-analytics event_status --json | jq .queue.waiting")]
pub struct Args {
    /// Also where every project's events ended
    #[arg(long)]
    detailed: bool,
    /// Again every two seconds, until interrupted; with --json one line each
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let output = context.output;
    let ready = with_admin(&context.settings, OnInterrupt::LeaveToWork, async |client| {
        if !args.watch {
            let report = client.status().await?;
            output.answer(&report, || text(&report, args.detailed, output))?;
            return Ok(report.ready);
        }
        let clear = if std::io::stdout().is_terminal() {
            CLEAR_SCREEN
        } else {
            ""
        };
        tokio::pin! {
            let told_to_stop = stop_signal();
        }
        loop {
            let report = client.status().await?;
            if output.json {
                write_out(&format!("{}\n", serde_json::to_string(&report)?))?;
            } else {
                write_out(&format!("{clear}{}", text(&report, args.detailed, output)))?;
            }
            tokio::select! {
                () = &mut told_to_stop => return Ok(report.ready),
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
            }
        }
    })
    .await?;
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(report: &StatusReport, detailed: bool, output: Output) -> String {
    let state = if report.ready {
        output.good("ready")
    } else {
        output.bad("not ready")
    };
    let mut text = format!("{state}  {}\n\n", output.faint(&report.generated_at.to_string()));
    text.push_str(&dependencies(&report.dependencies, output));
    text.push('\n');
    for replica in report
        .dependencies
        .iter()
        .filter_map(|dependency| dependency.replica.as_ref())
    {
        text.push_str(&format!("Replica {}\n", replica_state(replica)));
    }
    text.push_str(&queue(&report.queue));
    text.push_str(&format!(
        "Store   {} events, {}\n\n",
        grouped(report.events_stored),
        size(report.store_bytes)
    ));
    text.push_str(&projects(&report.projects, output));
    if detailed {
        text.push('\n');
        text.push_str(&ledger(&report.projects, output));
    }
    text
}

fn dependencies(dependencies: &[DependencyStatus], output: Output) -> String {
    let rows: Vec<Vec<String>> = dependencies
        .iter()
        .map(|dependency| {
            let state = match &dependency.error {
                None => output.good("ok"),
                Some(error) => output.bad(error),
            };
            vec![
                dependency.name.replace('_', " "),
                dependency.kind.clone(),
                format!("{:.1} ms", dependency.latency_ms),
                state,
            ]
        })
        .collect();
    let head = [
        ("dependency", Align::Left),
        ("kind", Align::Left),
        ("answers in", Align::Right),
        ("state", Align::Left),
    ];
    output.table(&head, &rows)
}

fn replica_state(replica: &ReplicaReport) -> String {
    let lag = match replica.lag_seconds {
        Some(seconds) => format!("{seconds:.1} s behind"),
        None => "nobody knows how far behind".to_owned(),
    };
    match &replica.error {
        None => format!("reads go to it, {lag}"),
        Some(error) => format!("reads go to the primary: {error} ({lag})"),
    }
}

fn queue(queue: &QueueReport) -> String {
    let oldest = match queue.oldest_waiting_seconds {
        Some(seconds) => format!(", the oldest for {}", duration(seconds)),
        None => String::new(),
    };
    let workers = match queue.consumers_of_all {
        Some(all) => format!("{} workers here, {} in all", grouped(queue.consumers), grouped(all)),
        None => format!("{} workers", grouped(queue.consumers)),
    };
    let note = queue.note.as_ref().map(|note| format!("        {note}\n"));
    format!(
        "Queue   {} waiting ({} with a worker){oldest}; {workers}, {} dead letters, {}\n{}",
        grouped(queue.waiting),
        grouped(queue.pending),
        grouped(queue.dead_letters),
        size(queue.bytes),
        note.unwrap_or_default()
    )
}

fn projects(projects: &[ProjectReport], output: Output) -> String {
    let head = [
        ("project", Align::Left),
        ("events", Align::Right),
        ("last hour", Align::Right),
        ("last day", Align::Right),
        ("latest event", Align::Left),
        ("id", Align::Left),
    ];
    let rows: Vec<Vec<String>> = projects
        .iter()
        .map(|project| {
            let inactive = if project.is_active { "" } else { " (inactive)" };
            vec![
                format!("{}{inactive}", project.name),
                grouped(project.events),
                grouped(project.events_last_hour),
                grouped(project.events_last_day),
                project
                    .latest_event
                    .map_or_else(|| "none yet".to_owned(), |latest| latest.to_string()),
                project.id.to_string(),
            ]
        })
        .collect();
    output.table(&head, &rows)
}

/// Where every event ended; a row whose sum is wrong says so.
fn ledger(projects: &[ProjectReport], output: Output) -> String {
    let head = [
        ("project", Align::Left),
        ("received", Align::Right),
        ("= stored", Align::Right),
        ("+ duplicate", Align::Right),
        ("+ sampled out", Align::Right),
        ("+ rejected", Align::Right),
        ("+ dead letters", Align::Right),
        ("+ waiting", Align::Right),
        ("", Align::Left),
    ];
    let rows: Vec<Vec<String>> = projects
        .iter()
        .map(|project| {
            let ledger = &project.ledger;
            let difference = ledger.received.abs_diff(ledger.accounted());
            let verdict = match difference {
                0 => String::new(),
                missing => output.bad(&format!("{} unaccounted for", grouped(missing))),
            };
            let counts = [
                ledger.received,
                ledger.stored,
                ledger.duplicate,
                ledger.sampled_out,
                ledger.rejected,
                ledger.dead_lettered,
                ledger.waiting,
            ];
            let mut row = vec![project.name.clone()];
            row.extend(counts.map(grouped));
            row.push(verdict);
            row
        })
        .collect();
    output.table(&head, &rows)
}
