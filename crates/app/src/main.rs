//! The `simple-analytics` binary: reads the command line and the settings, runs one command, tells how it ended.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage (contract, "The command line").

use std::{collections::BTreeMap, path::Path, process::ExitCode, sync::Arc};

use clap::Parser;
use model::SystemClock;

use crate::{
    commands::{Cli, Context},
    config::{ConfigError, Layers, Settings},
    output::{Output, OutputError},
};

mod admin_client;
mod bench;
mod commands;
mod config;
mod doctor;
mod engine;
mod generate;
mod http_client;
mod import;
mod logging;
mod memory;
mod moving;
mod output;
mod password;
mod queue_feed;
mod usage;
mod wiring;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    memory::configure();
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut flags: BTreeMap<&'static str, String> = cli.global.setting_flags();
    flags.extend(cli.command.setting_flags());
    let layers = Layers::read(flags, cli.global.config.as_deref(), Path::new("."))?;
    let settings = Settings::parse(layers.resolve())?;
    logging::start(&settings, cli.command.is_quiet()).map_err(|sentence| ConfigError(vec![sentence]))?;
    let context = Context {
        settings,
        output: Output::new(cli.global.json),
        clock: Arc::new(SystemClock),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(cli.command.run(&context))
}

/// Prints an error once, as a chain of sentences, and chooses the exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(OutputError::Closed) = error.downcast_ref() {
        return ExitCode::SUCCESS;
    }
    let wrong_usage =
        error.downcast_ref::<ConfigError>().is_some() || error.downcast_ref::<usage::UsageError>().is_some();
    eprintln!("error: {error:#}");
    ExitCode::from(if wrong_usage { WRONG_USAGE } else { FAILED })
}
