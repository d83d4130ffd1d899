//! HTTP: routes, and the translation between them and everything else.

pub mod body;
mod client;
mod cors;
pub mod error;
mod health;
mod ingest;
pub mod openapi;
mod reading;
mod serve;
mod silence;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use self::error::ApiError;
pub use self::{client::Peer, serve::serve};
use crate::{config::Role, engine::Engine};

/// Every route of the roles that this process has.
pub fn router(engine: Arc<Engine>) -> Router {
    let mut router = Router::new();
    if engine.config.roles.contains(&Role::Api) {
        for (path, handler) in api_routes() {
            router = both_forms(router, path, handler);
        }
    }
    for (path, handler) in operating_routes() {
        router = both_forms(router, path, handler);
    }
    router = router.merge(openapi::router());
    if !engine.config.base_path.is_empty() {
        router = Router::new().nest(&engine.config.base_path, router);
    }
    let mut router = router
        .fallback(async || ApiError::not_found("There is nothing at this path; /api/docs lists what there is."))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path does not take this method.",
            )
        });
    // A layer costs every request something: only where the setting is.
    if !engine.config.allowed_hosts.is_empty() {
        router = router.layer(middleware::from_fn_with_state(Arc::clone(&engine), check_host));
    }
    router.with_state(engine)
}

type Route = (&'static str, MethodRouter<Arc<Engine>>);

fn api_routes() -> Vec<Route> {
    vec![
        (
            "/api/events/ingest",
            post(ingest::ingest_event).options(ingest::ingest_event),
        ),
        (
            "/api/events/batch",
            post(ingest::ingest_batch).options(ingest::ingest_batch),
        ),
        ("/api/events/query", get(reading::events).options(reading::preflight)),
        (
            "/api/events/aggregations/daily",
            get(reading::daily).options(reading::preflight),
        ),
        (
            "/api/events/aggregations/hourly",
            get(reading::hourly).options(reading::preflight),
        ),
        (
            "/api/events/aggregations/5min",
            get(reading::five_minutes).options(reading::preflight),
        ),
        (
            "/api/events/summaries/daily",
            get(reading::summaries).options(reading::preflight),
        ),
        (
            "/api/events/metrics/realtime",
            get(reading::realtime).options(reading::preflight),
        ),
        ("/api/events/names", get(reading::names).options(reading::preflight)),
        ("/api/events/sources", get(reading::sources).options(reading::preflight)),
    ]
}

fn operating_routes() -> Vec<Route> {
    vec![
        ("/health/live", get(health::live)),
        ("/health/ready", get(health::ready)),
        ("/metrics", get(health::metrics)),
    ]
}

/// With and without a trailing slash, never by a redirect: a redirect loses a POST body (contract).
fn both_forms(router: Router<Arc<Engine>>, path: &str, handler: MethodRouter<Arc<Engine>>) -> Router<Arc<Engine>> {
    router.route(path, handler.clone()).route(&format!("{path}/"), handler)
}

/// 400 for a host name that the server does not answer to (`ALLOWED_HOSTS`).
async fn check_host(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    let allowed = &engine.config.allowed_hosts;
    let host = client::header_text(request.headers(), &header::HOST).unwrap_or_default();
    // Without the port; an IPv6 address keeps its brackets.
    let name = if host.ends_with(']') {
        host
    } else {
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    };
    let matches = |pattern: &String| match pattern.strip_prefix('.') {
        _ if pattern == "*" => true,
        Some(domain) => {
            name.eq_ignore_ascii_case(domain) || name.to_ascii_lowercase().ends_with(&pattern.to_ascii_lowercase())
        }
        None => name.eq_ignore_ascii_case(pattern),
    };
    if allowed.iter().any(matches) {
        return next.run(request).await;
    }
    let error = "This server does not answer to this host name: add it to ALLOWED_HOSTS.";
    ApiError::new(StatusCode::BAD_REQUEST, "host_not_allowed", error).into_response()
}
