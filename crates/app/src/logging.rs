//! Logs: standard error, text for people or one JSON object a line.

use std::{io::IsTerminal, str::FromStr};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Settings;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json".to_owned()),
        }
    }
}

/// Starts logging. `quiet` commands log warnings and errors only, unless told otherwise.
///
/// # Errors
/// When the level is no valid filter.
pub fn start(settings: &Settings, quiet: bool) -> Result<(), String> {
    let level = match &settings.log_level {
        Some(level) => level.as_str(),
        None if settings.debug => "debug",
        None if quiet => "warn",
        // What the embedded engines say of their own files, and PostgreSQL of tables that are there already, interests nobody until something is
        // wrong.
        None => "info,fjall=warn,lsm_tree=warn,sqlx::postgres::notice=warn",
    };
    let filter = EnvFilter::try_new(level)
        .map_err(|error| format!("RUST_LOG={level:?} is no log filter ({error}); use a level such as info or debug"))?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let registry = tracing_subscriber::registry().with(filter);
    let started = match settings.log_format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr).with_ansi(colours))
            .try_init(),
        LogFormat::Json => registry
            .with(fmt::layer().with_writer(std::io::stderr).json().flatten_event(true))
            .try_init(),
    };
    started.map_err(|error| error.to_string())
}
