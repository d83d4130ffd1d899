//! Reads request bodies: bounded in size, in time, and over all requests together.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::HeaderMap};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use model::limits;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Memory is handed out in pieces of this size, so that a semaphore's permits suffice.
const UNIT_BYTES: usize = 1024;
/// Bodies up to this size are read without asking for memory: what they can take is bounded by the number of connections.
const SMALL_BYTES: usize = 16 * 1024;
/// Memory is asked for in steps of this size, as bytes arrive: who sends nothing holds nothing, and those who wait for a little stand
/// behind a little only.
const STEP_BYTES: usize = 256 * 1024;
/// How long a request waits for memory before it is told to come again.
const MEMORY_WAIT: Duration = Duration::from_secs(2);
/// How often the one whose turn it is looks whether there is enough for decoding.
const DECODING_POLL: Duration = Duration::from_millis(5);

/// The memory that all bodies share.
#[derive(Clone, Debug)]
pub struct BodyMemory {
    units: Arc<Semaphore>,
    /// Whose turn it is to wait for what decoding needs.
    decoding: Arc<Mutex<()>>,
}

/// A body, and the memory that it holds until it is dropped.
pub struct HeldBody {
    /// The bytes as sent.
    pub bytes: Bytes,
    held: HeldMemory,
}

/// A body's part of the memory.
struct HeldMemory {
    memory: BodyMemory,
    units: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Default for BodyMemory {
    fn default() -> Self {
        Self {
            units: Arc::new(Semaphore::new(limits::BODY_BYTES_IN_FLIGHT_MAX / UNIT_BYTES)),
            decoding: Arc::default(),
        }
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
        let mut held = HeldMemory {
            memory: self.clone(),
            units: 0,
            permit: None,
        };
        let read = tokio::time::timeout(limits::BODY_READ_TIMEOUT, collect(body, limit, &mut held));
        let bytes = read.await.map_err(|_| slow_body())??;
        Ok(HeldBody { bytes, held })
    }
}

impl HeldBody {
    /// Takes the memory that decoding needs, just before it begins: an encoded body may become as large as `limit`, whatever its size.
    pub async fn prepare_decoding(&mut self, headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
        if !headers.contains_key(http::header::CONTENT_ENCODING) {
            return Ok(());
        }
        let memory = self.held.memory.clone();
        let units = limit.div_ceil(UNIT_BYTES);
        let many = u32::try_from(units).unwrap_or(u32::MAX);
        let wait = async {
            let _turn = memory.decoding.lock().await;
            loop {
                // Not in the semaphore's own queue: so much would keep everybody waiting who comes later and needs little.
                match Arc::clone(&memory.units).try_acquire_many_owned(many) {
                    Ok(permit) => break permit,
                    Err(_) => tokio::time::sleep(DECODING_POLL).await,
                }
            }
        };
        let permit = tokio::time::timeout(MEMORY_WAIT, wait).await;
        self.held.add(permit.map_err(|_| overloaded())?, units);
        Ok(())
    }
}

impl HeldMemory {
    /// Holds `bytes` at least when it returns.
    async fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let wanted = bytes.div_ceil(UNIT_BYTES);
        while self.units < wanted {
            let step = (wanted - self.units).min(STEP_BYTES / UNIT_BYTES);
            let units = u32::try_from(step).unwrap_or(u32::MAX);
            let more = Arc::clone(&self.memory.units).acquire_many_owned(units);
            let Ok(Ok(more)) = tokio::time::timeout(MEMORY_WAIT, more).await else {
                return Err(overloaded());
            };
            self.add(more, step);
        }
        Ok(())
    }

    fn add(&mut self, more: OwnedSemaphorePermit, units: usize) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        self.units += units;
    }

    /// Holds what a body of `bytes` so far needs, and some for what comes next.
    async fn hold(&mut self, bytes: usize, limit: usize) -> Result<(), ApiError> {
        if bytes <= SMALL_BYTES || bytes <= self.units * UNIT_BYTES {
            return Ok(());
        }
        self.grow_to(bytes.next_multiple_of(STEP_BYTES).min(limit)).await
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

async fn collect(body: &mut Body, limit: usize, held: &mut HeldMemory) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken_body())?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes = first.len().max(all.as_ref().map_or(0, BytesMut::len)) + data.len();
        if bytes > limit {
            return Err(ApiError::too_large(limit));
        }
        held.hold(bytes, limit).await?;
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

fn overloaded() -> ApiError {
    ApiError::unavailable("overloaded", "Too many large requests at once: try again later.")
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

#[cfg(test)]
mod tests;
