//! What an event costs in time: `cargo run --release -p ingest --example decode_rate`.
//!
//! Prints nanoseconds per event of decoding (single and in batches of 500) and of enrichment with warm caches, and what the files of
//! enrichment cost in memory. One thread; medians of nine rounds.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot run should say so and stop")]

use std::{hint::black_box, path::Path, time::Instant};

use bytes::Bytes;
use ingest::{Candidate, Endpoint, Enricher, RawRequest, RequestContext, decode};
use model::{AcceptedEvent, ProjectId, Timestamp};

const ROUNDS: usize = 9;
const AGENT: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

/// About 300 bytes with 6 properties, as `docs/design` asks of a benchmark.
fn event(number: usize) -> String {
    format!(
        r#"{{"event_name":"page_view","event_source":"web","user_id":"user-{number:06}","session_id":"session-{number:06}","properties":{{"url":"https://shop.example.com/products/shoes?utm_source=mail","referrer":"https://www.search.example/","title":"Shoes","price":49.90,"currency":"EUR","logged_in":true}},"timestamp":"2026-01-31T11:59:58.123Z"}}"#
    )
}

fn main() {
    let context = RequestContext {
        project_id: ProjectId::generate(at("2026-01-31T12:00:00Z")),
        received_at: at("2026-01-31T12:00:00Z"),
        address: Some([81, 169, 145, 1].into()),
        user_agent: Some(AGENT),
        cookie_anonymous_id: None,
    };
    println!("event: {} bytes", event(1).len());
    let single = request(Endpoint::Single, event(1).into());
    report("decode single", 100_000, 1, || decode(&single, &context).unwrap());
    let events: Vec<_> = (0..500).map(event).collect();
    let array = request(Endpoint::Batch, format!("[{}]", events.join(",")).into());
    report("decode array of 500", 200, 500, || decode(&array, &context).unwrap());
    let parse = || serde_json::from_slice::<serde_json::Value>(&array.body).unwrap();
    report("(serde_json::Value of the same)", 200, 500, parse);
    let mut lines = request(Endpoint::Batch, events.join("\n").into());
    lines.content_type = Some("application/x-ndjson");
    report("decode 500 lines", 200, 500, || decode(&lines, &context).unwrap());
    let with_id = event(1).replacen('{', r#"{"event_id":"0198f3aa-order-17","#, 1);
    let with_id = request(Endpoint::Single, with_id.into());
    report("decode single with event_id", 100_000, 1, || {
        decode(&with_id, &context).unwrap()
    });
    enrichment(accepted(decode(&single, &context).unwrap()));
}

fn enrichment(event: AcceptedEvent) {
    let share = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.runtime/share");
    let read = |name: &str| std::fs::read(share.join(name)).unwrap();
    let before = resident_kibibytes();
    let enricher = Enricher::new(Some(&read("user-agents.yaml")), Some(read("countries.mmdb"))).unwrap();
    println!("enricher, rules not compiled: {} KiB", resident_kibibytes() - before);
    let start = Instant::now();
    enricher.warm_up();
    println!(
        "rules compiled in {:?}: {} KiB",
        start.elapsed(),
        resident_kibibytes() - before
    );
    let clone = |event: &AcceptedEvent| black_box(event.clone());
    report("(clone of the event)", 100_000, 1, || clone(&event));
    report("enrich, clone included", 100_000, 1, || enricher.enrich(clone(&event)));
    let nameless = AcceptedEvent {
        user_id: None,
        session_id: None,
        ..event.clone()
    };
    report("enrich without user and session", 100_000, 1, || {
        enricher.enrich(clone(&nameless))
    });
    let mut number = 0_u32;
    report("enrich, another address and agent each", 2_000, 1, || {
        number += 1;
        let mut event = clone(&nameless);
        event.ip_address = Some(number.wrapping_mul(2_654_435_761).to_be_bytes().into());
        event.user_agent = Some(format!("{AGENT} Extra/{number}"));
        enricher.enrich(event)
    });
    println!("after all: {} KiB", resident_kibibytes() - before);
    let worst = AcceptedEvent {
        user_agent: Some("Mozilla/5.0 (Linux; Android 14; ".repeat(32)),
        ..nameless
    };
    let start = Instant::now();
    black_box(enricher.enrich(worst));
    println!("a strange agent of 1 KiB for the first time: {:?}", start.elapsed());
}

fn request(endpoint: Endpoint, body: Bytes) -> RawRequest<'static> {
    RawRequest {
        endpoint,
        content_type: Some("application/json"),
        content_encoding: None,
        body,
    }
}

fn accepted(candidates: Vec<Candidate>) -> AcceptedEvent {
    match candidates.into_iter().next() {
        Some(Candidate::Valid { event, .. }) => *event,
        other => panic!("the example's event is not valid: {other:?}"),
    }
}

/// Runs `work`, which handles `events` events, `times` times a round.
fn report<T>(what: &str, times: usize, events: usize, mut work: impl FnMut() -> T) {
    let mut nanos: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(work());
            }
            start.elapsed().as_nanos() / (times * events) as u128
        })
        .collect();
    nanos.sort_unstable();
    println!("{what}: {} ns/event", nanos[ROUNDS / 2]);
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn resident_kibibytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
