//! `project`: tenants and their settings.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use model::{PrivateKey, Project, ProjectChanges, ProjectId, PublicKey};
use serde_json::json;
use server::admin::types::ProcessRequest;

use super::{
    Context,
    fields::{Clearable, Origins, Share, Strategy, days, name, project_id, time_zone},
};
use crate::{
    engine::{OnInterrupt, with_admin},
    output::{Align, Output, grouped},
    usage::usage,
    wiring,
};

/// Arguments of `project`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    simple-analytics project create --name Shop --time-zone Europe/Berlin\n  \
    simple-analytics project list --json\n  \
    simple-analytics project update ID --rate-limit-per-minute none --cors-allowed-origins https://example.com,https://*.example.com\n  \
    simple-analytics project rotate-keys ID --private\n  \
    simple-analytics project delete ID --yes")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a project and print its keys
    #[command(after_help = "Example: simple-analytics project create --name Shop --retention-days 90")]
    Create {
        /// Shown to people
        #[arg(long, value_parser = name)]
        name: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// List every project
    #[command(after_help = "Example: simple-analytics project list --json")]
    List,
    /// Show a project with its keys
    #[command(after_help = "Example: simple-analytics project show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show {
        #[arg(value_parser = project_id)]
        id: ProjectId,
    },
    /// Change settings of a project; what is not named stays
    #[command(
        after_help = "Example: simple-analytics project update ID --monthly-event-quota 1000000 --retention-days none"
    )]
    Update {
        #[arg(value_parser = project_id)]
        id: ProjectId,
        /// Shown to people
        #[arg(long, value_parser = name)]
        name: Option<String>,
        #[command(flatten)]
        fields: Fields,
    },
    /// Replace keys; the old ones are refused by every server within two seconds
    #[command(
        name = "rotate-keys",
        alias = "rotate_keys",
        after_help = "Without --public or --private both are replaced. Example: simple-analytics project rotate-keys ID --public"
    )]
    RotateKeys {
        #[arg(value_parser = project_id)]
        id: ProjectId,
        /// Replace the public key
        #[arg(long)]
        public: bool,
        /// Replace the private key
        #[arg(long)]
        private: bool,
    },
    /// Delete a project with all its events, for good
    #[command(after_help = "Example: simple-analytics project delete ID --yes")]
    Delete {
        #[arg(value_parser = project_id)]
        id: ProjectId,
        /// Yes, delete it
        #[arg(long)]
        yes: bool,
    },
}

/// The settings of a project as flags, named like the fields of its JSON.
#[derive(Debug, Default, clap::Args)]
struct Fields {
    /// Whether its keys are accepted
    #[arg(long, value_name = "true|false")]
    is_active: Option<bool>,
    /// Events per sliding minute, `none` = no limit [default of a new project: 1000]
    #[arg(long, value_name = "EVENTS|none")]
    rate_limit_per_minute: Option<Clearable<u32>>,
    /// Events per calendar month, `none` = no quota
    #[arg(long, value_name = "EVENTS|none")]
    monthly_event_quota: Option<Clearable<u64>>,
    /// Days that events are kept, `none` = for ever
    #[arg(long, value_name = "DAYS|none", value_parser = days)]
    retention_days: Option<Clearable<u32>>,
    /// Days that rollups are kept, `none` = for ever
    #[arg(long, value_name = "DAYS|none", value_parser = days)]
    aggregation_retention_days: Option<Clearable<u32>>,
    #[arg(
        help = "Origins of pages that may send events, by commas: https://example.com, https://*.example.com, *, or `none`",
        long,
        value_name = "ORIGINS|none"
    )]
    cors_allowed_origins: Option<Origins>,
    /// Whether only a share of the events is kept
    #[arg(long, value_name = "true|false")]
    sampling_enabled: Option<bool>,
    /// Share of events that sampling keeps, 0 to 1
    #[arg(long, value_name = "SHARE")]
    sampling_rate: Option<Share>,
    /// How the share is chosen: random, deterministic (by user) or time_window
    #[arg(long, value_name = "STRATEGY")]
    sampling_strategy: Option<Strategy>,
    /// IANA time zone of its days [default of a new project: UTC]
    #[arg(long, value_name = "ZONE", value_parser = time_zone)]
    time_zone: Option<String>,
    /// Whether browsers get a cookie that tells visitors apart
    #[arg(long, value_name = "true|false")]
    cookie_identification: Option<bool>,
}

