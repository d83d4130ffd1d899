//! Reads request bodies: bounded in size, in time, and over all requests together.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::HeaderMap};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use model::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Memory is handed out in pieces of this size, so that a semaphore's permits suffice.
const UNIT_BYTES: usize = 1024;
/// Bodies up to this size are read without asking for memory: what they can take is bounded by the number of connections.
const SMALL_BYTES: usize = 16 * 1024;
/// How long a request waits for memory before it is told to come again.
const MEMORY_WAIT: Duration = Duration::from_secs(2);

/// The memory that all bodies share.
#[derive(Clone, Debug)]
pub struct BodyMemory(Arc<Semaphore>);

/// A body, and the memory that it holds until it is dropped.
pub struct HeldBody {
    /// The bytes as sent.
    pub bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::BODY_BYTES_IN_FLIGHT_MAX / UNIT_BYTES)))
    }
}

impl BodyMemory {
    /// Reads a body of at most `limit` bytes.
    pub async fn read(&self, headers: &HeaderMap, body: &mut Body, limit: usize) -> Result<HeldBody, ApiError> {
        let announced = headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limit) {
            return Err(ApiError::too_large(limit));
        }
        let encoded = headers.contains_key(http::header::CONTENT_ENCODING);
        // An encoded body may become as large as the limit; one without a length too.
        let needed = if encoded { limit } else { announced.unwrap_or(limit) };
        let permit = if needed <= SMALL_BYTES {
            None
        } else {
            Some(self.acquire(needed).await?)
        };
        let read = tokio::time::timeout(limits::BODY_READ_TIMEOUT, collect(body, limit));
        let bytes = read.await.map_err(|_| slow_body())??;
        Ok(HeldBody { bytes, _permit: permit })
    }

    async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let wait = tokio::time::timeout(MEMORY_WAIT, Arc::clone(&self.0).acquire_many_owned(units));
        match wait.await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ApiError::unavailable(
                "overloaded",
                "Too many large requests at once: try again later.",
            )),
        }
    }
}

/// Reads the rest of a refused request and forgets it: most clients look at the answer only when they have sent everything, and
/// take a connection that closes before for a broken one. Bounded in bytes and time; beyond that the connection closes.
pub async fn discard(mut body: Body) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > limits::BODY_DISCARDED_BYTES_MAX {
                break;
            }
        }
    };
    // Too slow: closing is what is left.
    let _ = tokio::time::timeout(limits::BODY_DISCARD_TIMEOUT, rest).await;
}

async fn collect(body: &mut Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken_body())?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len().max(all.as_ref().map_or(0, BytesMut::len)) + data.len() > limit {
            return Err(ApiError::too_large(limit));
        }
        match &mut all {
            Some(all) => all.extend_from_slice(&data),
            // Nearly every body comes in one piece: no copy.
            None if first.is_empty() => first = data,
            None => {
                let mut both = BytesMut::with_capacity(first.len() + data.len());
                both.extend_from_slice(&first);
                both.extend_from_slice(&data);
                all = Some(both);
            }
        }
    }
    Ok(all.map_or(first, BytesMut::freeze))
}

fn slow_body() -> ApiError {
    let error = format!(
        "The body did not arrive within {} seconds.",
        limits::BODY_READ_TIMEOUT.as_secs()
    );
    ApiError::new(http::StatusCode::REQUEST_TIMEOUT, "body_timeout", error)
}

fn broken_body() -> ApiError {
    ApiError::new(
        http::StatusCode::BAD_REQUEST,
        "broken_body",
        "The body ended before it was complete.",
    )
}
