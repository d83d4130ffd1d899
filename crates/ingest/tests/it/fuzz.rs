//! No bytes make the crate panic, and whatever it accepts keeps the rules that stores rely on.
//!
//! `INGEST_FUZZ_INPUTS` says how many inputs to try (default 20,000, the gate's share), `INGEST_FUZZ_SEED` where to start:
//! `INGEST_FUZZ_INPUTS=1000000 cargo nextest run --release -p ingest fuzz`.

use bytes::Bytes;
use ingest::{Candidate, Encoding, Endpoint, Enricher, OriginRules, RawRequest, client_address, decode, decode_import};
use model::{AcceptedEvent, Timestamp, limits};

use crate::support::{compress, context};

const BODIES: [&str; 8] = [
    r#"{"event_name":"purchase","event_source":"web","user_id":"u-1","session_id":"s-1","event_id":"order-17","properties":{"page":"/checkout","price":19.90,"items":[1,2,{"a":null}]},"timestamp":"2026-01-31T11:59:58.5+00:00"}"#,
    r#"[{"event_name":"a","timestamp":"2026-01-31T11:00:00Z","sent_at":"2026-01-31T12:00:00Z"},{"event_name":"b"},7,null,"x"]"#,
    r#"{"events":[{"event_name":"a","anonymous_id":"\u0041\ud83d\ude00"}],"sent_at":"2026-01-31T12:00:00Z"}"#,
    "{\"event_name\":\"a\"}\r\n\n{\"event_name\":\"b\",\"properties\":{ \"k\" : \"\\\"\\\\\" }}\n",
    r#"{"event_id":"1","event_name":"a","timestamp":"2020-01-01T00:00:00Z","ip_address":"203.0.113.9","user_agent":"x"}"#,
    r#"{"event_name":"a","properties":{"url":"https://user@www.e.test:80/a/?utm_source=a%00+b&utm_term=%ff#f","referrer":"https://r.test/","n":1e308}}"#,
    "[]",
    "{}",
];

const TOKENS: [&[u8]; 30] = [
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud83d",
    b"\\ude00",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"1e-999",
    b"123456789012345678901234567890",
    b"\"event_name\":",
    b"\"properties\":",
    b"\"events\":",
    b"\n",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b" ",
    b"\"timestamp\":\"9999-12-31T23:59:59Z\"",
    b"\"sent_at\":\"0001-01-01T00:00:00Z\"",
    b"\x1f\x8b\x08",
    b"%00",
];

const CONTENT_TYPES: [Option<&str>; 6] = [
    None,
    Some("application/json"),
    Some("application/x-ndjson"),
    Some("text/plain;charset=UTF-8"),
    Some(";;"),
    Some("text/html"),
];

/// SplitMix64: small, and the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(12)).min(bytes.len());
        match numbers.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = numbers.next().to_le_bytes()[0],
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => drop(bytes.splice(at..at, numbers.pick(&TOKENS).iter().copied())),
        }
    }
}

fn request(numbers: &mut Numbers) -> RawRequest<'static> {
    let mut body = match numbers.below(10) {
        0 => (0..numbers.below(64))
            .map(|_| numbers.next().to_le_bytes()[0])
            .collect(),
        _ => numbers.pick(&BODIES).as_bytes().to_vec(),
    };
    mutate(&mut body, numbers);
    let mut content_encoding = None;
    if numbers.below(8) == 0 {
        let encoding = *numbers.pick(&Encoding::ALL);
        content_encoding = Some(encoding.name());
        if numbers.below(8) != 0 {
            body = compress(encoding, |writer| writer.write_all(&body).unwrap());
        }
        if numbers.below(2) == 0 {
            mutate(&mut body, numbers);
        }
    }
    RawRequest {
        endpoint: *numbers.pick(&[Endpoint::Single, Endpoint::Batch]),
        content_type: *numbers.pick(&CONTENT_TYPES),
        content_encoding,
        body: Bytes::from(body),
    }
}

/// What stores rely on.
fn check(event: &AcceptedEvent) {
    let ids = [
        &event.user_id,
        &event.session_id,
        &event.client_event_id,
        &event.anonymous_id,
    ];
    let short = [Some(&event.event_name), event.event_source.as_ref()];
    let ids = ids.into_iter().map(Option::as_ref);
    for text in short.into_iter().chain(ids).flatten() {
        assert!(
            !text.trim().is_empty() && text.chars().count() <= limits::NAME_CHARS_MAX,
            "{event:?}"
        );
        assert!(!text.contains('\0'), "{event:?}");
    }
    assert_eq!(event.event_name.trim(), event.event_name);
    assert!(event.properties.len() <= limits::PROPERTIES_BYTES_MAX);
    let properties: serde_json::Value = serde_json::from_str(&event.properties)
        .unwrap_or_else(|error| panic!("a strict reader refuses what was accepted: {error}: {event:?}"));
    assert!(properties.is_object(), "{event:?}");
    assert!(!properties.to_string().contains("\\u0000"), "{event:?}");
    assert!(
        Timestamp::from_micros(event.timestamp.as_micros()).is_some(),
        "{event:?}"
    );
    let ahead_seconds = limits::FUTURE_TOLERANCE_HOURS * 3_600;
    assert!(
        event.timestamp <= event.received_at.saturating_add_seconds(ahead_seconds),
        "{event:?}"
    );
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default,
    }
}

#[test]
fn nothing_panics_and_what_is_accepted_keeps_the_rules() {
    let inputs = setting("INGEST_FUZZ_INPUTS", 20_000);
    let mut numbers = Numbers(setting("INGEST_FUZZ_SEED", 1));
    let enricher = Enricher::new(None, None).unwrap();
    let trusted = ["192.0.2.0/24".parse().unwrap()];
    let (mut accepted, mut invalid, mut refused) = (0_u64, 0_u64, 0_u64);
    for _ in 0..inputs {
        let request = request(&mut numbers);
        match decode(&request, &context()) {
            Ok(candidates) => {
                assert!(!candidates.is_empty() && candidates.len() <= limits::BATCH_EVENTS_MAX);
                for candidate in candidates {
                    match candidate {
                        Candidate::Valid { event, .. } => {
                            accepted += 1;
                            check(&event);
                            let enriched = enricher.enrich(*event);
                            assert!(!enriched.user_id.is_empty() && !enriched.session_id.is_empty());
                            assert!(!format!("{:?}", enriched.derived).contains("\\0"), "{enriched:?}");
                        }
                        Candidate::Invalid(errors) => {
                            invalid += 1;
                            assert!(!errors.is_empty());
                        }
                    }
                }
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().ends_with('.'), "{error}");
            }
        }
        let context = context();
        if let Ok(results) = decode_import(&request.body, context.project_id, context.received_at) {
            results.iter().flatten().for_each(check);
        }
        let text = String::from_utf8_lossy(&request.body);
        let _ = OriginRules::from_stored(&[text.as_ref()]).allows(&text);
        let peer = [192, 0, 2, 1].into();
        let _ = client_address(peer, [&request.body[..]].into_iter(), Some(&request.body), &trusted);
    }
    println!("{inputs} inputs: {accepted} events accepted, {invalid} invalid, {refused} requests refused");
    assert!(
        accepted > inputs / 20 && invalid > inputs / 20 && refused > inputs / 20,
        "the inputs do not reach all ends"
    );
}
