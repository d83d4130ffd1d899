//! Load over plain sockets: keep-alive connections that send the next request as soon as the answer is there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use super::{payload::Template, stats::Latencies};

/// The longest answer that is read: an error body.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// An answer that takes longer ends the measurement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections at once.
    pub connections: usize,
    /// Sent and not counted at the beginning.
    pub warm_up: Duration,
    /// Counted.
    pub length: Duration,
    /// Requests a second over all connections; `None` = as many as go.
    pub rate: Option<f64>,
    /// Stop after so many requests; `None` = when the time is over.
    pub requests_max: Option<u64>,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Measured {
    /// Answers with 202 that were counted.
    pub requests: u64,
    /// Answers with 202, warm-up included: what the server must have stored.
    pub accepted: u64,
    /// Other answers.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Time over which was counted.
    pub seconds: f64,
    /// From the first byte sent to the last byte read.
    pub latencies: Latencies,
}

impl Measured {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.requests as f64 / self.seconds
        } else {
            0.0
        }
    }

    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.accepted += other.accepted;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.merge(other.latencies);
    }
}

/// Numbers for events, given out so that none repeats.
pub type Numbers = Arc<AtomicU64>;

/// Sends requests made from `templates` (each connection begins at another one and goes round) for the shape's time.
pub async fn run(
    address: SocketAddr,
    templates: &[Template],
    numbers: &Numbers,
    shape: Shape,
) -> anyhow::Result<Measured> {
    let begin = Instant::now();
    let left = Arc::new(AtomicU64::new(shape.requests_max.unwrap_or(u64::MAX)));
    let mut connections = JoinSet::new();
    for index in 0..shape.connections {
        let mut templates = templates.to_vec();
        let turn = index % templates.len();
        templates.rotate_left(turn);
        let pace = shape.rate.map(|rate| Pace {
            interval: Duration::from_secs_f64(shape.connections as f64 / rate),
            next: begin + Duration::from_secs_f64(index as f64 / rate),
        });
        let sender = Sender {
            templates,
            numbers: Arc::clone(numbers),
            left: Arc::clone(&left),
            pace,
        };
        connections.spawn(connection(address, sender, shape, begin));
    }
    let mut measured = Measured::default();
    while let Some(joined) = connections.join_next().await {
        measured.merge(joined.context("a connection of the load failed")??);
    }
    measured.seconds = match shape.requests_max {
        Some(_) => (begin.elapsed() - shape.warm_up.min(begin.elapsed())).as_secs_f64(),
        None => shape.length.as_secs_f64(),
    };
    Ok(measured)
}

/// What a connection sends.
struct Sender {
    templates: Vec<Template>,
    numbers: Numbers,
    /// Requests that may still be sent, over all connections.
    left: Arc<AtomicU64>,
    pace: Option<Pace>,
}

impl Sender {
    /// Whether one more request may be sent.
    fn take_one(&self) -> bool {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok()
    }
}

/// When a connection sends its next request.
struct Pace {
    interval: Duration,
    next: Instant,
}

async fn connection(address: SocketAddr, mut sender: Sender, shape: Shape, begin: Instant) -> anyhow::Result<Measured> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let counted_from = begin + shape.warm_up;
    let end = counted_from + shape.length;
    let mut measured = Measured::default();
    let mut answer = Vec::with_capacity(1024);
    let mut turn = 0_usize;
    loop {
        if let Some(pace) = &mut sender.pace {
            tokio::time::sleep_until(pace.next).await;
            pace.next += pace.interval;
        }
        let started = Instant::now();
        if started >= end || !sender.take_one() {
            return Ok(measured);
        }
        let index = turn % sender.templates.len();
        turn += 1;
        let template = &mut sender.templates[index];
        let first = sender.numbers.fetch_add(template.numbers(), Ordering::Relaxed);
        let exchange = exchange(&mut stream, template.render(first), &mut answer);
        let status = tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .context("the server did not answer")??;
        let finished = Instant::now();
        if status != 202 {
            measured.errors += 1;
            let text = || format!("{status}: {}", String::from_utf8_lossy(&answer));
            measured.first_error.get_or_insert_with(text);
            continue;
        }
        measured.accepted += 1;
        if started >= counted_from && finished <= end {
            measured.requests += 1;
            measured.latencies.add(finished - started);
        }
    }
}

/// Sends a request, reads the whole answer into `answer` and returns its status.
async fn exchange(stream: &mut TcpStream, request: &[u8], answer: &mut Vec<u8>) -> anyhow::Result<u16> {
    stream.write_all(request).await?;
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            bail!("the server closed a connection");
        }
        if let Some(length) = answer_length(answer)?
            && answer.len() >= length
        {
            let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
            return status
                .and_then(|digits| digits.parse().ok())
                .context("the server's answer has no status");
        }
        if answer.len() > ANSWER_BYTES_MAX {
            bail!("the server's answer does not end");
        }
    }
}

/// Bytes of the whole answer, once its head is complete.
fn answer_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    for line in answer[..head].split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(&value[1..])?.trim().parse::<usize>()?;
            return Ok(Some(head + 4 + length));
        }
    }
    bail!("the server's answer has no content-length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let whole = b"HTTP/1.1 202 Accepted\r\nContent-Length:  2\r\n\r\n{}";
        for cut in 0..whole.len() - 6 {
            assert_eq!(answer_length(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(answer_length(whole).unwrap(), Some(whole.len()));
        assert!(answer_length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
