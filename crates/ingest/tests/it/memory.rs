//! A hostile body costs bounded memory, whatever it claims and whatever it unpacks to.

use bytes::Bytes;
use ingest::{Candidate, Encoding, Endpoint, RawRequest, RequestError, decode};
use model::limits;

use crate::{
    allocator::peak_bytes_of,
    support::{compress, context},
};

const MEBIBYTE: usize = 1024 * 1024;
const BOMB_BYTES: usize = 200 * MEBIBYTE;
const PEAK_BYTES_MAX: usize = 64 * MEBIBYTE;

/// Most memory that the process ever had in use since the last call; what C code allocates is in it too.
/// `None` where the system does not tell.
fn take_peak_resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn decoded(
    endpoint: Endpoint,
    content_type: &str,
    encoding: Option<Encoding>,
    body: Bytes,
) -> (Result<Vec<Candidate>, RequestError>, usize) {
    let request = RawRequest {
        endpoint,
        content_type: Some(content_type),
        content_encoding: encoding.map(Encoding::name),
        body,
    };
    peak_bytes_of(|| decode(&request, &context()))
}

#[test]
fn a_bomb_of_200_megabytes_costs_less_than_64() {
    let chunk = vec![b' '; MEBIBYTE];
    for encoding in Encoding::ALL {
        let bomb = Bytes::from(compress(encoding, |writer| {
            for _ in 0..BOMB_BYTES / MEBIBYTE {
                writer.write_all(&chunk).unwrap();
            }
        }));
        assert!(bomb.len() < MEBIBYTE, "{encoding:?} does not compress");
        for (endpoint, limit) in [
            (Endpoint::Single, limits::EVENT_BODY_BYTES_MAX),
            (Endpoint::Batch, limits::BATCH_BODY_BYTES_MAX),
        ] {
            take_peak_resident_bytes();
            let before = take_peak_resident_bytes();
            let (result, peak) = decoded(endpoint, "application/json", Some(encoding), bomb.clone());
            assert_eq!(result, Err(RequestError::TooLarge { limit }), "{encoding:?}");
            assert!(peak < PEAK_BYTES_MAX, "{encoding:?} {endpoint:?}: {peak} bytes");
            if let (Some(before), Some(after)) = (before, take_peak_resident_bytes()) {
                let grown = after.saturating_sub(before);
                assert!(
                    grown < PEAK_BYTES_MAX,
                    "{encoding:?} {endpoint:?}: {grown} bytes resident"
                );
                println!("{encoding:?} {endpoint:?}: {peak} bytes held, {grown} resident");
            }
        }
    }
}

#[test]
fn millions_of_tiny_elements_are_not_kept() {
    let unit = "0,";
    let body = format!("[{}0]", unit.repeat(limits::BATCH_BODY_BYTES_MAX / unit.len() - 2));
    let limit = limits::BATCH_EVENTS_MAX;
    let (result, peak) = decoded(Endpoint::Batch, "application/json", None, body.into());
    assert_eq!(result, Err(RequestError::TooManyEvents { limit }));
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes");
    let lines = "0\n".repeat(limits::BATCH_BODY_BYTES_MAX / 2);
    let (result, peak) = decoded(Endpoint::Batch, "application/x-ndjson", None, lines.into());
    assert_eq!(result, Err(RequestError::TooManyEvents { limit }));
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes");
}

#[test]
fn nesting_costs_neither_stack_nor_much_memory() {
    // A quarter of the limit: the parser keeps one byte a level, and unoptimised it is slow.
    const BODY_BYTES: usize = limits::BATCH_BODY_BYTES_MAX / 4;
    for bracket in ["[", "{\"a\":", "[{\"event_name\":\"a\",\"properties\":{\"a\":["] {
        for content_type in ["application/json", "application/x-ndjson"] {
            let body = bracket.repeat(BODY_BYTES / bracket.len());
            let (result, peak) = decoded(Endpoint::Batch, content_type, None, body.into());
            let refused = match result {
                Ok(candidates) => matches!(candidates[..], [Candidate::Invalid(_)]),
                Err(error) => error.code() == "invalid_json",
            };
            assert!(refused, "{bracket} {content_type}");
            assert!(peak < PEAK_BYTES_MAX, "{bracket} {content_type}: {peak} bytes");
        }
    }
}
