//! `POST /api/events/ingest/` and `POST /api/events/batch/`: authenticate, check origin, limit, decode, validate, sample, stamp,
//! make durable, answer.

mod admission;

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::Body as _;
use ingest::{Candidate, RawRequest, RequestContext};
use model::{Outcome, Rejection, Timestamp, limits};
use serde::Serialize;
use store::access::IngestScope;
use tokio::time::Instant;
use utoipa::ToSchema;

use self::admission::{Admission, RejectedEvent};
use super::{
    body::discard,
    client::{self, Peer},
    cors,
    error::{ApiError, ErrorBody},
};
use crate::{
    engine::Engine,
    intake::{Intake, IntakeError},
    limit::LimitKey,
    metrics::Endpoint,
};

/// Larger bodies take milliseconds to decode: other connections of the thread move on meanwhile.
const DECODED_IN_PLACE_BYTES_MAX: usize = 256 * 1024;

/// A single event was taken.
#[derive(Serialize, ToSchema)]
pub struct EventAccepted {
    /// Always `accepted`.
    #[schema(example = "accepted")]
    status: &'static str,
    /// Sampled out: not stored.
    sampled: bool,
}

/// A batch was taken, whole or in part.
#[derive(Serialize, ToSchema)]
pub struct BatchAccepted {
    /// Always `accepted`.
    #[schema(example = "accepted")]
    status: &'static str,
    /// Events that are durable now.
    accepted: usize,
    /// Events that were sampled out.
    sampled: usize,
    /// Events that were refused, by index.
    rejected: Vec<RejectedEvent>,
}

/// Send one event.
///
/// From a 202 with `"sampled": false` on, the event survives a crash of the server and is stored exactly once.
#[utoipa::path(
    post, path = "/api/events/ingest/", tag = "Ingestion",
    request_body(content = super::openapi::EventBody, description = "At most 1 MiB after decoding; `Content-Encoding` gzip, deflate, br or zstd."),
    responses(
        (status = 202, body = EventAccepted),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
    ),
    security(("public_key" = [])),
)]
pub async fn ingest_event(State(engine): State<Arc<Engine>>, request: Request) -> Response {
    routed(&engine, request, Endpoint::Ingest).await
}

/// Send up to 10,000 events.
///
/// The body is an array of events, `{"events": […]}`, or one event a line (`application/x-ndjson`). Good events are kept when others
/// are bad; what is accepted is durable together before the answer.
#[utoipa::path(
    post, path = "/api/events/batch/", tag = "Ingestion",
    request_body(content = Vec<super::openapi::EventBody>, description = "At most 20 MiB after decoding and 10,000 events."),
    responses(
        (status = 202, body = BatchAccepted),
        (status = 400, body = ErrorBody, description = "No event of the batch is good, or the body cannot be read."),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
    ),
    security(("public_key" = [])),
)]
pub async fn ingest_batch(State(engine): State<Arc<Engine>>, request: Request) -> Response {
    routed(&engine, request, Endpoint::Batch).await
}

/// A request that came through the router.
async fn routed(engine: &Arc<Engine>, request: Request, endpoint: Endpoint) -> Response {
    if request.method() == Method::OPTIONS {
        return cors::preflight(request.headers());
    }
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    // A pointer instead of some kilobytes through every layer that hands the future on.
    Box::pin(respond(engine, request, peer, endpoint)).await
}

/// Answers a POST of events that came from `peer`.
pub async fn respond(engine: &Arc<Engine>, request: Request, peer: Peer, endpoint: Endpoint) -> Response {
    let started = Instant::now();
    let (parts, mut body) = request.into_parts();
    let call = Call::new(engine, &parts, peer, endpoint);
    let outcome = call.answer(&mut body).await;
    if outcome.is_err() && !body.is_end_stream() {
        discard(body).await;
    }
    let code = outcome.as_ref().err().map(ApiError::code);
    engine.metrics.request(endpoint, code, started.elapsed());
    let mut response = outcome.unwrap_or_else(IntoResponse::into_response);
    cors::expose(call.headers, response.headers_mut());
    response
}

