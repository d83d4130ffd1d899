//! `cleanup_events`: retention.

use std::process::ExitCode;

use model::ProjectId;
use server::admin::types::{CleanupReport, CleanupRequest};

use super::{Context, fields::project_id};
use crate::{
    engine::{OnInterrupt, with_admin},
    output::{Align, Output, grouped, size},
};

/// Arguments of `cleanup_events`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Deletes by each project's own retention; projects that keep events for ever are left alone unless --days is given. \
    A server with the scheduler role does this by itself. Examples:\n  \
    simple-analytics cleanup_events --dry-run\n  \
    simple-analytics cleanup_events --project ID --days 30"
)]
pub struct Args {
    /// Keep so many days instead of what the project says
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    days: Option<u32>,
    /// Only this project
    #[arg(long, value_name = "ID", value_parser = project_id)]
    project: Option<ProjectId>,
    /// Say what would be deleted, delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let request = CleanupRequest {
        days: args.days,
        project: args.project,
        dry_run: args.dry_run,
    };
    let report = with_admin(&context.settings, OnInterrupt::Abandon, async |client| {
        client.cleanup(&request).await
    })
    .await?;
    context.output.answer(&report, || text(&report, context.output))?;
    Ok(ExitCode::SUCCESS)
}

fn text(report: &CleanupReport, output: Output) -> String {
    if report.projects.is_empty() {
        return "No project has a retention, so nothing is deleted (see `project update --retention-days`).".to_owned();
    }
    let deleted = if report.dry_run { "would delete" } else { "deleted" };
    let head = [
        ("project", Align::Left),
        (deleted, Align::Right),
        ("before", Align::Left),
        ("id", Align::Left),
    ];
    let rows: Vec<Vec<String>> = report
        .projects
        .iter()
        .map(|project| {
            vec![
                project.name.clone(),
                grouped(project.deleted),
                project.before.to_string(),
                project.id.to_string(),
            ]
        })
        .collect();
    let mut text = output.table(&head, &rows);
    if !report.dry_run {
        text.push_str(&format!(
            "Store: {} before, {} after.\n",
            size(report.bytes_before),
            size(report.bytes_after)
        ));
    }
    if let Some(error) = &report.reclaim_error {
        text.push_str(&format!("{}: {error}\n", output.bad("The space was not given back")));
    }
    text
}
