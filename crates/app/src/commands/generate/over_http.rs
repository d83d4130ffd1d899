//! Sends visits to a server the way browsers would: each with its own address and user agent.

use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::{
    generate::Visit,
    http_client::{Answer, HttpClient},
    import::ImportEvent,
};

/// A server over its limits is waited for so often.
const TRIES_MAX: u32 = 20;
const RETRY_AFTER_SECONDS_MAX: u64 = 60;

/// What was sent so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// Events sent.
    pub sent: u64,
    /// Events that the server took.
    pub accepted: u64,
    /// Of those, not kept by sampling.
    pub sampled_out: u64,
    /// Events that it did not take.
    pub refused: u64,
    /// Why the first of them was refused.
    pub first_refusal: Option<String>,
}

/// Sends to the batch endpoint of a server.
pub struct HttpSender {
    client: HttpClient,
    authorization: String,
    sent: Sent,
}

#[derive(Deserialize)]
struct BatchAnswer {
    accepted: u64,
    sampled: u64,
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    error: String,
}

impl HttpSender {
    /// Sends with a public key.
    pub fn new(base: Url, key: String) -> Self {
        Self {
            client: HttpClient::new(base),
            authorization: format!("Bearer {key}"),
            sent: Sent::default(),
        }
    }

    /// What was sent.
    pub fn finish(self) -> Sent {
        self.sent
    }

    /// Sends the events of one visit in one request; waits and tries again when the server is over a limit.
    pub async fn send(&mut self, visit: Visit) -> anyhow::Result<()> {
        let Some(first) = visit.first() else { return Ok(()) };
        let user_agent = first.user_agent.clone().unwrap_or_default();
        let address = first.ip_address.clone().unwrap_or_default();
        let events: Vec<Value> = visit.iter().map(body).collect();
        let body = serde_json::to_vec(&events)?;
        self.sent.sent += visit.len() as u64;
        for _ in 0..TRIES_MAX {
            let headers = [
                ("authorization", self.authorization.as_str()),
                ("user-agent", user_agent.as_str()),
                ("x-forwarded-for", address.as_str()),
            ];
            let answer = self
                .client
                .send("POST", "api/events/batch/", &headers, body.clone().into())
                .await?;
            match answer.status.as_u16() {
                202 => return self.count(&answer),
                429 | 503 => tokio::time::sleep(retry_after(&answer)).await,
                400 => {
                    self.sent.refused += visit.len() as u64;
                    self.sent.first_refusal.get_or_insert(sentence(&answer));
                    return Ok(());
                }
                _ => bail!("the server refuses: {}", sentence(&answer)),
            }
        }
        bail!(
            "the server stayed over its limits; raise the project's with `project update ID --rate-limit-per-minute none`"
        )
    }

    fn count(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let counts: BatchAnswer = serde_json::from_slice(&answer.body)?;
        self.sent.accepted += counts.accepted;
        self.sent.sampled_out += counts.sampled;
        self.sent.refused += counts.rejected.len() as u64;
        if let Some(rejected) = counts.rejected.into_iter().next() {
            self.sent.first_refusal.get_or_insert(rejected.error);
        }
        Ok(())
    }
}

/// The contract's event: without what a request's head says.
fn body(event: &ImportEvent) -> Value {
    json!({
        "event_id": event.event_id,
        "event_name": event.event_name,
        "event_source": event.event_source,
        "user_id": event.user_id,
        "session_id": event.session_id,
        "properties": event.properties,
        "timestamp": event.timestamp,
    })
}

fn retry_after(answer: &Answer) -> Duration {
    let seconds = answer
        .headers
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, RETRY_AFTER_SECONDS_MAX))
}

/// The `error` of an error body, or the status.
fn sentence(answer: &Answer) -> String {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    body.as_ref()
        .and_then(|body| body.get("error")?.as_str())
        .map_or_else(|| format!("status {}", answer.status), str::to_owned)
}
