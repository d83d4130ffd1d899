//! Wrong usage that the argument parser cannot see.

/// The command was called wrongly; the sentence says how to call it. Ends the process with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Shorthand for an [`anyhow::Error`] that is a [`UsageError`].
pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
    UsageError(sentence.into()).into()
}
