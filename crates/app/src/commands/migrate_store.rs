//! `migrate-store`: everything from the embedded stores to PostgreSQL, or back.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use model::limits;
use server::scheduler::LEASE_NAME;

use super::Context;
use crate::{
    config::database_url,
    moving::{Move, Place, Stores},
    output::grouped,
    usage::usage,
    wiring,
};

/// Arguments of `migrate-store`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Moves projects with their keys, sources, people, events, the ledger, and how far queues are stored, then compares both by \
    counts and checksums of each project and day. Stop every server and worker first. When it is interrupted, the same command goes on where it \
    was, and nothing comes twice. The source stays as it is. The settings DATA_DIR and DATABASE_URL are not looked at; a password may be in \
    PGPASSWORD instead of the URL.\n\n\
    The queue is not moved: what waits there is stored by the next server that uses the same data directory, whatever store it has. \
    To leave nothing behind run process_events first.\n\n\
    Ends with 1 when both do not hold the same.\n\nExamples:\n  \
    simple-analytics migrate-store --from ./data --to postgres://user@host/database\n  \
    simple-analytics migrate-store --from postgres://user@host/database --to ./data\n  \
    simple-analytics migrate-store --from ./data --to postgres://user@host/database --verify-only --json"
)]
pub struct Args {
    /// A data directory, or the URL of a PostgreSQL database
    #[arg(long, value_name = "PLACE", value_parser = place)]
    from: Place,
    /// The same; of the other kind, and empty or from an earlier call
    #[arg(long, value_name = "PLACE", value_parser = place)]
    to: Place,
    /// Copy nothing, compare only
    #[arg(long)]
    verify_only: bool,
}

fn place(text: &str) -> Result<Place, String> {
    if text.trim().is_empty() {
        return Err("must be a data directory or a URL such as postgres://user@host/database".to_owned());
    }
    if text.contains("://") {
        // Not told with the text: there may be a password in it.
        return database_url(text)?
            .map(Place::Postgres)
            .ok_or_else(|| "must be a URL such as postgres://user@host/database".to_owned());
    }
    Ok(Place::Embedded(PathBuf::from(text)))
}

/// Fails when a server with a scheduler works on a place. A data directory is locked by its server; a database knows its servers by this alone.
async fn refuse_served(place: &Place, stores: &Stores) -> anyhow::Result<()> {
    let Place::Postgres(_) = place else { return Ok(()) };
    let Some(lease) = stores.meta.lease(LEASE_NAME).await? else {
        return Ok(());
    };
    bail!(
        "a server works on {place}: the scheduler {}. Stop every server and worker there, then move (one that was killed is forgotten after {} s)",
        lease.holder,
        limits::SCHEDULER_LEASE.as_secs()
    )
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    match (&args.from, &args.to) {
        (Place::Embedded(_), Place::Embedded(_)) => {
            return Err(usage(
                "both are data directories: to move one, stop its server and copy the directory",
            ));
        }
        (Place::Postgres(_), Place::Postgres(_)) => {
            return Err(usage("both are PostgreSQL databases: pg_dump and pg_restore move one"));
        }
        _ => {}
    }
    let from = wiring::open_place(&context.settings, &args.from, true).await?;
    let to = wiring::open_place(&context.settings, &args.to, args.verify_only).await?;
    if !args.verify_only {
        refuse_served(&args.from, &from.stores).await?;
        refuse_served(&args.to, &to.stores).await?;
    }
    let bar = progress_bar(context);
    let moving = Move {
        from: &from.stores,
        to: &to.stores,
        clock: &*context.clock,
        bar: &bar,
    };
    let report = if args.verify_only {
        moving.verify().await
    } else {
        moving.run().await
    };
    bar.finish_and_clear();
    // Also after a failure: what was copied stays, and the next start has no log to replay.
    let closed = (to.close().await, from.close().await);
    let mut report = report?;
    closed.0?;
    closed.1?;
    report.finish();
    context.output.answer(&report, || {
        let mut text = report.text(context.output, args.verify_only);
        text.push_str(&next_steps(&args, report.same, report.waiting_events));
        text
    })?;
    Ok(if report.same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is left to do.
fn next_steps(args: &Args, same: bool, waiting_events: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(waiting) = waiting_events.filter(|waiting| *waiting > 0) {
        text.push_str(&format!(
            "Up to {} events wait in the queue of {}: the next server with that data directory stores them.\n",
            grouped(waiting),
            args.from
        ));
    }
    if same && !args.verify_only {
        text.push_str(match &args.to {
            Place::Postgres(_) => {
                "Now start the server with DATABASE_URL set, and the same data directory as before: its queue goes on.\n"
            }
            Place::Embedded(_) => "Now start the server on that data directory, without DATABASE_URL.\n",
        });
    }
    text
}

fn progress_bar(context: &Context) -> ProgressBar {
    if !context.output.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{msg:10} {bar:30} {human_pos}/{human_len} events  {per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
