//! The routes of the admin socket.

use std::{str::FromStr, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use model::{ProjectId, ledger::utc_day, limits};
use queue::Records;
use serde::Deserialize;

use super::{
    export, letters,
    types::{
        AdminError, CleanupReport, CleanupRequest, ImportRejection, ImportReport, ProcessReport, ProcessRequest,
        StatusReport,
    },
};
use crate::{background, engine::Engine, intake::Intake, to_the_end::to_the_end, worker::Worker};

/// Every route of the admin socket. Who can connect may do everything: the socket's file mode is the lock.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route(
            "/import",
            post(import).layer(DefaultBodyLimit::max(limits::BATCH_BODY_BYTES_MAX)),
        )
        .route("/process", post(process))
        .route("/cleanup", post(cleanup))
        .route("/export", get(export::export))
        .route("/projects/{project}/events", delete(delete_events))
        .route("/reclaim", post(reclaim))
        .route("/dead_letters", get(letters::list))
        .route("/dead_letters/retry", post(letters::retry))
        .route("/dead_letters/discard", post(letters::discard))
        .with_state(engine)
}

/// An error of the admin socket: the whole cause, because only the operator sees it.
#[derive(Debug)]
pub struct Failure(StatusCode, String);

impl Failure {
    /// Something that does not exist.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, error.into())
    }

    /// A request that makes no sense.
    pub fn invalid(error: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, error.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(AdminError { error: self.1 })).into_response()
    }
}

async fn status(State(engine): State<Arc<Engine>>) -> Result<Json<StatusReport>, Failure> {
    // A store that is away is what the report tells.
    if let Err(error) = engine.directory.refresh(&**engine.meta()).await {
        tracing::debug!(%error, "settings could not be read for a report");
    }
    Ok(Json(engine.status().await?))
}

#[derive(Deserialize)]
struct ImportQuery {
    project: ProjectId,
}

/// Takes lines into the queue: durable when it answers.
async fn import(
    State(engine): State<Arc<Engine>>,
    Query(query): Query<ImportQuery>,
    body: Bytes,
) -> Result<Json<ImportReport>, Failure> {
    engine.directory.refresh(&**engine.meta()).await?;
    let missing = || Failure::not_found(format!("there is no project {}", query.project));
    let scope = engine.directory.operator_sender(query.project).ok_or_else(missing)?;
    let now = engine.clock().now();
    let mut report = ImportReport::default();
    let (mut records, mut received) = (Records::default(), Vec::new());
    // The same lines would be refused again: no 503, which asks to be tried again.
    let lines =
        ingest::decode_import(&body, scope.project_id(), now).map_err(|error| Failure::invalid(error.to_string()))?;
    for (index, line) in lines.into_iter().enumerate() {
        match line {
            Ok(event) => {
                received.push(event.received_at);
                // It waits from now on, whenever an exporting server took it.
                records.push_event(&event, now)?;
            }
            Err(fields) => report.rejected.push(ImportRejection {
                index,
                error: fields.to_line(),
            }),
        }
    }
    report.accepted = records.len() as u64;
    if !records.is_empty() {
        // Each counts for the month in which it was received: an import of old events takes nothing of this one's quota. The operator
        // knows what he imports: it is refused to nobody.
        let days = received.chunk_by(|one, other| utc_day(*one) == utc_day(*other));
        let received = days.map(|day| (day[0], day.len() as u64)).collect();
        let intake = Intake {
            project: scope.project_id(),
            records,
            received,
            quota: None,
        };
        intake.make_durable(&engine).await?;
    }
    Ok(Json(report))
}

/// Empties the queue: waits for the process's own worker, or works here when there is none. From here on the settings are those that
/// stood in the metadata store when this was asked: a project that was switched off before gets nothing more into the queue.
async fn process(
    State(engine): State<Arc<Engine>>,
    Json(request): Json<ProcessRequest>,
) -> Result<Json<ProcessReport>, Failure> {
    engine.directory.refresh(&**engine.meta()).await?;
    let batch_events = request.batch_size.unwrap_or(limits::STORE_BATCH_EVENTS_MAX);
    if engine.queue().status().await?.waiting > 0 {
        // Once a process, and no part of how long storing takes.
        let enricher = Arc::clone(engine.enricher());
        tokio::task::spawn_blocking(move || enricher.warm_up()).await?;
    }
    let worker = Worker::new(engine, batch_events);
    let report = to_the_end(worker.process(request.max_batches)).await?;
    Ok(Json(report))
}

async fn cleanup(
    State(engine): State<Arc<Engine>>,
    Json(request): Json<CleanupRequest>,
) -> Result<Json<CleanupReport>, Failure> {
    engine.directory.refresh(&**engine.meta()).await?;
    Ok(Json(background::cleanup(&engine, &request).await?))
}

/// Deletes every event of a project, known to the metadata store or not.
async fn delete_events(State(engine): State<Arc<Engine>>, Path(project): Path<String>) -> Result<Response, Failure> {
    let project = ProjectId::from_str(&project).map_err(|error| Failure::invalid(error.to_string()))?;
    engine.directory.refresh(&**engine.meta()).await?;
    let deleted = engine.store().delete(project, None, false).await?;
    Ok((
        [(header::CONTENT_TYPE, "application/json")],
        Body::from(format!(r#"{{"deleted":{deleted}}}"#)),
    )
        .into_response())
}

/// Gives the space of deleted events back now.
async fn reclaim(State(engine): State<Arc<Engine>>) -> Result<Response, Failure> {
    let reclaimed = engine.store().reclaim(true).await?;
    let body = serde_json::json!({"bytes_before": reclaimed.bytes_before, "bytes_after": reclaimed.bytes_after});
    Ok(Json(body).into_response())
}
