//! `event_status`: how everything is.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use model::inspection::{Inspection, Level};
use serde::Serialize;
use serde_json::json;
use server::admin::types::{
    DependencyStatus, ProjectReport, QueueReport, ReplicaReport, SchedulerReport, StatusReport,
};

use super::{Context, doctor};
use crate::{
    admin_client::AdminClient,
    engine::{OnInterrupt, stop_signal, with_admin},
    output::{Align, Output, duration, grouped, size, write_out},
    wiring,
};

const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Moves the cursor home and clears the screen.
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[2J";

/// Arguments of `event_status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends with 1 when something does not answer that the roles of the server need, or nobody stores what is accepted. Examples:\n  \
    simple-analytics event_status --detailed\n  \
    simple-analytics event_status --watch\n  \
    simple-analytics event_status --json | jq .queue.waiting"
)]
pub struct Args {
    /// Also where every project's events ended, and what Redis and PostgreSQL say of themselves
    #[arg(long)]
    detailed: bool,
    /// Again every two seconds, until interrupted; with --json one line each
    #[arg(long)]
    watch: bool,
}

/// What is shown: the report, and what the servers behind it say of themselves.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    report: StatusReport,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inspections: Vec<Inspection>,
    /// Everything answers, and no server has a problem.
    #[serde(skip)]
    is_well: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let output = context.output;
    let shown = with_admin(&context.settings, OnInterrupt::LeaveToWork, async |client| {
        if !args.watch {
            let shown = look(client, args.detailed, context).await?;
            output.answer(&shown, || text(&shown, args.detailed, output))?;
            return Ok(shown.is_well);
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
            let shown = look(client, args.detailed, context).await?;
            if output.json {
                write_out(&format!("{}\n", serde_json::to_string(&shown)?))?;
            } else {
                write_out(&format!("{clear}{}", text(&shown, args.detailed, output)))?;
            }
            tokio::select! {
                () = &mut told_to_stop => return Ok(shown.is_well),
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
            }
        }
    })
    .await;
    match shown {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => without_report(error, context).await,
    }
}

async fn look(client: &AdminClient, detailed: bool, context: &Context) -> anyhow::Result<Shown> {
    let report = client.status().await?;
    let mut inspections = wiring::inspect(&context.settings, &*context.clock).await;
    let is_well = report.ready && inspections.iter().all(|part| part.level() < Level::Problem);
    if detailed {
        inspections.push(processes(&report, context.settings.redis_url.is_some()));
    } else {
        inspections.retain(|part| part.level() >= Level::Risk);
    }
    Ok(Shown {
        report,
        inspections,
        is_well,
    })
}

/// Who does the work of this data directory. Of a shared queue Redis tells it of all.
fn processes(report: &StatusReport, is_shared: bool) -> Inspection {
    let mut found = Inspection::new("this server");
    let does = |role: &str| report.roles.iter().any(|done| done == role);
    found.fact("roles", report.roles.join(","));
    found.fact("workers", report.queue.consumers);
    if report.queue.consumers == 0 && does("worker") {
        found.problem(
            "no server runs on this data directory: no worker stores what waits here, no scheduler applies retention",
            "start it: `simple-analytics serve`",
        );
        return found;
    }
    if report.queue.consumers == 0 && !is_shared {
        found.problem(
            "no worker is alive: events are accepted and not stored",
            "start the server with ROLES that name worker",
        );
    }
    if !does("scheduler") && !is_shared {
        found.warn(
            "this server does not apply retention",
            "let ROLES of one server name scheduler",
        );
    }
    found
}

/// The report could not be had: then what stands in its way, with the remedy.
async fn without_report(error: anyhow::Error, context: &Context) -> anyhow::Result<ExitCode> {
    let inspections = wiring::inspect(&context.settings, &*context.clock).await;
    if inspections.iter().all(|part| part.level() != Level::Problem) {
        return Err(error);
    }
    let output = context.output;
    let why = format!("{error:#}");
    output.answer(
        &json!({"ready": false, "error": why, "inspections": inspections}),
        || {
            let parts: String = inspections.iter().map(|part| doctor::findings(part, output)).collect();
            format!("{}  {why}\n\n{parts}", output.bad("not ready"))
        },
    )?;
    Ok(ExitCode::FAILURE)
}

fn text(shown: &Shown, detailed: bool, output: Output) -> String {
    let Shown {
        report, inspections, ..
    } = shown;
    let state = if report.ready {
        output.good("ready")
    } else {
        output.bad("not ready")
    };
    let mut text = format!(
        "{state}  {}  {}\n\n",
        report.roles.join(", "),
        output.faint(&report.generated_at.to_string())
    );
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
        "Store   {} events, {}\n",
        grouped(report.events_stored),
        size(report.store_bytes)
    ));
    text.push_str(&scheduler(report.scheduler.as_ref()));
    text.push_str(&projects(&report.projects, output));
    if detailed {
        text.push('\n');
        text.push_str(&ledger(&report.projects, output));
        for part in inspections {
            text.push_str(&format!("\n{}", doctor::facts(part)));
        }
    }
    for part in inspections
        .iter()
        .filter(|part| detailed || part.level() >= Level::Risk)
    {
        text.push_str(&format!("\n{}", doctor::findings(part, output)));
    }
    text
}

fn dependencies(dependencies: &[DependencyStatus], output: Output) -> String {
    let rows: Vec<Vec<String>> = dependencies
        .iter()
        .map(|dependency| {
            let state = match &dependency.error {
                None => output.good("ok"),
                Some(error) if dependency.required => output.bad(error),
                Some(error) => format!("{} (this server does without)", output.bad(error)),
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

fn scheduler(scheduler: Option<&SchedulerReport>) -> String {
    match scheduler {
        None => "Scheduler  nobody does what is due: no server with this role runs\n\n".to_owned(),
        Some(scheduler) => {
            let here = if scheduler.is_this_process {
                " (this server)"
            } else {
                ""
            };
            format!(
                "Scheduler  {}{here}, term {}\n\n",
                scheduler.holder,
                grouped(scheduler.term)
            )
        }
    }
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
