//! A small HTTP/1.1 client for servers on this machine or network: plain TCP, one connection kept open.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A connection that is made when it is needed.
pub struct HttpClient {
    authority: String,
    base: Url,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
}

/// Checks the address of a server: `http://HOST[:PORT][/BASE]`.
pub fn server_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|_| format!("{text:?} is no URL; write it like http://127.0.0.1:8000"))?;
    if url.scheme() != "http" || url.host_str().is_none() {
        return Err("only http:// URLs can be used; behind TLS use the address that the proxy uses".to_owned());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

impl HttpClient {
    /// A client of the server at `base`, which [`server_url`] has checked.
    pub fn new(base: Url) -> Self {
        let host = base.host_str().unwrap_or_default();
        let port = base.port_or_known_default().unwrap_or(80);
        Self {
            authority: format!("{host}:{port}"),
            base,
            sender: None,
        }
    }

    /// Sends a request; `path` is relative to the base. A connection that was closed meanwhile is made anew once.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let url = self.base.join(path)?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        for attempt in 1..=2 {
            let mut request = Request::builder()
                .method(method)
                .uri(&target)
                .header("host", &self.authority)
                .header("content-type", "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(body.clone()))?;
            let sent = tokio::time::timeout(TIMEOUT, self.try_send(request)).await;
            match sent {
                Err(_) => bail!("{} did not answer within {} s", self.authority, TIMEOUT.as_secs()),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if attempt == 2 => return Err(error),
                Ok(Err(_)) => self.sender = None,
            }
        }
        Err(anyhow!("{} cannot be reached", self.authority))
    }

    async fn try_send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        if self.sender.as_ref().is_none_or(http1::SendRequest::is_closed) {
            let stream = TcpStream::connect(&self.authority)
                .await
                .with_context(|| format!("cannot connect to {}", self.authority))?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        let Some(sender) = &mut self.sender else {
            bail!("{} is not connected", self.authority);
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.map_err(|error| anyhow!(error))?.to_bytes(),
        })
    }
}
