//! Asks a running server, over the Unix socket beside its data (HTTP/1.1 with JSON; `server::admin`).
//!
//! One connection a call: a command makes few calls, and a server that restarted between two of them is met again.

use std::{io, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use model::ProjectId;
use serde::{Serialize, de::DeserializeOwned};
use server::admin::types::{
    AdminError, CleanupReport, CleanupRequest, DeadLettersDone, DeadLettersReport, DeadLettersRequest, ImportReport,
    ProcessReport, ProcessRequest, StatusReport,
};
use tokio::net::UnixStream;

/// A status is read from memory and small tables; a server that needs longer is not well.
const STATUS_TIMEOUT: Duration = Duration::from_secs(60);
/// One batch of an import: a full queue makes the server answer within its own limits, far below this.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(120);
/// Processing, cleaning and deleting take as long as there is work; a day means that the server hangs.
const WORK_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Bytes of one answer that is not streamed: a status of ten thousand projects is under 8 MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client of the admin socket.
#[derive(Clone, Debug)]
pub struct AdminClient {
    socket: PathBuf,
}

/// The server answered that it will not or cannot.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct AdminFailure {
    /// HTTP status: 503 may pass.
    pub status: u16,
    /// What the server says.
    pub sentence: String,
}

/// The answer of `DELETE /projects/ID/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct DeletedEvents {
    /// Events removed.
    pub deleted: u64,
}

/// Which events an export takes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ExportQuery {
    /// Whose.
    pub project: String,
    /// First instant, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// First instant after, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only events of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    /// Only events of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_source: Option<String>,
    /// Only events of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

impl ExportQuery {
    fn query_string(&self) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.append_pair("project", &self.project);
        let optional = [
            ("from", &self.from),
            ("to", &self.to),
            ("event_name", &self.event_name),
            ("event_source", &self.event_source),
            ("user_id", &self.user_id),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                text.append_pair(name, value);
            }
        }
        text.finish()
    }
}

/// The lines of an export, as they arrive.
#[derive(Debug)]
pub struct ExportStream {
    body: Incoming,
}

impl ExportStream {
    /// The next bytes; `None` after the last. An error means that the server stopped midway.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.context("the server stopped before the export was complete; its log says why")?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl AdminClient {
    /// A client of the socket at this path. Connects at each call.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether a server listens. A socket file that a killed server left behind counts as none.
    pub async fn is_listening(&self) -> anyhow::Result<bool> {
        match UnixStream::connect(&self.socket).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(false)
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot ask the server at {}; run the command as the user that runs the server",
                    self.socket.display()
                )
            }),
        }
    }

    /// `GET /status`.
    pub async fn status(&self) -> anyhow::Result<StatusReport> {
        self.json(Method::GET, "/status", Bytes::new(), STATUS_TIMEOUT).await
    }

    /// `POST /import`: NDJSON of [`crate::import::ImportEvent`]s, within one batch's limits. Durable when it returns.
    pub async fn import(&self, project: ProjectId, lines: Bytes) -> anyhow::Result<ImportReport> {
        let path = format!("/import?project={project}");
        self.json(Method::POST, &path, lines, IMPORT_TIMEOUT).await
    }

    /// `POST /process`.
    pub async fn process(&self, request: &ProcessRequest) -> anyhow::Result<ProcessReport> {
        let body = serde_json::to_vec(request)?.into();
        self.json(Method::POST, "/process", body, WORK_TIMEOUT).await
    }

    /// `POST /cleanup`.
    pub async fn cleanup(&self, request: &CleanupRequest) -> anyhow::Result<CleanupReport> {
        let body = serde_json::to_vec(request)?.into();
        self.json(Method::POST, "/cleanup", body, WORK_TIMEOUT).await
    }

    /// `DELETE /projects/ID/events`: every event of the project.
    pub async fn delete_events(&self, project: ProjectId) -> anyhow::Result<DeletedEvents> {
        let path = format!("/projects/{project}/events");
        self.json(Method::DELETE, &path, Bytes::new(), WORK_TIMEOUT).await
    }

    /// `GET /dead_letters`: at most `limit`, at `from` or later.
    pub async fn dead_letters(&self, from: u64, limit: u64) -> anyhow::Result<DeadLettersReport> {
        let path = format!("/dead_letters?from={from}&limit={limit}");
        self.json(Method::GET, &path, Bytes::new(), STATUS_TIMEOUT).await
    }

    /// `POST /dead_letters/retry`. In the queue, durably, when it returns.
    pub async fn retry_dead_letters(&self, request: &DeadLettersRequest) -> anyhow::Result<DeadLettersDone> {
        let body = serde_json::to_vec(request)?.into();
        self.json(Method::POST, "/dead_letters/retry", body, WORK_TIMEOUT).await
    }

    /// `POST /dead_letters/discard`.
    pub async fn discard_dead_letters(&self, request: &DeadLettersRequest) -> anyhow::Result<DeadLettersDone> {
        let body = serde_json::to_vec(request)?.into();
        self.json(Method::POST, "/dead_letters/discard", body, WORK_TIMEOUT)
            .await
    }

    /// `GET /export`: NDJSON of [`crate::import::ImportEvent`]s, oldest first.
    pub async fn export(&self, query: &ExportQuery) -> anyhow::Result<ExportStream> {
        let path = format!("/export?{}", query.query_string());
        let response = self.send(Method::GET, &path, Bytes::new(), WORK_TIMEOUT).await?;
        Ok(ExportStream {
            body: response.into_body(),
        })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> anyhow::Result<T> {
        let response = self.send(method, path, body, timeout).await?;
        let bytes = collect(response.into_body(), timeout).await?;
        serde_json::from_slice(&bytes)
            .context("the server's answer makes no sense to this command; run both from the same version")
    }

    /// Sends a request and returns a 2xx answer; others become errors with the server's own sentence.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "admin")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("the server at {} is gone", self.socket.display()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, or when this command drops it.
        tokio::spawn(connection);
        let response = tokio::time::timeout(timeout, sender.send_request(request))
            .await
            .map_err(|_| anyhow!("the server did not answer within {} s", timeout.as_secs()))?
            .context("the server ended the connection; its log says why")?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = collect(response.into_body(), timeout).await?;
        let sentence = match serde_json::from_slice::<AdminError>(&bytes) {
            Ok(error) => error.error,
            Err(_) => format!("the server answered {status} without saying why; its log does"),
        };
        Err(AdminFailure {
            status: status.as_u16(),
            sentence,
        }
        .into())
    }
}

async fn collect(body: Incoming, timeout: Duration) -> anyhow::Result<Bytes> {
    let collected = tokio::time::timeout(timeout, Limited::new(body, ANSWER_BYTES_MAX).collect())
        .await
        .map_err(|_| anyhow!("the server did not finish its answer within {} s", timeout.as_secs()))?;
    Ok(collected.map_err(|error| anyhow!(error))?.to_bytes())
}

#[cfg(test)]
mod tests;