/// One request on its way.
struct Call<'a> {
    engine: &'a Arc<Engine>,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    endpoint: Endpoint,
    address: IpAddr,
    over_https: bool,
}

impl<'a> Call<'a> {
    fn new(engine: &'a Arc<Engine>, parts: &'a axum::http::request::Parts, peer: Peer, endpoint: Endpoint) -> Self {
        let trusted = &engine.config.trusted_proxies;
        Self {
            engine,
            headers: &parts.headers,
            query: parts.uri.query(),
            endpoint,
            address: client::address(peer, &parts.headers, trusted),
            over_https: client::over_https(peer, &parts.headers, trusted),
        }
    }

    async fn answer(&self, body: &mut Body) -> Result<Response, ApiError> {
        client::check_address_limit(self.engine, self.address).await?;
        let key = client::bearer(self.headers)
            .map(std::borrow::Cow::Borrowed)
            .or_else(|| client::query_parameter(self.query, "key"));
        let scope = key
            .and_then(|key| self.engine.directory.sender(&key))
            .ok_or_else(|| ApiError::unauthorized("public"))?;
        cors::check_origin(self.headers, scope.project())?;
        let (endpoint, limit) = match self.endpoint {
            Endpoint::Batch => (ingest::Endpoint::Batch, limits::BATCH_BODY_BYTES_MAX),
            Endpoint::Ingest | Endpoint::Reading => (ingest::Endpoint::Single, limits::EVENT_BODY_BYTES_MAX),
        };
        let mut body = self.engine.body_memory.read(self.headers, body, limit).await?;
        body.prepare_decoding(self.headers, limit).await?;
        let cookie = Cookie::of(self, &scope);
        let context = RequestContext {
            project_id: scope.project_id(),
            received_at: self.engine.clock().now(),
            address: Some(self.address),
            user_agent: client::user_agent(self.headers),
            cookie_anonymous_id: cookie.as_ref().map(|cookie| cookie.value.as_str()),
        };
        let request = RawRequest {
            endpoint,
            content_type: client::header_text(self.headers, &header::CONTENT_TYPE),
            content_encoding: client::header_text(self.headers, &header::CONTENT_ENCODING),
            body: body.bytes.clone(),
        };
        // How large an encoded body really is shows only when it is decoded.
        let is_small = request.body.len() <= DECODED_IN_PLACE_BYTES_MAX && request.content_encoding.is_none();
        let candidates = if is_small {
            ingest::decode(&request, &context)?
        } else {
            tokio::task::block_in_place(|| ingest::decode(&request, &context))?
        };
        let mut response = self.take(&scope, candidates, &context).await?;
        if let Some(cookie) = cookie.filter(|cookie| cookie.is_new) {
            cookie.set(response.headers_mut(), self.over_https);
        }
        Ok(response)
    }

    /// Judges each event, makes the good ones durable together, and counts every one.
    async fn take(
        &self,
        scope: &IngestScope,
        candidates: Vec<Candidate>,
        context: &RequestContext<'_>,
    ) -> Result<Response, ApiError> {
        let (engine, project, now) = (self.engine, scope.project(), context.received_at);
        let total = candidates.len() as u64;
        if let Err(error) = self.check_rate(scope, total).await {
            let rejection = Rejection::RateLimited;
            engine
                .ledger
                .ended(project.id, Outcome::Rejected(rejection), total, now);
            return Err(error);
        }
        let admission = Admission::judge(engine, scope, candidates, now).await;
        admission.count_refused(&engine.ledger, project.id, now);
        let accepted = admission.accepted.len();
        if accepted > 0 {
            let intake = Intake {
                project: project.id,
                records: admission.accepted,
                received: vec![(now, accepted as u64)],
                quota: project.monthly_event_quota,
            };
            intake
                .make_durable(engine)
                .await
                .map_err(|error| not_taken(&error, now))?;
        }
        answer(self.endpoint, accepted, admission.sampled, admission.rejected)
    }

