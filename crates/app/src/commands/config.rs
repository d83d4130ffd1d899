//! `config`: every setting, its value and where it came from.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{Context, ServerFlags};
use crate::{
    config::{Origin, Resolved},
    output::Align,
};

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Secrets are masked. Examples:\n  \
    simple-analytics config\n  \
    LISTEN=0.0.0.0:80 simple-analytics config --json\n\n\
    A settings file (simple-analytics.toml) uses the same names:\n  \
    listen = \"0.0.0.0:8000\"\n  \
    roles = [\"api\", \"worker\"]\n  \
    ip_rate_limit_per_minute = 0")]
pub struct Args {
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Prints the settings.
pub fn run(_args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let resolved = &context.settings.resolved;
    context.output.answer(&document(resolved), || text(resolved, context))?;
    Ok(ExitCode::SUCCESS)
}

fn document(resolved: &[Resolved]) -> Value {
    let entry = |resolved: &Resolved| {
        let value = (!resolved.text.is_empty()).then(|| resolved.spec.shown(&resolved.text));
        json!({"value": value, "from": resolved.origin_text()})
    };
    Value::Object(
        resolved
            .iter()
            .map(|resolved| (resolved.spec.key.to_owned(), entry(resolved)))
            .collect::<Map<_, _>>(),
    )
}

fn text(resolved: &[Resolved], context: &Context) -> String {
    let rows: Vec<Vec<String>> = resolved
        .iter()
        .map(|resolved| {
            let value = match resolved.text.as_str() {
                "" => context.output.faint("(not set)"),
                text => resolved.spec.shown(text),
            };
            let from = match resolved.origin {
                Origin::Default => context.output.faint("default"),
                _ => resolved.origin_text(),
            };
            vec![resolved.spec.key.to_owned(), value, from]
        })
        .collect();
    let head = [("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)];
    context.output.table(&head, &rows)
}
