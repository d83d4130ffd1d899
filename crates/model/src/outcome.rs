//! Every event ends in exactly one outcome; every refusal has a name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an event ended. Text form: the snake-case name, refusals as `rejected:<tag>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A row of the store.
    Stored,
    /// Accepted again; the row was there.
    Duplicate,
    /// Accepted, not kept, by the project's sampling.
    SampledOut,
    /// Refused with an answer that says why.
    Rejected(Rejection),
    /// Accepted and kept aside with a reason: the store refuses it.
    DeadLettered,
}

/// Why an event was refused. The text form is stable: metrics, the ledger and `code` of error bodies use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// One or more fields break their rule.
    InvalidEvent,
    /// The event's source is switched off.
    InactiveSource,
    /// Over the project's or the source's events per minute.
    RateLimited,
    /// Over the project's events per month.
    QuotaExceeded,
    /// The browser's origin is not on the project's list. Only the `code` of an error body and of the request's metric: the request is
    /// refused before its events are read, so that nobody knows how many there are, and the ledger counts events. The place among the
    /// others stays: records in the queue name refusals by number.
    OriginNotAllowed,
    /// The queue could not make it durable; the client was told to retry.
    NotDurable,
}

impl Rejection {
    /// Every refusal, for documentation and tests.
    pub const ALL: [Self; 6] = [
        Self::InvalidEvent,
        Self::InactiveSource,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::OriginNotAllowed,
        Self::NotDurable,
    ];

    /// The stable tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::InvalidEvent => "invalid_event",
            Self::InactiveSource => "inactive_source",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::NotDurable => "not_durable",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => formatter.write_str("stored"),
            Self::Duplicate => formatter.write_str("duplicate"),
            Self::SampledOut => formatter.write_str("sampled_out"),
            Self::Rejected(rejection) => write!(formatter, "rejected:{}", rejection.tag()),
            Self::DeadLettered => formatter.write_str("dead_lettered"),
        }
    }
}

/// A text that names no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no outcome")]
pub struct ParseOutcomeError(pub String);

impl std::str::FromStr for Outcome {
    type Err = ParseOutcomeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = Rejection::ALL.into_iter().map(Self::Rejected);
        [Self::Stored, Self::Duplicate, Self::SampledOut, Self::DeadLettered]
            .into_iter()
            .chain(all)
            .find(|outcome| outcome.to_string() == text)
            .ok_or_else(|| ParseOutcomeError(text.to_owned()))
    }
}
