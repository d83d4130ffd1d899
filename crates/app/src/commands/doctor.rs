//! `doctor`: what is wrong with an installation, and what to do about it.

use std::process::ExitCode;

use model::inspection::{Finding, Inspection, Level};
use serde_json::{Value, json};

use super::{Context, ServerFlags};
use crate::{doctor, output::Output};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends with 1 when there is a problem; warnings alone end with 0. Changes nothing. Examples:\n  \
    simple-analytics doctor\n  \
    simple-analytics doctor --json | jq '.parts[].findings[] | select(.level != \"ok\")'"
)]
pub struct Args {
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let parts = doctor::examine(&context.settings, &*context.clock).await;
    let worst = parts.iter().map(Inspection::level).max().unwrap_or(Level::Ok);
    let output = context.output;
    output.answer(&json!({"level": worst, "parts": parts}), || {
        let mut text: String = parts.iter().map(|part| findings(part, output)).collect();
        let count = |level| {
            let findings = parts.iter().flat_map(|part| &part.findings);
            findings.filter(|finding| finding.level == level).count()
        };
        text.push_str(&format!(
            "{} problems, {} risks, {} warnings\n",
            count(Level::Problem),
            count(Level::Risk),
            count(Level::Warning)
        ));
        text
    })?;
    Ok(if worst >= Level::Risk {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What was found in a part, one line each, the remedy below.
pub fn findings(part: &Inspection, output: Output) -> String {
    let mut text = format!("{}\n", output.strong(&part.part));
    for Finding {
        level,
        text: what,
        remedy,
    } in &part.findings
    {
        let name = format!("{:<8}", level.name());
        let name = match level {
            Level::Ok => output.good(&name),
            Level::Warning => output.strong(&name),
            Level::Risk | Level::Problem => output.bad(&name),
        };
        text.push_str(&format!("  {name} {what}\n"));
        if !remedy.is_empty() {
            text.push_str(&format!("           {}\n", output.faint(&format!("→ {remedy}"))));
        }
    }
    text.push('\n');
    text
}

/// What a part says of itself.
pub fn facts(part: &Inspection) -> String {
    let mut text = format!("{}\n", part.part);
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "not told".to_owned(),
        other => other.to_string(),
    };
    for (name, value) in &part.facts {
        let name = name.replace('_', " ");
        match value {
            Value::Array(rows) => {
                for row in rows {
                    let fields = row.as_object().into_iter().flatten();
                    let fields: Vec<String> = fields.map(|(name, value)| format!("{name} {}", shown(value))).collect();
                    text.push_str(&format!("  {name:<26} {}\n", fields.join(", ")));
                }
            }
            value => text.push_str(&format!("  {name:<26} {}\n", shown(value))),
        }
    }
    text
}
