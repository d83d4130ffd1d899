//! What is wrong with a request, and what can go wrong with its answer.

use model::FieldErrors;
use store::StoreError;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The request breaks its rules: 400.
    #[error("invalid parameters")]
    Invalid(FieldErrors),
    /// There is no such page: 404. The first page always is.
    #[error("There is no page {page}.")]
    PageNotFound {
        /// As asked for; 0 for what is no page number at all.
        page: u64,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store or the project's settings hold something that no writer of ours leaves there. Says where, not what.
    #[error("{0}")]
    Unreadable(String),
}

impl From<FieldErrors> for QueryError {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}
