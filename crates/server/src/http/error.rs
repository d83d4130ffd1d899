//! The one place that turns errors into status codes and error bodies (contract, first section).

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use model::limits;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::limit::Decision;

/// Body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"error": "Invalid event data", "code": "invalid_event", "details": {"event_name": ["This field is required."]}}))]
pub struct ErrorBody {
    /// A sentence for people.
    error: String,
    /// A word for programs; stable.
    code: &'static str,
    /// Sentences by field, where fields are at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Vec<String>>>)]
    details: Option<Box<RawValue>>,
}

/// An answer that is not the one asked for.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// An error with a status, a machine word and a sentence.
    pub fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                error: error.into(),
                code,
                details: None,
            },
            headers: Vec::new(),
        }
    }

    /// Names the fields at fault: an object of lists of sentences.
    pub fn with_details(mut self, details: &impl Serialize) -> Self {
        // Details are maps of strings: they always serialize.
        self.body.details = serde_json::value::to_raw_value(details).ok();
        self
    }

    fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 401 for every key that does not open this door, whatever is wrong with it.
    pub fn unauthorized(needed: &'static str) -> Self {
        let error = format!("A valid {needed} API key is needed: send it as \"Authorization: Bearer <key>\".");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", error)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 404 for a path or thing that does not exist.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    /// 413 with the limit.
    pub fn too_large(limit_bytes: usize) -> Self {
        let error = format!("The body is larger than {limit_bytes} bytes after decoding: send fewer events at once.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error)
    }

    /// 429 with the times of the limit.
    pub fn rate_limited(scope: &str, decision: &Decision) -> Self {
        let limit = decision.limit;
        let (error, retry_after) = match decision.retry_after {
            Some(wait) => (
                format!("Over the limit of {limit} a minute for this {scope}: try again later."),
                wait,
            ),
            None => (
                format!(
                    "One request may not hold more events than the {scope}'s limit of {limit} a minute: send smaller batches."
                ),
                Duration::from_secs(60),
            ),
        };
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", error)
            .with_header(header::RETRY_AFTER, whole_seconds(retry_after).max(1))
            .with_header(HeaderName::from_static("ratelimit-limit"), limit)
            .with_header(HeaderName::from_static("ratelimit-remaining"), decision.remaining)
            .with_header(
                HeaderName::from_static("ratelimit-reset"),
                whole_seconds(decision.reset_after),
            )
    }

    /// 429 for a used-up month.
    pub fn quota_exceeded(quota: u64, used: u64, resets_at: model::Timestamp, now: model::Timestamp) -> Self {
        let error = format!("The project's quota of {quota} events a month is used up; it resets at {resets_at}.");
        let wait = Duration::from_micros(u64::try_from(resets_at.micros_since(now)).unwrap_or(0));
        Self::new(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", error)
            .with_header(header::RETRY_AFTER, whole_seconds(wait).max(1))
            .with_header(HeaderName::from_static("ratelimit-limit"), quota)
            .with_header(
                HeaderName::from_static("ratelimit-remaining"),
                quota.saturating_sub(used),
            )
            .with_header(HeaderName::from_static("ratelimit-reset"), whole_seconds(wait))
    }

    /// 503: nothing of the request was kept; the same request may succeed soon.
    pub fn unavailable(code: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error)
            .with_header(header::RETRY_AFTER, limits::UNAVAILABLE_RETRY_AFTER_SECONDS)
    }

    /// The machine word.
    pub fn code(&self) -> &'static str {
        self.body.code
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> axum::response::Response {
        let bytes = serde_json::to_vec(&self.body).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers);
        response
    }
}

impl From<ingest::RequestError> for ApiError {
    fn from(error: ingest::RequestError) -> Self {
        use ingest::RequestErrorKind;
        let status = match error.kind() {
            RequestErrorKind::Invalid => StatusCode::BAD_REQUEST,
            RequestErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RequestErrorKind::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        let answer = Self::new(status, error.code(), error.to_string());
        match error.details() {
            Some(details) => answer.with_details(details),
            None => answer,
        }
    }
}

impl From<query::QueryError> for ApiError {
    fn from(error: query::QueryError) -> Self {
        use query::QueryError;
        use store::StoreError;
        match error {
            QueryError::Store(StoreError::Timeout(limit)) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "time_limit",
                format!(
                    "The question took longer than {} seconds: ask for a shorter range.",
                    limit.as_secs()
                ),
            ),
            QueryError::Store(StoreError::Unavailable(cause)) => {
                tracing::warn!(%cause, "the event store is unavailable");
                Self::unavailable(
                    "store_unavailable",
                    "The event store is not available right now: try again later.",
                )
            }
            QueryError::Store(StoreError::Overloaded(_)) => {
                Self::unavailable("overloaded", "Too many questions at once: try again later.")
            }
            QueryError::Store(StoreError::Refused(cause)) => Self::internal(&cause),
            QueryError::PageNotFound { page } => Self::not_found(format!("There is no page {page}.")),
            QueryError::Invalid(fields) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_query", "Invalid query parameters").with_details(&fields)
            }
            QueryError::Unreadable(cause) => Self::internal(&cause),
        }
    }
}

impl ApiError {
    /// 500 without internals; the cause goes to the log.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server failed to answer; the operator finds the cause in its log.",
        )
    }
}
