//! Browsers (contract, "Browsers"; WHATWG Fetch, "CORS protocol").

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use model::{Project, Rejection};

use super::error::ApiError;

/// Headers of an answer that a page may read.
const EXPOSED: &str = "Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset";
/// Browsers keep a preflight's answer for at most a day (Firefox) or two hours (Chromium).
const MAX_AGE_SECONDS: &str = "86400";

/// Answers any preflight: which project is meant is known only with the key, so the event itself is checked.
pub fn preflight(request: &HeaderMap) -> axum::response::Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    expose(request, headers);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let allowed = asked.unwrap_or(HeaderValue::from_static(
        "authorization, content-type, content-encoding",
    ));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(MAX_AGE_SECONDS),
    );
    response
}

/// Lets the page that asked read the answer, refusals too: a developer sees in the console what is wrong.
pub fn expose(request: &HeaderMap, headers: &mut HeaderMap) {
    let Some(origin) = request.get(header::ORIGIN) else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// 403 when a page of another origin than the project's sends events. A request without `Origin` is a server's. The body has not been read:
/// nothing of it is received, and the ledger does not know of it.
pub fn check_origin(request: &HeaderMap, project: &Project) -> Result<(), ApiError> {
    let Some(origin) = request.get(header::ORIGIN) else {
        return Ok(());
    };
    let allowed = origin
        .to_str()
        .is_ok_and(|origin| ingest::OriginRules::from_stored(&project.cors_allowed_origins).allows(origin));
    if allowed {
        return Ok(());
    }
    let error = format!(
        "Pages of {} may not send events to this project: add the origin to its cors_allowed_origins.",
        origin.to_str().unwrap_or("this origin")
    );
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        Rejection::OriginNotAllowed.tag(),
        error,
    ))
}
