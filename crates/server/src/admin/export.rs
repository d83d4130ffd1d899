//! `GET /export`: a project's events as lines of JSON that import back unchanged.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use model::{ProjectId, Timestamp};
use query::export::{Cursor, ExportRequest, read_export_page};
use serde::Deserialize;
use store::ProjectScope;

use super::http::Failure;
use crate::engine::Engine;

/// Parameters of the export.
#[derive(Deserialize)]
pub struct ExportQuery {
    project: ProjectId,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    event_name: Option<String>,
    event_source: Option<String>,
    user_id: Option<String>,
}

/// Streams every event that meets the filters, oldest first. An error in the middle breaks the connection off, so that a cut
/// file is never taken for a whole one.
pub async fn export(State(engine): State<Arc<Engine>>, Query(query): Query<ExportQuery>) -> Result<Response, Failure> {
    engine.directory.refresh(&**engine.meta()).await?;
    let missing = || Failure::not_found(format!("there is no project {}", query.project));
    let scope = engine.directory.operator(query.project).ok_or_else(missing)?;
    let request = ExportRequest {
        from: query.from,
        to: query.to,
        event_name: query.event_name,
        event_source: query.event_source,
        user_id: query.user_id,
    };
    let pages = stream::try_unfold(Some(None), move |cursor: Option<Option<Cursor>>| {
        let (engine, scope, request) = (Arc::clone(&engine), scope.clone(), request.clone());
        async move {
            match cursor {
                None => Ok::<_, query::QueryError>(None),
                Some(after) => {
                    let page = next_page(&engine, &scope, &request, after).await;
                    // Whoever reads only sees that the answer ends too early.
                    page.map(Some).inspect_err(|error| {
                        tracing::warn!(%error, project.id = %scope.project_id(), "an export was broken off");
                    })
                }
            }
        }
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(pages),
    )
        .into_response())
}

/// One page as lines, and where the next one begins; `None` after the last.
async fn next_page(
    engine: &Engine,
    scope: &ProjectScope,
    request: &ExportRequest,
    after: Option<Cursor>,
) -> Result<(Bytes, Option<Option<Cursor>>), query::QueryError> {
    let page = read_export_page(&**engine.store(), scope, request, after).await?;
    let mut lines = Vec::with_capacity(page.events.len() * 512);
    for event in &page.events {
        serde_json::to_writer(&mut lines, event).map_err(|error| query::QueryError::Unreadable(error.to_string()))?;
        lines.push(b'\n');
    }
    Ok((lines.into(), page.next.map(Some)))
}
