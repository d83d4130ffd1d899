//! `source`: named origins of events inside a project.

use std::process::ExitCode;

use clap::Subcommand;
use model::{ProjectId, Source, SourceChanges, SourceId};

use super::{
    Context,
    fields::{Clearable, Share, Strategy, project_id},
};
use crate::{
    output::{Align, Output, grouped},
    usage::usage,
    wiring,
};

/// Arguments of `source`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Sources come into being with the first event that names them. Examples:\n  \
    simple-analytics source list --project ID\n  \
    simple-analytics source update SOURCE_ID --is-active false\n  \
    simple-analytics source update SOURCE_ID --rate-limit-per-minute 600 --sampling-rate none"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List sources
    #[command(after_help = "Example: simple-analytics source list --json")]
    List {
        /// Only this project's
        #[arg(long, value_name = "ID", value_parser = project_id)]
        project: Option<ProjectId>,
    },
    /// Change a source; what is not named stays, `none` falls back to the project's setting
    #[command(
        after_help = "Example: simple-analytics source update SOURCE_ID --sampling-enabled true --sampling-rate 0.1"
    )]
    Update {
        #[arg(value_parser = source_id)]
        id: SourceId,
        #[command(flatten)]
        fields: Fields,
    },
}

#[derive(Debug, clap::Args)]
struct Fields {
    /// Shown to people
    #[arg(long)]
    description: Option<String>,
    /// Whether its events are accepted
    #[arg(long, value_name = "true|false")]
    is_active: Option<bool>,
    /// Events per sliding minute, `none` = only the project's limit
    #[arg(long, value_name = "EVENTS|none")]
    rate_limit_per_minute: Option<Clearable<u32>>,
    /// Whether only a share of the events is kept, `none` = as the project
    #[arg(long, value_name = "true|false|none")]
    sampling_enabled: Option<Clearable<bool>>,
    /// Share of events that sampling keeps, 0 to 1, `none` = as the project
    #[arg(long, value_name = "SHARE|none")]
    sampling_rate: Option<Clearable<Share>>,
    /// How the share is chosen: random, deterministic (by user) or time_window, `none` = as the project
    #[arg(long, value_name = "STRATEGY|none")]
    sampling_strategy: Option<Clearable<Strategy>>,
}

impl Fields {
    fn changes(self) -> SourceChanges {
        SourceChanges {
            description: self.description,
            is_active: self.is_active,
            rate_limit_per_minute: self.rate_limit_per_minute.map(|limit| limit.0),
            sampling_enabled: self.sampling_enabled.map(|enabled| enabled.0),
            sampling_rate: self.sampling_rate.map(|share| share.0.map(|share| share.0)),
            sampling_strategy: self
                .sampling_strategy
                .map(|strategy| strategy.0.map(|strategy| strategy.0)),
        }
    }
}

fn source_id(text: &str) -> Result<SourceId, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no source id; `simple-analytics source list` shows them"))
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let store = wiring::open_meta_store(&context.settings).await?;
    let result = act(args.action, store.as_ref(), context.output).await;
    store.close().await;
    result
}

async fn act(action: Action, store: &dyn store::MetaStore, output: Output) -> anyhow::Result<ExitCode> {
    match action {
        Action::List { project } => {
            if let Some(id) = project {
                // A project that does not exist is told apart from one without sources.
                store.project(id).await?;
            }
            let mut sources = store.sources().await?;
            sources.retain(|source| project.is_none_or(|id| source.project_id == id));
            output.answer(&sources, || list(&sources, output))?;
        }
        Action::Update { id, fields } => {
            let changes = fields.changes();
            if changes == SourceChanges::default() {
                return Err(usage(
                    "nothing to change; `simple-analytics source update --help` lists the flags",
                ));
            }
            let source = store.update_source(id, &changes).await?;
            output.answer(&source, || list(std::slice::from_ref(&source), output))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(sources: &[Source], output: Output) -> String {
    if sources.is_empty() {
        return "No sources yet: they come into being with the first event that names them.".to_owned();
    }
    let head = [
        ("id", Align::Left),
        ("name", Align::Left),
        ("active", Align::Left),
        ("events/min", Align::Right),
        ("sampling", Align::Left),
        ("project", Align::Left),
        ("description", Align::Left),
    ];
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|source| {
            vec![
                source.id.to_string(),
                source.name.clone(),
                if source.is_active {
                    "yes".to_owned()
                } else {
                    output.bad("no")
                },
                source
                    .rate_limit_per_minute
                    .map_or_else(|| "as project".to_owned(), |limit| grouped(limit.into())),
                sampling(source),
                source.project_id.to_string(),
                source.description.clone(),
            ]
        })
        .collect();
    output.table(&head, &rows)
}

/// What the source overrides: `on, keeps 0.1, deterministic`.
fn sampling(source: &Source) -> String {
    let parts = [
        source
            .sampling_enabled
            .map(|enabled| if enabled { "on" } else { "off" }.to_owned()),
        source.sampling_rate.map(|rate| format!("keeps {rate}")),
        source
            .sampling_strategy
            .map(|strategy| format!("{strategy:?}").to_lowercase()),
    ];
    let said: Vec<String> = parts.into_iter().flatten().collect();
    if said.is_empty() {
        "as project".to_owned()
    } else {
        said.join(", ")
    }
}
