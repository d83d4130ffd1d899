//! Where values come from, and which of them wins.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{ConfigError, SPECS, Spec};

/// The file that is read when none is named.
const FILE_DEFAULT: &str = "simple-analytics.toml";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The process's environment.
    Environment,
    /// The file `.env` of the working directory.
    DotEnv,
    /// A TOML file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

/// A setting with its value as text (empty = not set) and where that came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The setting.
    pub spec: &'static Spec,
    /// Its value, unmasked.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Resolved {
    /// Where the value came from, for people: `environment (LISTEN)`.
    pub fn origin_text(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("flag {}", self.spec.flag()),
            Origin::Environment => format!("environment {}", self.spec.variable),
            Origin::DotEnv => format!(".env {}", self.spec.variable),
            Origin::File(path) => format!("file {}", path.display()),
            Origin::Default => "default".to_owned(),
        }
    }
}

impl fmt::Display for Resolved {
    /// Names the value in messages: `environment LISTEN="x"`; masked as everywhere.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.origin {
            Origin::File(path) => format!("file {}, {}", path.display(), self.spec.key),
            Origin::Default => format!("default of {}", self.spec.key),
            _ => self.origin_text(),
        };
        write!(formatter, "{place}={:?}", self.spec.shown(&self.text))
    }
}

/// The values of each place, by key (flags, file) or variable (environment).
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// By key.
    pub flags: BTreeMap<&'static str, String>,
    /// By variable.
    pub environment: BTreeMap<String, String>,
    /// By variable.
    pub dot_env: BTreeMap<String, String>,
    /// By key, with the file's path.
    pub file: Option<(PathBuf, BTreeMap<String, String>)>,
}

impl Layers {
    /// Reads the process's environment, `.env` of `directory`, and the TOML file (`named`, or `simple-analytics.toml` of `directory`
    /// if it is there).
    pub fn read(
        flags: BTreeMap<&'static str, String>,
        named: Option<&Path>,
        directory: &Path,
    ) -> Result<Self, ConfigError> {
        let environment = SPECS
            .iter()
            .filter_map(|spec| Some((spec.variable.to_owned(), std::env::var(spec.variable).ok()?)))
            .collect();
        Ok(Self {
            flags,
            environment,
            dot_env: read_dot_env(&directory.join(".env"))?,
            file: read_file(named, directory)?,
        })
    }

    /// The value in force of each setting, in the order of [`SPECS`]. A blank value of the environment or a file counts as not set.
    pub fn resolve(&self) -> Vec<Resolved> {
        SPECS.iter().map(|spec| self.resolve_one(spec)).collect()
    }

    fn resolve_one(&self, spec: &'static Spec) -> Resolved {
        fn set(text: Option<&String>) -> Option<&str> {
            text.map(|text| text.trim()).filter(|text| !text.is_empty())
        }
        let (text, origin) = if let Some(text) = self.flags.get(spec.key) {
            (text.trim(), Origin::Flag)
        } else if let Some(text) = set(self.environment.get(spec.variable)) {
            (text, Origin::Environment)
        } else if let Some(text) = set(self.dot_env.get(spec.variable)) {
            (text, Origin::DotEnv)
        } else if let Some((path, text)) = self
            .file
            .as_ref()
            .and_then(|(path, values)| Some((path, set(values.get(spec.key))?)))
        {
            (text, Origin::File(path.clone()))
        } else {
            (spec.default, Origin::Default)
        };
        Resolved {
            spec,
            text: text.to_owned(),
            origin,
        }
    }
}

fn read_dot_env(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let bytes = std::fs::read(path)
        .map_err(|error| ConfigError(vec![format!("{} cannot be read: {error}", path.display())]))?;
    parse_dot_env(&String::from_utf8_lossy(&bytes))
        .map_err(|name| ConfigError(vec![format!("{}: the value of {name} needs quotes", path.display())]))
}

/// The values of a `.env` file, which other programs use too: a line that cannot be read is an error only where it is one of our settings,
/// whose name is returned then (the value may be a secret).
pub(super) fn parse_dot_env(text: &str) -> Result<BTreeMap<String, String>, &'static str> {
    if let Ok(values) = dotenvy::from_read_iter(text.as_bytes()).collect() {
        return Ok(values);
    }
    // One bad quote can swallow the lines behind it: each is read by itself.
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let name = line.split('=').next().unwrap_or_default().trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        let Some(spec) = SPECS.iter().find(|spec| spec.variable == name) else {
            continue;
        };
        match dotenvy::from_read_iter(line.as_bytes()).next() {
            Some(Ok((name, value))) => {
                values.insert(name, value);
            }
            _ => return Err(spec.variable),
        }
    }
    Ok(values)
}

type FileValues = (PathBuf, BTreeMap<String, String>);

fn read_file(named: Option<&Path>, directory: &Path) -> Result<Option<FileValues>, ConfigError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None if directory.join(FILE_DEFAULT).is_file() => PathBuf::from(FILE_DEFAULT),
        None => return Ok(None),
    };
    let text = std::fs::read_to_string(directory.join(&path))
        .map_err(|error| ConfigError(vec![format!("{} cannot be read: {error}", path.display())]))?;
    let values = parse_file(&text, &path).map_err(ConfigError)?;
    Ok(Some((path, values)))
}

/// The values of a TOML file by key; unknown keys and values that are no plain value or list are problems.
pub(super) fn parse_file(text: &str, path: &Path) -> Result<BTreeMap<String, String>, Vec<String>> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| vec![format!("{}: {}", path.display(), error.to_string().trim_end())])?;
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (key, value) in table {
        if !SPECS.iter().any(|spec| spec.key == key) {
            problems.push(format!(
                "{}: unknown setting {key:?}{}",
                path.display(),
                suggestion(&key)
            ));
            continue;
        }
        match plain_text(&value) {
            Some(text) => {
                values.insert(key, text);
            }
            None => problems.push(format!(
                "{}: {key} must be a text, a number, true or false, or a list of texts",
                path.display()
            )),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(toml::Value::as_str)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        _ => None,
    }
}

/// `; did you mean "listen"?` when a known key is near.
fn suggestion(key: &str) -> String {
    let key = key.to_lowercase().replace('-', "_");
    SPECS
        .iter()
        .map(|spec| (strsim::jaro_winkler(&key, spec.key), spec.key))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, near)| format!("; did you mean {near:?}?"))
        .unwrap_or_default()
}
