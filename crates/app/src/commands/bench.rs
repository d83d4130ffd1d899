//! `bench`: this machine against the performance bars of the design.

use std::process::ExitCode;

use super::Context;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, _context: &Context) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
