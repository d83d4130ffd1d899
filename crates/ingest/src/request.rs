//! A request's bytes to its events.

use std::net::IpAddr;

use bytes::Bytes;
use model::{AcceptedEvent, FieldErrors, ProjectId, Timestamp};

use crate::{RequestError, encoding, formats, json, media_type::MediaType};

/// Which of our endpoints a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /api/events/ingest/`: one event.
    Single,
    /// `POST /api/events/batch/`: many.
    Batch,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct RawRequest<'a> {
    /// Where.
    pub endpoint: Endpoint,
    /// The header, if any.
    pub content_type: Option<&'a str>,
    /// The header, if any.
    pub content_encoding: Option<&'a str>,
    /// As sent, perhaps compressed.
    pub body: Bytes,
}

/// What is known about a request besides its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// Whose key came with it.
    pub project_id: ProjectId,
    /// Time of receipt.
    pub received_at: Timestamp,
    /// The client's address: see [`crate::client_address`].
    pub address: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The cookie `sa_uid`; counts where the body has no `anonymous_id`. An unusable one is ignored.
    pub cookie_anonymous_id: Option<&'a str>,
}

/// What became of one event of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// Keeps every rule.
    Valid {
        /// Ready for the queue.
        event: Box<AcceptedEvent>,
        /// What was changed on the way; mostly empty.
        warnings: Vec<Warning>,
    },
    /// Breaks rules: all of them.
    Invalid(FieldErrors),
}

/// Something about an accepted event that its sender should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The time was too far ahead and was replaced by the time of receipt (`semantics.md`, "Time").
    FutureTimestamp {
        /// The time as it would have been.
        claimed: Timestamp,
    },
}

impl Warning {
    /// The stable tag, for metrics.
    pub fn tag(self) -> &'static str {
        match self {
            Self::FutureTimestamp { .. } => "future_timestamp",
        }
    }
}

/// Reads a request: one candidate per event, in the order of the body. Never panics, whatever the bytes; holds at
/// most the endpoint's limit in memory beside the request itself.
///
/// Event ids that the client did not choose are new at each call, so decode a request once.
pub fn decode(request: &RawRequest<'_>, context: &RequestContext<'_>) -> Result<Vec<Candidate>, RequestError> {
    let format = formats::for_endpoint(request.endpoint);
    let media_type = MediaType::of(request.content_type);
    if !format.reads(media_type) {
        return Err(RequestError::UnsupportedMediaType {
            found: media_type.shown(),
            supported: format.supported_media_types(),
        });
    }
    let body = encoding::decode(&request.body, request.content_encoding, format.body_bytes_max())?;
    let body = json::storable(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(RequestError::Empty);
    }
    format.decode(&body, media_type, context)
}