impl Fields {
    fn changes(self, name: Option<String>) -> ProjectChanges {
        ProjectChanges {
            name,
            public_api_key: None,
            private_api_key: None,
            is_active: self.is_active,
            rate_limit_per_minute: self.rate_limit_per_minute.map(|limit| limit.0),
            monthly_event_quota: self.monthly_event_quota.map(|quota| quota.0),
            retention_days: self.retention_days.map(|days| days.0),
            aggregation_retention_days: self.aggregation_retention_days.map(|days| days.0),
            cors_allowed_origins: self.cors_allowed_origins.map(|origins| origins.0),
            sampling_enabled: self.sampling_enabled,
            sampling_rate: self.sampling_rate.map(|share| share.0),
            sampling_strategy: self.sampling_strategy.map(|strategy| strategy.0),
            time_zone: self.time_zone,
            cookie_identification: self.cookie_identification,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    if let Action::Delete { id, yes: false } = args.action {
        return Err(usage(format!(
            "deleting project {id} removes it and all its events for good; say so with --yes"
        )));
    }
    let store = wiring::open_meta_store(&context.settings).await?;
    let result = act(args.action, store.as_ref(), context).await;
    store.close().await;
    result
}

async fn act(action: Action, store: &dyn store::MetaStore, context: &Context) -> anyhow::Result<ExitCode> {
    let now = context.clock.now();
    let output = context.output;
    match action {
        Action::Create { name, fields } => {
            let mut project = Project::new(name, now);
            apply(&mut project, fields.changes(None));
            store.create_project(&project).await?;
            output.answer(&project, || details(&project, output))?;
        }
        Action::List => {
            let projects = store.projects().await?;
            output.answer(&projects, || list(&projects, output))?;
        }
        Action::Show { id } => {
            let project = store.project(id).await?;
            output.answer(&project, || details(&project, output))?;
        }
        Action::Update { id, name, fields } => {
            let changes = fields.changes(name);
            if changes == ProjectChanges::default() {
                return Err(usage(
                    "nothing to change; `simple-analytics project update --help` lists the flags",
                ));
            }
            let project = store.update_project(id, &changes, now).await?;
            output.answer(&project, || details(&project, output))?;
        }
        Action::RotateKeys { id, public, private } => {
            let both = public == private;
            let changes = ProjectChanges {
                public_api_key: (both || public).then(PublicKey::generate),
                private_api_key: (both || private).then(PrivateKey::generate),
                ..ProjectChanges::default()
            };
            let project = store.update_project(id, &changes, now).await?;
            output.answer(&project, || details(&project, output))?;
        }
        Action::Delete { id, .. } => delete(id, store, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// First no new events, then no old ones, then no project: whatever interrupts this, running it again finishes it.
async fn delete(id: ProjectId, store: &dyn store::MetaStore, context: &Context) -> anyhow::Result<()> {
    let project = store.project(id).await?;
    let inactive = ProjectChanges {
        is_active: Some(false),
        ..ProjectChanges::default()
    };
    store.update_project(id, &inactive, context.clock.now()).await?;
    let events = with_admin(&context.settings, OnInterrupt::Abandon, async |client| {
        let mut deleted = 0;
        loop {
            // What still waits for the store would come after the deletion.
            client.process(&ProcessRequest::default()).await?;
            match client.delete_events(id).await?.deleted {
                0 => return Ok(deleted),
                // Requests that were let in before the server heard of it may have queued more meanwhile.
                more => deleted += more,
            }
        }
    })
    .await
    .with_context(|| {
        format!(
            "project {:?} is switched off, but its events are not deleted",
            project.name
        )
    })?;
    store.delete_project(id).await?;
    context.output.answer(
        &json!({"id": id, "name": project.name, "deleted_events": events}),
        || {
            let count = grouped(events);
            format!("Deleted project {:?} ({id}) with {count} events.", project.name)
        },
    )?;
    Ok(())
}

/// What an update does in the store, on a project that is not stored yet.
fn apply(project: &mut Project, changes: ProjectChanges) {
    fn set<T>(field: &mut T, change: Option<T>) {
        if let Some(value) = change {
            *field = value;
        }
    }
    set(&mut project.is_active, changes.is_active);
    set(&mut project.rate_limit_per_minute, changes.rate_limit_per_minute);
    set(&mut project.monthly_event_quota, changes.monthly_event_quota);
    set(&mut project.retention_days, changes.retention_days);
    set(
        &mut project.aggregation_retention_days,
        changes.aggregation_retention_days,
    );
    set(&mut project.cors_allowed_origins, changes.cors_allowed_origins);
    set(&mut project.sampling_enabled, changes.sampling_enabled);
    set(&mut project.sampling_rate, changes.sampling_rate);
    set(&mut project.sampling_strategy, changes.sampling_strategy);
    set(&mut project.time_zone, changes.time_zone);
    set(&mut project.cookie_identification, changes.cookie_identification);
}

fn limit<T: Into<u64> + Copy>(value: Option<T>, unlimited: &str) -> String {
    value.map_or_else(|| unlimited.to_owned(), |value| grouped(value.into()))
}

fn list(projects: &[Project], output: Output) -> String {
    if projects.is_empty() {
        return "No projects yet: simple-analytics project create --name NAME".to_owned();
    }
    let head = [
        ("id", Align::Left),
        ("name", Align::Left),
        ("active", Align::Left),
        ("time zone", Align::Left),
        ("events/min", Align::Right),
        ("days kept", Align::Right),
        ("public key", Align::Left),
    ];
    let rows: Vec<Vec<String>> = projects
        .iter()
        .map(|project| {
            vec![
                project.id.to_string(),
                project.name.clone(),
                if project.is_active {
                    "yes".to_owned()
                } else {
                    output.bad("no")
                },
                project.time_zone.clone(),
                limit(project.rate_limit_per_minute, "no limit"),
                limit(project.retention_days, "all"),
                project.public_api_key.expose().to_owned(),
            ]
        })
        .collect();
    output.table(&head, &rows)
}

fn details(project: &Project, output: Output) -> String {
    let truth = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let origins = match project.cors_allowed_origins.as_slice() {
        [] => "none (browsers are refused)".to_owned(),
        origins => origins.join(", "),
    };
    let sampling = if project.sampling_enabled {
        format!("keeps {} ({:?})", project.sampling_rate, project.sampling_strategy).to_lowercase()
    } else {
        "off".to_owned()
    };
    let lines = [
        ("id", project.id.to_string()),
        (
            "public key",
            format!("{}  (sends events)", project.public_api_key.expose()),
        ),
        (
            "private key",
            format!("{}  (reads; keep it on a server)", project.private_api_key.expose()),
        ),
        ("active", truth(project.is_active)),
        ("time zone", project.time_zone.clone()),
        ("events per minute", limit(project.rate_limit_per_minute, "no limit")),
        ("events per month", limit(project.monthly_event_quota, "no quota")),
        ("days events are kept", limit(project.retention_days, "for ever")),
        (
            "days rollups are kept",
            limit(project.aggregation_retention_days, "for ever"),
        ),
        ("origins of browsers", origins),
        ("sampling", sampling),
        ("cookie identification", truth(project.cookie_identification)),
        ("created", project.created_at.to_string()),
        ("updated", project.updated_at.to_string()),
    ];
    let mut text = format!("{}\n", output.strong(&project.name));
    for (name, value) in lines {
        text.push_str(&format!("  {name:<22} {value}\n"));
    }
    text
}
