//! `dead_letters`: events that the store refused.

use std::process::ExitCode;

use clap::Subcommand;
use model::limits;
use server::admin::types::{DeadLetterReport, DeadLettersDone, DeadLettersReport, DeadLettersRequest};

use super::Context;
use crate::{
    admin_client::AdminClient,
    engine::{OnInterrupt, with_admin},
    output::{Align, Output, grouped},
    usage::usage,
};

/// Characters of a reason in the list; `show` has all of them.
const REASON_CHARS_MAX: usize = 80;

/// Arguments of `dead_letters`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An event that was accepted and cannot be stored is set aside with the reason, so that the others go on. Examples:\n  \
    simple-analytics dead_letters list\n  \
    simple-analytics dead_letters show 1042\n  \
    simple-analytics dead_letters retry --all\n  \
    simple-analytics dead_letters discard 1042 1043 --yes"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, the oldest first
    #[command(
        after_help = "Example: simple-analytics dead_letters list --json | jq -r .letters[].reason | sort | uniq -c"
    )]
    List {
        /// Begin at this position
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        from: u64,
        /// List so many at most
        #[arg(long, value_name = "LETTERS", default_value_t = 100,
            value_parser = clap::value_parser!(u64).range(1..=limits::DEAD_LETTERS_LISTED_MAX as u64))]
        limit: u64,
    },
    /// Show one with its whole event
    #[command(after_help = "Example: simple-analytics dead_letters show 1042")]
    Show {
        /// Its position, as `list` shows it
        position: u64,
    },
    /// Put them into the queue again, as new events: after the cause is gone
    #[command(
        after_help = "The ledger counts each as received once more: the dead letter stays what it was. Example: simple-analytics dead_letters retry --all"
    )]
    Retry {
        /// Their positions
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "POSITION")]
        positions: Vec<u64>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// Forget them for good
    #[command(after_help = "Example: simple-analytics dead_letters discard 1042 1043 --yes")]
    Discard {
        /// Their positions
        #[arg(required = true, value_name = "POSITION")]
        positions: Vec<u64>,
        /// Yes, forget the events
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    if let Action::Discard { positions, yes: false } = &args.action {
        let events = positions.len();
        return Err(usage(format!(
            "discarding {events} dead letters is for good; say so with --yes"
        )));
    }
    with_admin(&context.settings, OnInterrupt::Abandon, async |client| {
        act(args.action, client, context.output).await
    })
    .await
}

async fn act(action: Action, client: &AdminClient, output: Output) -> anyhow::Result<ExitCode> {
    let done = match action {
        Action::List { from, limit } => {
            let report = client.dead_letters(from, limit).await?;
            output.answer(&report, || list(&report, output))?;
            return Ok(ExitCode::SUCCESS);
        }
        Action::Show { position } => {
            let report = client.dead_letters(position, 1).await?;
            let letter = report.letters.into_iter().find(|letter| letter.position == position);
            let letter = letter
                .ok_or_else(|| anyhow::anyhow!("there is no dead letter at {position}; see `dead_letters list`"))?;
            output.answer(&letter, || show(&letter, output))?;
            return Ok(ExitCode::SUCCESS);
        }
        Action::Retry { positions, all } => {
            let positions = (!all).then(|| positions.into_iter().collect());
            let done = client.retry_dead_letters(&DeadLettersRequest { positions }).await?;
            output.answer(&done, || told("retried", &done))?;
            done
        }
        Action::Discard { positions, .. } => {
            let positions = Some(positions.into_iter().collect());
            let done = client.discard_dead_letters(&DeadLettersRequest { positions }).await?;
            output.answer(&done, || told("discarded", &done))?;
            done
        }
    };
    Ok(if done.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list(report: &DeadLettersReport, output: Output) -> String {
    if report.total == 0 {
        return "No dead letters.".to_owned();
    }
    let rows: Vec<Vec<String>> = report
        .letters
        .iter()
        .map(|letter| {
            vec![
                letter.position.to_string(),
                letter.dead_at.to_string(),
                letter.project_id.to_string(),
                name(letter),
                first_chars(&letter.reason),
            ]
        })
        .collect();
    let head = [
        ("position", Align::Right),
        ("set aside", Align::Left),
        ("project", Align::Left),
        ("event", Align::Left),
        ("reason", Align::Left),
    ];
    let mut text = output.table(&head, &rows);
    let listed = report.letters.len() as u64;
    if listed < report.total {
        text.push_str(&format!(
            "{} of {} dead letters.\n",
            grouped(listed),
            grouped(report.total)
        ));
    }
    text
}

fn show(letter: &DeadLetterReport, output: Output) -> String {
    let content = match (&letter.event, &letter.payload) {
        (Some(event), _) => serde_json::to_string_pretty(event).unwrap_or_default(),
        (None, Some(bytes)) => format!("This build cannot read the record: {bytes}"),
        (None, None) => String::new(),
    };
    format!(
        "{}\n  project    {}\n  received   {}\n  set aside  {}\n  attempts   {}\n\n{content}\n",
        output.bad(&letter.reason),
        letter.project_id,
        letter.received_at,
        letter.dead_at,
        letter.attempts,
    )
}

fn told(what: &str, done: &DeadLettersDone) -> String {
    let mut text = format!("{} {what}, {} left.\n", grouped(done.done), grouped(done.left));
    if !done.missing.is_empty() {
        let missing: Vec<String> = done.missing.iter().map(u64::to_string).collect();
        text.push_str(&format!("No dead letter that can be read at {}.\n", missing.join(", ")));
    }
    text
}

fn name(letter: &DeadLetterReport) -> String {
    let name = letter.event.as_ref().and_then(|event| event["event_name"].as_str());
    name.map_or_else(|| "?".to_owned(), ToOwned::to_owned)
}

/// One line for a table.
fn first_chars(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
