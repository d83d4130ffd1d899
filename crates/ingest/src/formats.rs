//! The wire formats, one file each. To add one: its file, its line in [`FORMATS`], its fixtures in `tests/fixtures/<name>/`.

mod native_batch;
mod native_single;

pub(crate) use native_batch::each_line;
use serde::Deserialize;

use crate::{Candidate, Endpoint, MediaType, RequestContext, RequestError};

/// A way to write events in a request.
pub trait WireFormat: Sync {
    /// Stable; also the directory of its fixtures.
    fn name(&self) -> &'static str;

    /// Whether requests to `endpoint` are written in it. Exactly one format says yes.
    fn is_at(&self, endpoint: Endpoint) -> bool;

    /// Whether it reads bodies of this type.
    fn reads(&self, media_type: MediaType<'_>) -> bool;

    /// What a client that sent another type should use.
    fn supported_media_types(&self) -> &'static str;

    /// Limit of the body after decoding.
    fn body_bytes_max(&self) -> usize;

    /// Reads a body that is decompressed, within the limit, not blank, and free of escapes that no store keeps.
    /// One candidate per event, in order; an error only where no event can be told apart.
    fn decode(
        &self,
        body: &[u8],
        media_type: MediaType<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Vec<Candidate>, RequestError>;
}

/// Every format.
pub static FORMATS: &[&dyn WireFormat] = &[&native_single::NativeSingle, &native_batch::NativeBatch];

/// The format of an endpoint.
pub(crate) fn for_endpoint(endpoint: Endpoint) -> &'static dyn WireFormat {
    match endpoint {
        Endpoint::Single => &native_single::NativeSingle,
        Endpoint::Batch => &native_batch::NativeBatch,
    }
}

/// Parses the whole of `bytes` as one JSON value.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RequestError> {
    // Checked once for all, which is faster than string by string.
    let text = std::str::from_utf8(bytes).map_err(|error| RequestError::InvalidJson {
        reason: format!("byte {} is not UTF-8", error.valid_up_to() + 1),
    })?;
    serde_json::from_str(text).map_err(|error| RequestError::InvalidJson {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
