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

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use hyper::body::Incoming;

pub use self::{client::Peer, serve::serve};
use self::{error::ApiError, serve::Answer};
use crate::{
    config::{Role, ServerConfig},
    engine::Engine,
    metrics::Endpoint,
};

/// What a process serves.
#[derive(Clone)]
pub struct Site {
    engine: Arc<Engine>,
    router: Router,
    /// Whether nothing of the router stands before the ingestion endpoints.
    takes_events_directly: bool,
}

impl Site {
    /// Every route of the roles that this process has.
    pub fn new(engine: Arc<Engine>) -> Self {
        let config = &engine.config;
        Self {
            takes_events_directly: config.has(Role::Api) && config.allowed_hosts.is_empty(),
            router: router(Arc::clone(&engine)),
            engine,
        }
    }

    /// The ingestion endpoint that a request goes to.
    fn ingestion(&self, method: &Method, path: &str) -> Option<Endpoint> {
        if !self.takes_events_directly || method != Method::POST {
            return None;
        }
        let path = path.strip_prefix(self.engine.config.base_path.as_str())?;
        match path.strip_suffix('/').unwrap_or(path) {
            INGEST_PATH => Some(Endpoint::Ingest),
            BATCH_PATH => Some(Endpoint::Batch),
            _ => None,
        }
    }
}

impl Answer for Site {
    /// Nearly all requests bring events. They do not go through the router: its look-ups, extensions and boxes cost a single event
    /// as much as reading its JSON (`docs/performance.md`).
    async fn answer(&self, request: hyper::Request<Incoming>, peer: Option<IpAddr>) -> Response {
        match self.ingestion(request.method(), request.uri().path()) {
            Some(endpoint) => {
                let peer = peer.map(Peer).unwrap_or_default();
                ingest::respond(&self.engine, request.map(Body::new), peer, endpoint).await
            }
            None => self.router.answer(request, peer).await,
        }
    }
}

const INGEST_PATH: &str = "/api/events/ingest";
const BATCH_PATH: &str = "/api/events/batch";

/// Every route of the roles that this process has.
fn router(engine: Arc<Engine>) -> Router {
    let mut router = Router::new();
    if engine.config.has(Role::Api) {
        for (path, handler) in ingestion_routes() {
            router = both_forms(router, path, handler);
        }
    }
    if engine.config.reads() {
        for (path, handler) in reading_routes() {
            router = both_forms(router, path, handler);
        }
        router = router.merge(openapi::router());
    }
    for (path, handler) in operating_routes() {
        router = both_forms(router, path, handler);
    }
    if !engine.config.base_path.is_empty() {
        router = Router::new().nest(&engine.config.base_path, router);
    }
    let missing = missing(&engine.config);
    let mut router = router
        .fallback(async move || ApiError::not_found(missing))
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

/// What a path that is not there is told.
fn missing(config: &ServerConfig) -> String {
    let roles: Vec<&str> = config.roles.iter().map(|role| role.name()).collect();
    match (config.has(Role::Api), config.reads()) {
        (true, _) => "There is nothing at this path; /api/docs lists what there is.".to_owned(),
        (false, true) => format!(
            "There is nothing at this path on a server with the roles {}, which takes no events: send them to one with the role api.",
            roles.join(", ")
        ),
        (false, false) => format!(
            "There is nothing at this path on a server with the roles {}: /health/ready and /metrics are all it has.",
            roles.join(", ")
        ),
    }
}

fn ingestion_routes() -> Vec<Route> {
    vec![
        (INGEST_PATH, post(ingest::ingest_event).options(ingest::ingest_event)),
        (BATCH_PATH, post(ingest::ingest_batch).options(ingest::ingest_batch)),
    ]
}

fn reading_routes() -> Vec<Route> {
    vec![
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

/// 400 for a host name that the server does not answer to (`ALLOWED_HOSTS`). Who looks after the server (a proxy, a monitor) asks by its address.
async fn check_host(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    let path = path.strip_prefix(engine.config.base_path.as_str());
    if path.is_some_and(|path| operating_routes().iter().any(|(operating, _)| *operating == path)) {
        return next.run(request).await;
    }
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
