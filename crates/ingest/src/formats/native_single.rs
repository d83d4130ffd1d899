//! `POST /api/events/ingest/`: one JSON object is one event (contract, "Ingestion").

use model::limits;

use super::{WireFormat, parse};
use crate::{Candidate, Endpoint, MediaType, RequestContext, RequestError, element::Element, event};

/// See the module.
pub(super) struct NativeSingle;

impl WireFormat for NativeSingle {
    fn name(&self) -> &'static str {
        "native_single"
    }

    fn is_at(&self, endpoint: Endpoint) -> bool {
        endpoint == Endpoint::Single
    }

    fn reads(&self, media_type: MediaType<'_>) -> bool {
        matches!(media_type, MediaType::Json | MediaType::Unspecified)
    }

    fn supported_media_types(&self) -> &'static str {
        "application/json or text/plain with one JSON object (NDJSON goes to the batch endpoint)"
    }

    fn body_bytes_max(&self) -> usize {
        limits::EVENT_BODY_BYTES_MAX
    }

    fn decode(
        &self,
        body: &[u8],
        _: MediaType<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Vec<Candidate>, RequestError> {
        match parse(body)? {
            Element::Other(kind) => Err(RequestError::InvalidBody(format!(
                "The body must be a JSON object, but is {kind}; several events go to the batch endpoint."
            ))),
            element => Ok(vec![event::candidate(element, None, context)]),
        }
    }
}
