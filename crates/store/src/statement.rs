//! SQL with its project built in.

use std::fmt;

use model::{ProjectId, Timestamp};
use uuid::Uuid;

use crate::ProjectScope;

/// A value bound to a statement, or read from a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Text; JSON columns come as text too.
    Text(String),
    /// An instant.
    Instant(Timestamp),
    /// An id.
    Id(Uuid),
}

impl Value {
    /// The text of a text value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of an integer value.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The instant of an instant value.
    pub fn as_instant(&self) -> Option<Timestamp> {
        match self {
            Self::Instant(instant) => Some(*instant),
            _ => None,
        }
    }

    /// The id of an id value.
    pub fn as_id(&self) -> Option<Uuid> {
        match self {
            Self::Id(id) => Some(*id),
            _ => None,
        }
    }
}

/// The values of a statement, in the order of their placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(Vec<Value>);

impl Parameters {
    /// Adds a value and returns its placeholder (`$1`, `$2`, …: the form that DuckDB and PostgreSQL share).
    pub fn bind(&mut self, value: Value) -> Placeholder {
        self.0.push(value);
        Placeholder(self.0.len())
    }
}

/// Stands for a bound value in SQL text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholder(usize);

impl fmt::Display for Placeholder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "${}", self.0)
    }
}

/// The relation that statements select from, as it is written in them. A store whose dialect wants it written in another way puts that in its
/// place; [`Parameters`] hold every value of others, so that this text stands nowhere else.
pub const RELATION: &str = "(select * from events where project_id = $1)";

/// A read-only SQL statement over the events of one project.
///
/// There is no way to make one over several projects, or over the table itself: [`Self::over_events`] hands out a relation that
/// already holds the project's filter. Columns of the relation: `id uuid`, `event_id text`, `event_source text`, `event_name text`,
/// `user_id text`, `uid bigint` (dense number of the user inside the project), `session_id text`, `properties json`, `timestamp`,
/// `received_at`, `ip_address text`, `user_agent text`, `path`, `hostname`, `referrer_host`, `utm_source`, `utm_medium`, `utm_campaign`,
/// `utm_term`, `utm_content`, `country`, `browser`, `browser_version`, `os`, `device` (all text).
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    project: ProjectId,
    sql: String,
    parameters: Parameters,
}

impl Statement {
    /// Writes a statement. `write` gets the relation to select from, and the parameters to bind its values to.
    pub fn over_events(scope: &ProjectScope, write: impl FnOnce(&str, &mut Parameters) -> String) -> Self {
        let mut parameters = Parameters::default();
        // `$1`, as in the relation.
        parameters.bind(Value::Id(scope.project_id().0));
        let sql = write(RELATION, &mut parameters);
        Self {
            project: scope.project_id(),
            sql,
            parameters,
        }
    }

    /// The project that the relation is filtered by. Its id is the first parameter; a store that names projects in another way inside
    /// binds that instead.
    pub fn project_id(&self) -> ProjectId {
        self.project
    }

    /// The text, with `$n` placeholders.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The values of the placeholders, `$1` first.
    pub fn parameters(&self) -> &[Value] {
        &self.parameters.0
    }
}

/// The answer to a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Names, in the order of the values.
    pub columns: Vec<String>,
    /// One list of values per row.
    pub rows: Vec<Vec<Value>>,
}
