//! What DuckDB's and the index's errors mean to the caller.

use std::io;

use store::StoreError;

/// An error, sorted by what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The data or the statement are at fault: the same call fails again.
    #[error("{0}")]
    Refused(String),
    /// Room, memory or the medium are at fault: the same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// DuckDB gave the database up: every connection fails from now on, until it is opened anew.
    #[error("the database must be opened anew: {0}")]
    Fatal(String),
    /// The index failed, as on a full disk; opened again it may go on.
    #[error("the index failed: {0}")]
    Index(String),
    /// The index holds what cannot be read; it is derived data and must be made anew.
    #[error("the index is damaged and made anew from the database, which takes a moment: {0}")]
    Damaged(String),
    /// The statement was stopped from outside.
    #[error("the statement was stopped")]
    Interrupted,
}

/// Messages of DuckDB start with their kind; these kinds blame the data or the statement.
const REFUSED: [&str; 14] = [
    "Binder Error",
    "Catalog Error",
    "Constraint Error",
    "Conversion Error",
    "Decimal Error",
    "Expression Error",
    "Invalid Error",
    "Invalid Input Error",
    "Mismatch Type Error",
    "Not implemented Error",
    "Out of Range Error",
    "Parser Error",
    "Permission Error",
    "Syntax Error",
];

/// A file that is shorter than it says, of no known form, or gone.
const DAMAGE: [io::ErrorKind; 3] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::InvalidData,
    io::ErrorKind::NotFound,
];

impl From<duckdb::Error> for Failure {
    fn from(error: duckdb::Error) -> Self {
        let duckdb::Error::DuckDBFailure(_, message) = &error else {
            // Everything else is about values and types on their way between Rust and DuckDB.
            return Self::Refused(error.to_string());
        };
        let Some(message) = message else {
            return Self::Unavailable(error.to_string());
        };
        if message.starts_with("FATAL Error")
            || message.starts_with("INTERNAL Error")
            || message.contains("database has been invalidated")
        {
            return Self::Fatal(message.clone());
        }
        if message.starts_with("INTERRUPT Error") {
            return Self::Interrupted;
        }
        // Commits wrap what went wrong: "TransactionContext Error: Failed to commit: Constraint Error: …".
        let cause = message
            .strip_prefix("TransactionContext Error: Failed to commit: ")
            .unwrap_or(message);
        if REFUSED.iter().any(|kind| cause.starts_with(kind)) {
            Self::Refused(cause.to_owned())
        } else {
            // Unknown kinds too: trying again in vain is seen and repaired, a dead letter is a loss.
            Self::Unavailable(message.clone())
        }
    }
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        use fjall::{Error, LsmError};

        let is_damage = match &error {
            Error::Io(error) | Error::Storage(LsmError::Io(error)) => DAMAGE.contains(&error.kind()),
            Error::Poisoned | Error::Locked | Error::KeyspaceDeleted => false,
            _ => true,
        };
        if is_damage {
            Self::Damaged(error.to_string())
        } else {
            Self::Index(error.to_string())
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(message) => Self::Refused(message),
            failure => Self::Unavailable(failure.to_string()),
        }
    }
}
