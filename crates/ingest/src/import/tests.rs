use model::{Deduplication, EventId, ProjectId, Timestamp};
use uuid::Uuid;

use super::*;

const PROJECT: ProjectId = ProjectId(Uuid::from_u128(7));

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn faults(line: &str) -> String {
    decode_import_line(line.as_bytes(), PROJECT, now())
        .unwrap_err()
        .to_line()
}

#[test]
fn a_line_becomes_an_event_of_its_own_time_address_and_agent() {
    let line = r#"{"event_id":"log-1","event_name":"page_view","event_source":"nginx","user_id":"u","session_id":"s",
        "properties":{"path":"/a"},"timestamp":"2019-05-06T07:08:09Z","sent_at":"2020-01-01T00:00:00Z",
        "ip_address":"::ffff:203.0.113.9","user_agent":"Mozilla\u0000"}"#;
    let expected = AcceptedEvent {
        id: EventId::from_client(PROJECT, "log-1"),
        project_id: PROJECT,
        client_event_id: Some("log-1".to_owned()),
        event_name: "page_view".to_owned(),
        event_source: Some("nginx".to_owned()),
        user_id: Some("u".to_owned()),
        anonymous_id: None,
        session_id: Some("s".to_owned()),
        properties: r#"{"path":"/a"}"#.to_owned(),
        timestamp: "2019-05-06T07:08:09Z".parse().unwrap(),
        received_at: now(),
        ip_address: Some("203.0.113.9".parse().unwrap()),
        user_agent: Some("Mozilla\u{fffd}".to_owned()),
        deduplication: Deduplication::History,
    };
    assert_eq!(decode_import_line(line.as_bytes(), PROJECT, now()), Ok(expected));
}

#[test]
fn id_and_credible_time_are_required() {
    assert_eq!(
        faults(r#"{"event_name":"a"}"#),
        "event_id: This field is required. timestamp: This field is required."
    );
    assert_eq!(
        faults(r#"{"event_id":" ","event_name":"","timestamp":"x","ip_address":"host.example","user_agent":1}"#),
        "event_name: Must not be blank. event_id: This field is required. \
         timestamp: Must be an RFC 3339 time such as 2026-01-31T12:00:00Z. \
         ip_address: Must be an IP address. user_agent: Must be a string, but is a number."
    );
    assert_eq!(
        faults(r#"{"event_id":"1","event_name":"a","timestamp":"2026-02-01T12:00:00.000001Z"}"#),
        "timestamp: Must not be more than 24 hours in the future."
    );
    for time in ["0001-01-01T00:00:00Z", "2026-02-01T12:00:00Z"] {
        let line = format!(r#"{{"event_id":"1","event_name":"a","timestamp":"{time}","ip_address":""}}"#);
        let event = decode_import_line(line.as_bytes(), PROJECT, now()).unwrap();
        assert_eq!((event.timestamp, event.ip_address), (time.parse().unwrap(), None));
    }
}

#[test]
fn the_time_of_receipt_is_the_lines_but_never_later_than_now() {
    let received_at = |field: &str| {
        let line = format!(r#"{{"event_id":"1","event_name":"a","timestamp":"2020-01-01T00:00:00Z"{field}}}"#);
        let event = decode_import_line(line.as_bytes(), PROJECT, now());
        event
            .map(|event| event.received_at.to_string())
            .map_err(|errors| errors.to_line())
    };
    let kept = r#","received_at":"2020-01-02T03:04:05.678901Z""#;
    assert_eq!(received_at(kept).as_deref(), Ok("2020-01-02T03:04:05.678901Z"));
    for none in [
        "",
        r#","received_at":null"#,
        r#","received_at":"2026-01-31T12:00:00.000001Z""#,
    ] {
        assert_eq!(received_at(none), Ok(now().to_string()), "{none}");
    }
    let wrong = received_at(r#","received_at":"then""#).unwrap_err();
    assert_eq!(
        wrong,
        "received_at: Must be an RFC 3339 time such as 2026-01-31T12:00:00Z."
    );
}

#[test]
fn a_broken_line_is_its_own_fault_and_blank_ones_do_not_count() {
    let good = r#"{"event_id":"1","event_name":"a","timestamp":"2020-01-01T00:00:00Z"}"#;
    let nul = good.replace(r#""a""#, r#""\u0000""#);
    let body = format!("\u{feff}\n{good}\r\n\n{{\"event_id\":\n[]\n{good}\n{nul}");
    let results = decode_import(body.as_bytes(), PROJECT, now()).unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            result
                .as_ref()
                .map(|event| event.event_name.as_str())
                .map_err(FieldErrors::to_line)
        })
        .collect();
    assert_eq!(
        told,
        [
            Ok("a"),
            Err("event: Is not valid JSON: EOF while parsing a value at line 1 column 12.".to_owned()),
            Err("event: Must be an object, but is an array.".to_owned()),
            Ok("a"),
            Ok("\u{fffd}"),
        ]
    );
    assert_eq!(results[0], results[3]);
    assert_eq!(decode_import(b" \n\n", PROJECT, now()), Err(RequestError::Empty));
}

#[test]
fn limits_hold() {
    let lines = "0\n".repeat(limits::BATCH_EVENTS_MAX + 1);
    let limit = limits::BATCH_EVENTS_MAX;
    assert_eq!(
        decode_import(lines.as_bytes(), PROJECT, now()),
        Err(RequestError::TooManyEvents { limit })
    );
    assert_eq!(
        decode_import(&lines.as_bytes()[2..], PROJECT, now()).map(|results| results.len()),
        Ok(limit)
    );
    let limit = limits::BATCH_BODY_BYTES_MAX;
    let blank = vec![b' '; limit + 1];
    assert_eq!(
        decode_import(&blank, PROJECT, now()),
        Err(RequestError::TooLarge { limit })
    );
}

#[test]
fn an_exported_event_without_a_client_id_keeps_the_servers() {
    let line = r#"{"id":"01980d3c-7b5a-7c3e-9c1d-3f2a8b6e4d10","event_name":"a","timestamp":"2026-01-01T00:00:00Z"}"#;
    let event = decode_import_line(line.as_bytes(), PROJECT, now()).unwrap();
    assert_eq!(event.id.to_string(), "01980d3c-7b5a-7c3e-9c1d-3f2a8b6e4d10");
    assert_eq!(event.client_event_id, None);
    let with_both = line.replacen('{', r#"{"event_id":"mine","#, 1);
    let event = decode_import_line(with_both.as_bytes(), PROJECT, now()).unwrap();
    assert_eq!(event.id, EventId::from_client(PROJECT, "mine"));
    assert!(faults(&line.replace("01980d3c", "x")).starts_with("id: Must be a UUID."));
}
