//! The API's own description: `/api/openapi.json`, and a page for people at `/api/docs`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::header,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{error::ApiError, health, ingest, reading};
use crate::engine::Engine;

/// An event as clients send it.
#[derive(ToSchema)]
#[schema(example = json!({
    "event_name": "sign_up",
    "event_source": "web",
    "user_id": "u_17",
    "properties": {"plan": "pro", "url": "https://example.com/pricing?utm_source=news"},
    "timestamp": "2026-01-31T12:00:00Z",
    "event_id": "0f9c1d5e-3b0a-4f4e-9d3e-6a1b2c3d4e5f",
}))]
#[expect(dead_code, reason = "describes a body that `ingest` decodes by hand")]
pub struct EventBody {
    /// 1 to 255 characters; spaces around it are cut.
    event_name: String,
    /// Where the event comes from, at most 255 characters; an unknown source is made.
    event_source: Option<String>,
    /// Who did it, at most 255 characters. Absent or blank: filled in from the browser's identifier, or a hash of address and user agent.
    user_id: Option<String>,
    /// The browser's own persistent identifier, at most 255 characters.
    anonymous_id: Option<String>,
    /// The visit it belongs to, at most 255 characters. Absent or blank: derived from user and 60-minute window.
    session_id: Option<String>,
    /// Names the event, at most 255 characters: the same id again within 7 days is accepted and stored once.
    event_id: Option<String>,
    /// Anything about the event; at most 64 KiB as JSON.
    properties: Option<BTreeMap<String, Value>>,
    /// When it happened, RFC 3339; default: when it was received.
    timestamp: Option<String>,
    /// The client's clock when it sent the request, RFC 3339: corrects `timestamp` for a wrong clock.
    sent_at: Option<String>,
}

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let key = |text: &str| {
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .description(Some(text))
                    .build(),
            )
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "public_key",
            key("The project's public key, sa_…: sends events, reads nothing."),
        );
        components.add_security_scheme(
            "private_key",
            key("The project's private key, sa_priv_…: reads, sends nothing."),
        );
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Simple Analytics Stack",
        description = "Send events, read numbers. Every path answers with and without a trailing slash. Times are RFC 3339; answers are UTC.",
    ),
    paths(
        ingest::ingest_event, ingest::ingest_batch,
        reading::events, reading::daily, reading::hourly, reading::five_minutes, reading::summaries,
        reading::realtime, reading::names, reading::sources,
        health::live, health::ready, health::metrics,
    ),
    modifiers(&Keys),
)]
struct Document;

/// The document, generated from the code.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn router() -> Router<Arc<Engine>> {
    let index = async |State(engine): State<Arc<Engine>>| page(&engine);
    Router::new()
        .route("/api/openapi.json", get(async || Json(document())))
        .route("/api/openapi.json/", get(async || Json(document())))
        .route("/api/docs", get(index))
        .route("/api/docs/", get(index))
        .route("/api/docs/{file}", get(async |Path(file): Path<String>| asset(&file)))
}

/// The page for people. Its assets are named relative to the page, so its address is spelled out for the form without a slash.
fn page(engine: &Engine) -> Response {
    let base_path = &engine.config.base_path;
    let Ok(Some(file)) = utoipa_swagger_ui::serve("index.html", Arc::default()) else {
        return ApiError::internal(&"the documentation page is not in the binary").into_response();
    };
    let html = String::from_utf8_lossy(&file.bytes)
        .replacen(
            "<head>",
            &format!("<head>\n    <base href=\"{base_path}/api/docs/\">"),
            1,
        )
        .replacen(
            "<title>Swagger UI</title>",
            "<title>API · Simple Analytics Stack</title>",
            1,
        );
    Html(html).into_response()
}

fn asset(file: &str) -> Response {
    // Relative to the page's base, so that a base path needs no care.
    let config = utoipa_swagger_ui::Config::from("../openapi.json");
    match utoipa_swagger_ui::serve(file, Arc::new(config)) {
        Ok(Some(file)) => ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response(),
        Ok(None) => ApiError::not_found("There is no such file.").into_response(),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}