    async fn check_rate(&self, scope: &IngestScope, events: u64) -> Result<(), ApiError> {
        let project = scope.project();
        let Some(limit) = project.rate_limit_per_minute else {
            return Ok(());
        };
        let cost = u32::try_from(events).unwrap_or(u32::MAX);
        let key = LimitKey::Project(project.id);
        let decision = self.engine.limiter().check(key, limit, cost).await;
        if decision.allowed {
            Ok(())
        } else {
            Err(ApiError::rate_limited("project", &decision))
        }
    }
}

fn not_taken(error: &IntakeError, now: Timestamp) -> ApiError {
    match error {
        IntakeError::QuotaExceeded { quota, used } => {
            ApiError::quota_exceeded(*quota, *used, crate::background::next_month(now), now)
        }
        IntakeError::NotDurable(cause) => {
            tracing::warn!(%cause, "events could not be made durable");
            let error = "The event cannot be made durable right now and was not taken: send it again.";
            ApiError::unavailable("not_durable", error)
        }
    }
}

fn answer(
    endpoint: Endpoint,
    accepted: usize,
    sampled: usize,
    rejected: Vec<RejectedEvent>,
) -> Result<Response, ApiError> {
    if accepted + sampled == 0 {
        return Err(refusal(endpoint, rejected));
    }
    Ok(match endpoint {
        Endpoint::Batch => json(
            StatusCode::ACCEPTED,
            &BatchAccepted {
                status: "accepted",
                accepted,
                sampled,
                rejected,
            },
        ),
        Endpoint::Ingest | Endpoint::Reading => {
            // The hottest answer of the server: no serializer.
            let body = if sampled > 0 {
                r#"{"status":"accepted","sampled":true}"#
            } else {
                r#"{"status":"accepted","sampled":false}"#
            };
            respond_json(StatusCode::ACCEPTED, Body::from(body))
        }
    })
}

/// The answer when no event of a request is good: that of the single event, or the list of all of the batch.
fn refusal(endpoint: Endpoint, mut rejected: Vec<RejectedEvent>) -> ApiError {
    if let Some(limited) = RejectedEvent::last_to_be_let_in(&mut rejected) {
        // Sent again later some may pass: an error that clients retry.
        return limited.into_error();
    }
    match (endpoint, rejected.len()) {
        (Endpoint::Ingest | Endpoint::Reading, 1) => rejected.remove(0).into_error(),
        _ => {
            let details: serde_json::Map<String, serde_json::Value> = rejected
                .iter()
                .map(|event| (event.index.to_string(), event.summary().into()))
                .collect();
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_event", "Invalid event data").with_details(&details)
        }
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => respond_json(status, Body::from(bytes)),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

fn respond_json(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The `sa_uid` cookie that tells browsers apart where the project asks for it.
struct Cookie {
    value: String,
    is_new: bool,
}

impl Cookie {
    const NAME: &str = "sa_uid";
    /// 395 days: browsers cut longer ones (RFC 6265bis allows 400).
    const MAX_AGE_SECONDS: u32 = 395 * 86_400;
    /// Our own values are 32 characters; a longer one is not ours.
    const VALUE_CHARS_MAX: usize = 64;

    fn of(call: &Call<'_>, scope: &IngestScope) -> Option<Self> {
        // Only browsers send an origin with a POST; a server's events are not one visitor's.
        if !scope.project().cookie_identification || !call.headers.contains_key(header::ORIGIN) {
            return None;
        }
        let sent = client::cookie(call.headers, Self::NAME).filter(|value| {
            value.len() <= Self::VALUE_CHARS_MAX && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        Some(match sent {
            Some(value) => Self {
                value: value.to_owned(),
                is_new: false,
            },
            None => Self {
                value: model::key::random_text(32),
                is_new: true,
            },
        })
    }

    fn set(&self, headers: &mut HeaderMap, over_https: bool) {
        // A cross-site cookie must be `Secure`; over plain HTTP only the same site gets one.
        let scope = if over_https {
            "SameSite=None; Secure"
        } else {
            "SameSite=Lax"
        };
        let text = format!(
            "{}={}; Path=/; Max-Age={}; HttpOnly; {scope}",
            Self::NAME,
            self.value,
            Self::MAX_AGE_SECONDS
        );
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}
