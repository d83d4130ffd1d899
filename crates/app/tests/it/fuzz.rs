//! Bad requests over the wire: bodies, headers and encodings that were bent at random. Never a 5xx, never a panic, never a hang, and the
//! server answers good requests afterwards. The decoder itself is tried far harder in `ingest`'s own tests.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::harness::Server;

/// How long the test tries; `HTTP_FUZZ_SECONDS` asks for more.
const SECONDS: u64 = 10;

const CONTENT_TYPES: [&str; 7] = [
    "application/json",
    "application/x-ndjson",
    "text/plain",
    "text/html",
    "",
    "application/json; charset=\u{1}",
    "a/b",
];
const ENCODINGS: [&str; 7] = ["", "gzip", "deflate", "br", "zstd", "gzip, gzip", "identity"];
const PATHS: [&str; 6] = [
    "/api/events/ingest/",
    "/api/events/batch/",
    "/api/events/ingest?key=%00%ff",
    "/api/events/batch/?key",
    "/api/events/../ingest",
    "/api/events/query/?start_date=%F0&page=99999999999999999999",
];

fn body(random: &mut StdRng) -> Vec<u8> {
    let event = json!({"event_name": "fuzz", "user_id": "u", "event_id": "e", "properties": {"a": [1, {"b": "\u{0}é"}]}, "timestamp": "2026-01-01T00:00:00Z"});
    let mut body = match random.random_range(0..5) {
        0 => event.to_string(),
        1 => json!([event, event]).to_string(),
        2 => json!({"events": [event, 1, null]}).to_string(),
        3 => format!("{event}\n{event}\n"),
        _ => "[".repeat(random.random_range(0..5_000)),
    }
    .into_bytes();
    for _ in 0..random.random_range(0..6) {
        if body.is_empty() {
            break;
        }
        let at = random.random_range(0..body.len());
        match random.random_range(0..4) {
            0 => body[at] = random.random(),
            1 => body.truncate(at),
            2 => body.insert(at, random.random()),
            _ => {
                let mut noise = vec![0; 64];
                random.fill_bytes(&mut noise);
                body.splice(at..at, noise);
            }
        }
    }
    match random.random_range(0..4) {
        0 => zstd::encode_all(&body[..], 1).expect("zstd"),
        _ => body,
    }
}

fn request(random: &mut StdRng, key: &str) -> Vec<u8> {
    let body = body(random);
    let pick = |random: &mut StdRng, list: &[&'static str]| list[random.random_range(0..list.len())];
    let (path, content_type, encoding) = (
        pick(random, &PATHS),
        pick(random, &CONTENT_TYPES),
        pick(random, &ENCODINGS),
    );
    let length = match random.random_range(0..20) {
        0 => body.len() / 2,
        _ => body.len(),
    };
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n").into_bytes();
    if random.random_bool(0.9) {
        request.extend(format!("Authorization: Bearer {key}\r\n").bytes());
    }
    for (name, value) in [("Content-Type", content_type), ("Content-Encoding", encoding)] {
        if !value.is_empty() {
            request.extend(format!("{name}: {value}\r\n").bytes());
        }
    }
    if random.random_bool(0.1) {
        request.extend(b"X-Forwarded-For: \xff\xfe, 1.2.3.4.5\r\nOrigin: \x80\r\nCookie: sa_uid=\"\r\nUser-Agent: ");
        request.extend((0..random.random_range(0..3_000)).map(|_| b'a'));
        request.extend(b"\r\n");
    }
    request.extend(b"\r\n");
    request.extend(body);
    request
}

/// The status of the answer; 0 when the connection ended without one.
fn answer(address: &str, request: &[u8]) -> u16 {
    let mut connection = TcpStream::connect(address).expect("the server accepts");
    connection
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    // The server may have answered and closed before everything is sent.
    let _ = connection.write_all(request);
    let mut text = Vec::new();
    match connection.read_to_end(&mut text) {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ) =>
        {
            panic!("no answer: {error}")
        }
        _ => {}
    }
    let head = String::from_utf8_lossy(&text[..text.len().min(12)]).into_owned();
    head.strip_prefix("HTTP/1.1 ")
        .and_then(|status| status[..3].parse().ok())
        .unwrap_or(0)
}

#[test]
fn bent_requests_get_clean_refusals() {
    let seconds = std::env::var("HTTP_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let server = Server::start();
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut tried, mut refused) = (0_u32, 0_u32);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        let request = request(&mut random, server.public_key());
        let status = answer(&address, &request);
        // A handler that panics answers nothing; its neighbours go on.
        let is_clean = status < 500 && (status > 0 || !server.log().contains("panicked"));
        assert!(is_clean, "{status} for {:?}", String::from_utf8_lossy(&request));
        tried += 1;
        refused += u32::from(status >= 400);
    }
    assert!(
        refused * 10 > tried && refused < tried,
        "{refused} of {tried} refused: the test must try both"
    );
    assert_eq!(server.send(&json!({"event_name": "after"})).status, 202);
    assert!(!server.log().contains("panicked"), "the server panicked");
    println!("{tried} requests, {refused} refused");
}
