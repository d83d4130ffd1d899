//! `process_events`: from the queue into the store.

use std::{process::ExitCode, time::Duration};

use server::admin::types::{ProcessReport, ProcessRequest};

use super::Context;
use crate::{
    admin_client::AdminClient,
    engine::{OnInterrupt, stop_signal, with_admin},
    output::{duration, grouped},
};

/// Batches of one call, so that a stop signal is answered within seconds.
const BATCHES_PER_CALL: u64 = 20;
/// Wait of `--continuous` when the queue is empty.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// Arguments of `process_events`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A server with the worker role does this by itself; the command is for servers without it, and for cron. Examples:\n  \
    simple-analytics process_events\n  \
    simple-analytics process_events --batch-size 1000 --max-batches 10 --json\n  \
    simple-analytics process_events --continuous"
)]
pub struct Args {
    /// Events of one batch
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..=model::limits::STORE_BATCH_EVENTS_MAX as u64))]
    batch_size: Option<u64>,
    /// Stop after so many batches [default: when the queue is empty]
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u64).range(1..))]
    max_batches: Option<u64>,
    /// Go on until interrupted
    #[arg(long)]
    continuous: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let report = with_admin(&context.settings, OnInterrupt::LeaveToWork, async |client| {
        let mut total = ProcessReport::default();
        tokio::pin! {
            let told_to_stop = stop_signal();
        }
        loop {
            // A call is never cut short: its numbers belong into the statistics.
            let idle = step(&args, client, &mut total).await?;
            if is_finished(&args, &total, idle) {
                return Ok(total);
            }
            let wait = if idle { IDLE_WAIT } else { Duration::ZERO };
            tokio::select! {
                () = &mut told_to_stop => return Ok(total),
                () = tokio::time::sleep(wait) => {}
            }
        }
    })
    .await?;
    context.output.answer(&report, || text(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// One call; adds its numbers and returns whether there was nothing to do.
async fn step(args: &Args, client: &AdminClient, total: &mut ProcessReport) -> anyhow::Result<bool> {
    let left = args.max_batches.map_or(u64::MAX, |most| most - total.batches);
    let request = ProcessRequest {
        batch_size: args.batch_size.and_then(|size| usize::try_from(size).ok()),
        max_batches: Some(left.min(BATCHES_PER_CALL)),
    };
    let report = client.process(&request).await?;
    let idle = report.batches == 0;
    total.batches += report.batches;
    total.stored += report.stored;
    total.duplicate += report.duplicate;
    total.dead_lettered += report.dead_lettered;
    total.waiting = report.waiting;
    total.elapsed_ms += report.elapsed_ms;
    Ok(idle)
}

fn is_finished(args: &Args, total: &ProcessReport, idle: bool) -> bool {
    let enough = args.max_batches.is_some_and(|most| total.batches >= most);
    enough || (!args.continuous && (idle || total.waiting == 0))
}

fn text(report: &ProcessReport) -> String {
    let seconds = report.elapsed_ms as f64 / 1_000.0;
    let events = report.stored + report.duplicate + report.dead_lettered;
    let rate = if seconds > 0.0 { events as f64 / seconds } else { 0.0 };
    format!(
        "Processed {} events in {} batches, {} ({} events/s).\n  stored         {:>12}\n  duplicates     {:>12}\n  dead letters   {:>12}\n  still waiting  {:>12}\n",
        grouped(events),
        grouped(report.batches),
        duration(seconds),
        grouped(rate as u64),
        grouped(report.stored),
        grouped(report.duplicate),
        grouped(report.dead_lettered),
        grouped(report.waiting),
    )
}
