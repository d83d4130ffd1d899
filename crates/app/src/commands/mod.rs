//! The command line: one variant per command, one file per variant.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand};
use model::Clock;

use crate::{config::Settings, output::Output};

mod bench;
mod cleanup_events;
mod config;
mod dead_letters;
mod doctor;
mod event_status;
mod export;
mod fields;
mod generate;
mod import;
mod migrate_store;
mod process_events;
mod project;
mod serve;
mod source;
mod user;

/// What every command gets.
pub struct Context {
    /// The settings in force.
    pub settings: Settings,
    /// Where and how to answer.
    pub output: Output,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Self-hosted event analytics: one binary that takes events, stores them and answers questions about them.
#[derive(Debug, Parser)]
#[command(
    name = "simple-analytics",
    version,
    max_term_width = 120,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "First steps:\n  \
        simple-analytics serve                    start everything on http://127.0.0.1:8000\n  \
        simple-analytics project list             projects and their keys\n  \
        simple-analytics import access.log.gz --project ID\n\n\
        Settings come from flags, the environment (a .env file too), simple-analytics.toml and defaults, in this order; \
        `simple-analytics config` shows the result. Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalFlags,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct GlobalFlags {
    /// Settings file [default: simple-analytics.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the embedded stores live [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as server=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log lines as text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl GlobalFlags {
    /// The settings that were given as flags, by key.
    pub fn setting_flags(&self) -> BTreeMap<&'static str, String> {
        given([
            ("data_dir", &self.data_dir),
            ("log_level", &self.log_level),
            ("log_format", &self.log_format),
        ])
    }
}

/// Flags for the settings of a server.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct ServerFlags {
    /// Address and port to listen on [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// What this process does: api, worker, scheduler, dashboard [default: all]
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Path prefix of every URL, such as /analytics
    #[arg(long, value_name = "PATH")]
    base_path: Option<String>,
    /// Host names to answer to, by commas [default: all]
    #[arg(long, value_name = "HOSTS")]
    allowed_hosts: Option<String>,
    /// Origins of pages that may call the reading endpoints, by commas
    #[arg(long, value_name = "ORIGINS")]
    cors_allowed_origins: Option<String>,
    /// Networks of proxies whose X-Forwarded-For is believed, by commas
    #[arg(long, value_name = "NETWORKS")]
    trusted_proxies: Option<String>,
    /// Requests per minute and client address, 0 = no limit [default: 1000]
    #[arg(long, value_name = "REQUESTS")]
    ip_rate_limit_per_minute: Option<String>,
    /// Bytes that may wait in the embedded queue [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    queue_bytes_max: Option<String>,
    /// Memory that the embedded store may use [default: 96MiB]
    #[arg(long, value_name = "SIZE")]
    store_memory_bytes_max: Option<String>,
    /// Most seconds between SIGTERM and exit [default: 20]
    #[arg(long, value_name = "SECONDS")]
    shutdown_budget_seconds: Option<String>,
    /// Where the user-agent rules and the country table are
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<String>,
}

impl ServerFlags {
    /// The settings that were given as flags, by key.
    pub fn setting_flags(&self) -> BTreeMap<&'static str, String> {
        given([
            ("listen", &self.listen),
            ("roles", &self.roles),
            ("base_path", &self.base_path),
            ("allowed_hosts", &self.allowed_hosts),
            ("cors_allowed_origins", &self.cors_allowed_origins),
            ("trusted_proxies", &self.trusted_proxies),
            ("ip_rate_limit_per_minute", &self.ip_rate_limit_per_minute),
            ("queue_bytes_max", &self.queue_bytes_max),
            ("store_memory_bytes_max", &self.store_memory_bytes_max),
            ("shutdown_budget_seconds", &self.shutdown_budget_seconds),
            ("runtime_dir", &self.runtime_dir),
        ])
    }
}

fn given<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> BTreeMap<&'static str, String> {
    flags
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
        .collect()
}

/// Every command. Names take `-` or `_`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: takes events, stores them, answers questions
    Serve(serve::Args),
    /// Create, list, change and delete projects
    Project(project::Args),
    /// List and change event sources
    Source(source::Args),
    /// Create, list and delete the people of the dashboard
    User(user::Args),
    /// Take events from the queue into the store
    #[command(name = "process_events", alias = "process-events")]
    ProcessEvents(process_events::Args),
    /// Delete events that are older than their project keeps them
    #[command(name = "cleanup_events", alias = "cleanup-events")]
    CleanupEvents(cleanup_events::Args),
    /// Show the state of queue, stores and projects
    #[command(name = "event_status", alias = "event-status")]
    EventStatus(event_status::Args),
    /// Look for what is wrong with settings, machine and servers, with what to do about it
    Doctor(doctor::Args),
    /// List, show, retry and discard events that could not be stored
    #[command(name = "dead_letters", alias = "dead-letters")]
    DeadLetters(dead_letters::Args),
    /// Import events from NDJSON, CSV or web-server access logs
    Import(import::Args),
    /// Export events as NDJSON or CSV
    Export(export::Args),
    /// Move everything from the embedded stores to PostgreSQL, or back
    #[command(name = "migrate-store", alias = "migrate_store")]
    MigrateStore(migrate_store::Args),
    /// Make demo traffic with a realistic shape
    Generate(generate::Args),
    /// Measure this machine against the performance bars
    Bench(bench::Args),
    /// Show every setting, its value and where it came from
    Config(config::Args),
    /// The ceiling that `bench` measures against
    #[command(name = "bench-bare-handler", hide = true)]
    BenchBareHandler,
}

impl Command {
    /// The settings that were given as flags of the command itself, by key.
    pub fn setting_flags(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::Serve(args) => args.server.setting_flags(),
            Self::Config(args) => args.server.setting_flags(),
            Self::Doctor(args) => args.server.setting_flags(),
            _ => BTreeMap::new(),
        }
    }

    /// Whether only warnings belong into the log of this command.
    pub fn is_quiet(&self) -> bool {
        !matches!(self, Self::Serve(_))
    }

    /// Runs the command.
    pub async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(args) => serve::run(args, context).await,
            Self::Project(args) => project::run(args, context).await,
            Self::Source(args) => source::run(args, context).await,
            Self::User(args) => user::run(args, context).await,
            Self::ProcessEvents(args) => process_events::run(args, context).await,
            Self::CleanupEvents(args) => cleanup_events::run(args, context).await,
            Self::EventStatus(args) => event_status::run(args, context).await,
            Self::Doctor(args) => doctor::run(args, context).await,
            Self::DeadLetters(args) => dead_letters::run(args, context).await,
            Self::Import(args) => import::run(args, context).await,
            Self::Export(args) => export::run(args, context).await,
            Self::MigrateStore(args) => migrate_store::run(args, context).await,
            Self::Generate(args) => generate::run(args, context).await,
            Self::Bench(args) => bench::run(args, context).await,
            Self::Config(args) => config::run(args, context),
            Self::BenchBareHandler => {
                crate::bench::bare::serve().await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
