//! Settings: flag, then environment (a `.env` file counts as environment), then TOML file, then default.
//!
//! [`SPECS`] is the list to add to: a setting has one name, from which its flag, variable and TOML key follow. Each value remembers
//! where it came from; wrong values are all reported at once.

mod layers;
mod parse;
mod settings;
mod specs;

pub use layers::{Layers, Origin, Resolved};
pub use parse::{database_url, origins};
pub use settings::Settings;
pub use specs::{SPECS, Spec};

/// Everything that is wrong with the settings, one sentence each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems_text(.0))]
pub struct ConfigError(pub Vec<String>);

fn problems_text(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("{} settings are wrong:\n  {}", many.len(), many.join("\n  ")),
    }
}

#[cfg(test)]
mod tests;
