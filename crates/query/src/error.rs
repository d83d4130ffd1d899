//! What is wrong with a request, and what can go wrong with its answer.

use std::collections::BTreeMap;

use serde::Serialize;
use store::StoreError;
use utoipa::ToSchema;

/// What is wrong with each field, by name: the `details` of an error's body. Holds every bad field at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
pub struct FieldErrors(BTreeMap<&'static str, Vec<String>>);

impl FieldErrors {
    /// Adds a sentence about a field.
    pub fn add(&mut self, field: &'static str, sentence: impl Into<String>) {
        self.0.entry(field).or_default().push(sentence.into());
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields at fault with their sentences, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.0.iter().map(|(field, sentences)| (*field, sentences.as_slice()))
    }
}

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
