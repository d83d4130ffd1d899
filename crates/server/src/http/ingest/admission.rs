//! The verdict on each event of a request: accepted, sampled out, or refused with a reason.

use std::{collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use ingest::Candidate;
use metrics::counter;
use model::{AcceptedEvent, FieldErrors, Outcome, ProjectId, Rejection, Sampling, Source, Timestamp};
use queue::Records;
use serde::Serialize;
use store::access::IngestScope;
use utoipa::ToSchema;

use super::super::error::ApiError;
use crate::{
    engine::Engine,
    ledger::Ledger,
    limit::{Decision, LimitKey},
};

/// Bytes of an encoded event, about: a buffer of the right size is not moved while it fills.
const PAYLOAD_BYTES_GUESS: usize = 400;

/// An event of a batch that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedEvent {
    /// Its index in the batch, from 0.
    pub index: usize,
    /// A sentence for people.
    error: String,
    /// A word for programs; stable.
    code: &'static str,
    /// Sentences by field, where fields are at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Vec<String>>>)]
    details: Option<FieldErrors>,
    #[serde(skip)]
    rejection: Rejection,
    #[serde(skip)]
    limit: Option<Decision>,
}

impl RejectedEvent {
    fn new(index: usize, rejection: Rejection, error: impl Into<String>) -> Self {
        Self {
            index,
            error: error.into(),
            code: rejection.tag(),
            details: None,
            rejection,
            limit: None,
        }
    }

    /// The answer to a request of this event alone.
    pub fn into_error(self) -> ApiError {
        match (self.limit, self.details) {
            (Some(decision), _) => ApiError::rate_limited("source", &decision),
            (None, Some(details)) => {
                ApiError::new(StatusCode::BAD_REQUEST, self.code, self.error).with_details(&details)
            }
            (None, None) => ApiError::new(StatusCode::BAD_REQUEST, self.code, self.error),
        }
    }

    /// Takes out the event over a limit that must wait longest, if any is over one.
    pub fn last_to_be_let_in(rejected: &mut Vec<Self>) -> Option<Self> {
        let limited = rejected.iter().enumerate().filter_map(|(at, event)| {
            let decision = event.limit.as_ref()?;
            Some((decision.retry_after.unwrap_or(Duration::MAX), at))
        });
        let (_, at) = limited.max()?;
        Some(rejected.swap_remove(at))
    }

    /// What is wrong, in sentences.
    pub fn summary(&self) -> Vec<String> {
        match &self.details {
            Some(details) => details
                .iter()
                .flat_map(|(field, sentences)| sentences.iter().map(move |sentence| format!("{field}: {sentence}")))
                .collect(),
            None => vec![self.error.clone()],
        }
    }
}

/// Every event of a request in exactly one of three places.
#[derive(Debug, Default)]
pub struct Admission {
    /// To be made durable, encoded.
    pub accepted: Records,
    /// Sampled out.
    pub sampled: usize,
    /// Refused.
    pub rejected: Vec<RejectedEvent>,
}

impl Admission {
    /// Judges every event of a request.
    pub async fn judge(engine: &Engine, scope: &IngestScope, candidates: Vec<Candidate>, now: Timestamp) -> Self {
        let mut admission = Self {
            accepted: Records::with_capacity(candidates.len(), candidates.len() * PAYLOAD_BYTES_GUESS),
            ..Self::default()
        };
        for (index, candidate) in candidates.into_iter().enumerate() {
            match candidate {
                Candidate::Valid { event, warnings } => {
                    for warning in warnings {
                        counter!("simple_analytics_event_warnings_total", "warning" => warning.tag()).increment(1);
                    }
                    match check_source(engine, scope, &event).await {
                        Ok(source) if keeps(scope, source, &event, now) => admission.accept(index, &event),
                        Ok(_) => admission.sampled += 1,
                        Err(mut refused) => {
                            refused.index = index;
                            admission.rejected.push(refused);
                        }
                    }
                }
                Candidate::Invalid(details) => {
                    let refused = RejectedEvent::new(index, Rejection::InvalidEvent, "Invalid event data");
                    admission.rejected.push(RejectedEvent {
                        details: Some(details),
                        ..refused
                    });
                }
            }
        }
        admission
    }

    fn accept(&mut self, index: usize, event: &AcceptedEvent) {
        if let Err(error) = self.accepted.push_event(event, event.received_at) {
            // What was validated can be written; if not, the code is wrong, and its neighbours must not pay for it.
            tracing::error!(%error, "an accepted event cannot be encoded");
            let sentence = "The event cannot be stored: this is a bug of the server, please report it.";
            let refused = RejectedEvent::new(index, Rejection::InvalidEvent, sentence);
            self.rejected.push(refused);
        }
    }

    /// Tells the ledger about the events that are not accepted.
    pub fn count_refused(&self, ledger: &Ledger, project: ProjectId, now: Timestamp) {
        ledger.ended(project, Outcome::SampledOut, self.sampled as u64, now);
        let mut counts: BTreeMap<Rejection, u64> = BTreeMap::new();
        for event in &self.rejected {
            *counts.entry(event.rejection).or_default() += 1;
        }
        for (rejection, count) in counts {
            ledger.ended(project, Outcome::Rejected(rejection), count, now);
        }
    }
}

/// The event's source, if it is known; an error if it is switched off or over its limit.
async fn check_source<'a>(
    engine: &Engine,
    scope: &'a IngestScope,
    event: &AcceptedEvent,
) -> Result<Option<&'a Source>, RejectedEvent> {
    let Some(source) = event.event_source.as_deref().and_then(|name| scope.source(name)) else {
        return Ok(None);
    };
    if !source.is_active {
        let error = format!("The event source {:?} is switched off.", source.name);
        return Err(RejectedEvent::new(0, Rejection::InactiveSource, error));
    }
    if let Some(limit) = source.rate_limit_per_minute {
        let decision = engine.limiter().check(LimitKey::Source(source.id), limit, 1).await;
        if !decision.allowed {
            let error = format!(
                "Over the limit of {limit} a minute for the event source {:?}.",
                source.name
            );
            let refused = RejectedEvent::new(0, Rejection::RateLimited, error);
            return Err(RejectedEvent {
                limit: Some(decision),
                ..refused
            });
        }
    }
    Ok(Some(source))
}

fn keeps(scope: &IngestScope, source: Option<&Source>, event: &AcceptedEvent, now: Timestamp) -> bool {
    let sampling = Sampling::in_force(scope.project(), source);
    if !sampling.enabled {
        return true;
    }
    ingest::keeps(
        sampling,
        scope.project_id(),
        ingest::sampled_user(event),
        now,
        rand::random(),
    )
}
