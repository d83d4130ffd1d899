//! The ceiling of ingestion: a bare axum handler that parses the same JSON into a typed struct, and answers 202. No key, no limit,
//! no queue.

use std::{borrow::Cow, io::Write, net::Ipv4Addr};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt,
};
use model::limits;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    #[serde(borrow)]
    event_source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
}

impl Event<'_> {
    /// The contract's rules, as plainly as they can be checked.
    fn is_valid(&self) -> bool {
        let short = |text: &Option<Cow<'_, str>>| {
            text.as_ref().is_none_or(|text| {
                text.len() <= limits::NAME_CHARS_MAX || text.chars().count() <= limits::NAME_CHARS_MAX
            })
        };
        let name = self.event_name.trim();
        let texts = [&self.event_source, &self.user_id, &self.session_id, &self.event_id];
        !name.is_empty()
            && name.chars().count() <= limits::NAME_CHARS_MAX
            && texts.into_iter().all(short)
            && self
                .properties
                .is_none_or(|raw| raw.get().len() <= limits::PROPERTIES_BYTES_MAX && raw.get().starts_with('{'))
            && self
                .timestamp
                .as_ref()
                .is_none_or(|text| text.parse::<model::Timestamp>().is_ok())
    }
}

fn json(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

async fn single(body: Bytes) -> Response {
    match serde_json::from_slice::<Event<'_>>(&body) {
        Ok(event) if event.is_valid() => json(StatusCode::ACCEPTED, r#"{"status":"accepted","sampled":false}"#),
        _ => json(StatusCode::BAD_REQUEST, r#"{"error":"Invalid event data"}"#),
    }
}

async fn batch(body: Bytes) -> Response {
    match serde_json::from_slice::<Vec<Event<'_>>>(&body) {
        Ok(events) => {
            let accepted = events.iter().filter(|event| event.is_valid()).count();
            let text = format!(r#"{{"status":"accepted","accepted":{accepted},"sampled":0,"rejected":[]}}"#);
            json(StatusCode::ACCEPTED, text)
        }
        Err(_) => json(StatusCode::BAD_REQUEST, r#"{"error":"Invalid event data"}"#),
    }
}

/// Serves the bare handlers on a free loopback port, prints `{"address": …}`, and goes on until it is killed.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    println!("{}", serde_json::json!({ "address": address }));
    std::io::stdout().flush()?;
    let router = Router::new()
        .route("/api/events/ingest/", post(single))
        .route("/api/events/batch/", post(batch))
        .layer(axum::extract::DefaultBodyLimit::max(limits::BATCH_BODY_BYTES_MAX));
    let listener = listener.tap_io(|stream| {
        // As our server does.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ceiling_reads_what_it_is_sent() {
        let event = super::super::payload::event("2026-01-01T00:00:00Z");
        assert_eq!(single(event.clone().into()).await.status(), StatusCode::ACCEPTED);
        assert_eq!(
            single(event.replace("page_view", " ").into()).await.status(),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            single(event.replace("2026-01-01T", "").into()).await.status(),
            StatusCode::BAD_REQUEST
        );
        let two = format!(
            "[{event},{}]",
            event.replace(r#"{"url""#, r#"["url""#).replace("3}}", "3]}")
        );
        assert_eq!(batch(two.into()).await.status(), StatusCode::BAD_REQUEST);
        let two = format!("[{event},{}]", event.replace("page_view", ""));
        let answer = batch(two.into()).await.into_body();
        let body = http_body_util::BodyExt::collect(answer).await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(r#""accepted":1"#));
    }
}
