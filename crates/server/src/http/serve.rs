//! Accepts connections and serves them until told to stop.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    Peer,
    silence::{Progress, Watched},
};

/// After an accept that failed (no file descriptors left): a short rest instead of a busy loop.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(50);

/// Where connections come from.
pub trait Listener: Send + 'static {
    /// A connection.
    type Connection: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static;
    /// The next connection and its peer's address, where it has one.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Connection, Option<SocketAddr>)>> + Send;
}

impl Listener for TcpListener {
    type Connection = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Connection, Option<SocketAddr>)> {
        let (connection, peer) = TcpListener::accept(self).await?;
        // Answers are small and complete: waiting for more bytes to send (Nagle) only adds latency.
        connection.set_nodelay(true)?;
        Ok((connection, Some(peer)))
    }
}

impl Listener for UnixListener {
    type Connection = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Connection, Option<SocketAddr>)> {
        UnixListener::accept(self)
            .await
            .map(|(connection, _)| (connection, None))
    }
}

/// Answers requests.
pub trait Answer: Clone + Send + Sync + 'static {
    /// The answer to a request that came from `peer`, where it has an address.
    fn answer(&self, request: hyper::Request<Incoming>, peer: Option<IpAddr>) -> impl Future<Output = Response> + Send;
}

impl Answer for Router {
    async fn answer(&self, request: hyper::Request<Incoming>, peer: Option<IpAddr>) -> Response {
        let mut request = request.map(Body::new);
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer));
        }
        let Ok(response) = self.clone().oneshot(request).await;
        response
    }
}

/// Serves `site` until `stop`; then refuses new connections and waits for open requests, at most `drain_budget`.
pub async fn serve(listener: impl Listener, site: impl Answer, stop: CancellationToken, drain_budget: Duration) {
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.pipeline_flush(true);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (connection, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                continue;
            }
        };
        let site = site.clone();
        let progress = Progress::default();
        let watched = Watched::new(connection, progress.clone());
        let service = {
            let progress = progress.clone();
            service_fn(move |request| answer(site.clone(), request, peer, progress.clone()))
        };
        let connection = graceful.watch(http.serve_connection(watched, service));
        // On the admin socket the operator may take his time: an export into a pager pauses for as long as somebody reads.
        let overdue = async move {
            match peer {
                Some(_) => progress.silent_for_too_long().await,
                None => std::future::pending().await,
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                () = overdue => tracing::debug!("a connection was silent for too long"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain_budget, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still open when the time to stop was over");
    }
}

async fn answer(
    site: impl Answer,
    request: hyper::Request<Incoming>,
    peer: Option<SocketAddr>,
    progress: Progress,
) -> Result<Response, Infallible> {
    progress.answering();
    let response = site.answer(request, peer.map(|peer| peer.ip())).await;
    progress.answered();
    Ok(response)
}
