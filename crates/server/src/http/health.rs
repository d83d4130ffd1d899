//! `/health/live`, `/health/ready`, `/metrics`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{admin::types::DependencyStatus, engine::Engine};

/// The process runs.
#[derive(Serialize, ToSchema)]
pub struct Live {
    /// Always `live`.
    #[schema(example = "live")]
    status: &'static str,
}

/// Whether traffic is welcome.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `ready`, `draining` or `not_ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Each dependency.
    dependencies: Vec<Dependency>,
}

/// A dependency's state.
#[derive(Serialize, ToSchema)]
pub struct Dependency {
    /// `queue`, `event_store` or `metadata_store`.
    #[schema(example = "event_store")]
    name: String,
    /// Which kind.
    #[schema(example = "duckdb")]
    kind: String,
    /// Whether it answers.
    ready: bool,
    /// Whether this process is not ready without it.
    required: bool,
    /// How long its check took.
    #[schema(example = 0.4)]
    latency_ms: f64,
    /// The copy that reads go to, where there is one. Without it reads go to the dependency itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<Replica>,
}

/// A copy that reads go to.
#[derive(Serialize, ToSchema)]
pub struct Replica {
    /// Whether reads go to it now.
    serves: bool,
    /// How far it is behind; null while nobody knows.
    #[schema(example = 0.2)]
    lag_seconds: Option<f64>,
}

/// Whether the process runs.
#[utoipa::path(get, path = "/health/live", tag = "Operating", responses((status = 200, body = Live)))]
pub async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Whether traffic is welcome: every dependency with its state and latency. Those that the roles of this server do not need may be away.
#[utoipa::path(get, path = "/health/ready", tag = "Operating", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub async fn ready(State(engine): State<Arc<Engine>>) -> Response {
    let dependencies = engine.dependencies().await;
    let status = match () {
        () if engine.is_draining() => "draining",
        () if dependencies.iter().all(DependencyStatus::is_good) => "ready",
        () => "not_ready",
    };
    for dependency in dependencies.iter().filter(|dependency| !dependency.ready) {
        tracing::warn!(
            dependency = dependency.name,
            error = dependency.error,
            "a dependency is not ready"
        );
    }
    let dependencies = dependencies
        .into_iter()
        // The cause may hold a path: it is for the log and for the operator's socket.
        .map(|it| Dependency {
            name: it.name,
            kind: it.kind,
            ready: it.ready,
            required: it.required,
            latency_ms: it.latency_ms,
            replica: it.replica.map(|replica| Replica {
                serves: replica.serves,
                lag_seconds: replica.lag_seconds,
            }),
        })
        .collect();
    let code = if status == "ready" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(Ready { status, dependencies })).into_response()
}

/// Prometheus metrics.
#[utoipa::path(get, path = "/metrics", tag = "Operating", responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn metrics(State(engine): State<Arc<Engine>>) -> Response {
    let text = engine.render_metrics().await;
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}
