//! What an operator should know about a part of an installation: facts, and findings with their remedies.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How bad a finding is. In the order of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not do so for ever, or promises less than it could.
    Warning,
    /// It works, and when something else fails, accepted events are lost.
    Risk,
    /// It does not work.
    Problem,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Risk => "risk",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found, for people.
    pub text: String,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: String,
}

/// A part that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Which, such as `redis`.
    pub part: String,
    /// What it says of itself, by name, in order.
    pub facts: Map<String, Value>,
    /// What was judged, in order.
    pub findings: Vec<Finding>,
}

impl Inspection {
    /// Of a part, with nothing in it.
    pub fn new(part: &str) -> Self {
        Self {
            part: part.to_owned(),
            facts: Map::new(),
            findings: Vec::new(),
        }
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Adds what is as it should be.
    pub fn ok(&mut self, text: impl Into<String>) {
        self.add(Level::Ok, text.into(), String::new());
    }

    /// Adds a warning.
    pub fn warn(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Warning, text.into(), remedy.into());
    }

    /// Adds a risk to accepted events.
    pub fn risk(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Risk, text.into(), remedy.into());
    }

    /// Adds a problem.
    pub fn problem(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Problem, text.into(), remedy.into());
    }

    fn add(&mut self, level: Level, text: String, remedy: String) {
        self.findings.push(Finding { level, text, remedy });
    }

    /// The worst that was found.
    pub fn level(&self) -> Level {
        let levels = self.findings.iter().map(|finding| finding.level);
        levels.max().unwrap_or(Level::Ok)
    }
}
