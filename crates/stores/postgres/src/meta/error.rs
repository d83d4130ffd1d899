//! PostgreSQL's errors as those of the metadata port.

use store::MetaError;

use crate::failure::sentence;

/// The error of a call that breaks no rule of the data.
pub(super) fn unavailable(error: sqlx::Error) -> MetaError {
    MetaError::Unavailable(sentence(&error))
}

/// The error of a write: `conflict` says what is taken when a uniqueness rule stopped it.
pub(super) fn write_error(error: sqlx::Error, conflict: impl FnOnce() -> String) -> MetaError {
    match &error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => MetaError::Conflict(conflict()),
        _ => unavailable(error),
    }
}
