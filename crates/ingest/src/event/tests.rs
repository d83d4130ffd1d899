use model::{AcceptedEvent, Deduplication, EventId, ProjectId, Timestamp};
use uuid::Uuid;

use super::*;

const PROJECT: ProjectId = ProjectId(Uuid::from_u128(7));
const RECEIVED: &str = "2026-01-31T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn context() -> RequestContext<'static> {
    RequestContext {
        project_id: PROJECT,
        received_at: at(RECEIVED),
        address: Some("::ffff:192.0.2.1".parse().unwrap()),
        user_agent: Some("Agent/1.0"),
        cookie_anonymous_id: None,
    }
}

fn judged(json: &str) -> Candidate {
    candidate(serde_json::from_str(json).unwrap(), None, &context())
}

fn valid(json: &str) -> AcceptedEvent {
    match judged(json) {
        Candidate::Valid { event, warnings } if warnings.is_empty() => *event,
        other => panic!("{json}: {other:?}"),
    }
}

fn faults(json: &str) -> String {
    match judged(json) {
        Candidate::Invalid(errors) => errors.to_line(),
        valid @ Candidate::Valid { .. } => panic!("{json}: {valid:?}"),
    }
}

/// The faults of an event that has a good name and `field`.
fn faults_of(field: &str) -> String {
    faults(&format!(r#"{{"event_name":"a",{field}}}"#))
}

#[test]
fn every_field_reaches_the_event() {
    let event = valid(
        r#"{"event_name":" sign_up ","event_source":" web ","user_id":" u1 ","session_id":"s1","event_id":"e1",
            "anonymous_id":"a1","properties":{"n":1.10, "b": [true]},"timestamp":"2026-01-31T13:00:00+02:00",
            "ip_address":"203.0.113.9","user_agent":"Forged/1","unknown":{"x":[1e999]}}"#,
    );
    let expected = AcceptedEvent {
        id: EventId::from_client(PROJECT, "e1"),
        project_id: PROJECT,
        client_event_id: Some("e1".to_owned()),
        event_name: "sign_up".to_owned(),
        event_source: Some("web".to_owned()),
        user_id: Some(" u1 ".to_owned()),
        anonymous_id: Some("a1".to_owned()),
        session_id: Some("s1".to_owned()),
        properties: r#"{"n":1.10,"b":[true]}"#.to_owned(),
        timestamp: at("2026-01-31T11:00:00Z"),
        received_at: at(RECEIVED),
        ip_address: Some("192.0.2.1".parse().unwrap()),
        user_agent: Some("Agent/1.0".to_owned()),
        deduplication: Deduplication::Window,
    };
    assert_eq!(event, expected);
}

#[test]
fn a_name_is_enough_and_null_or_blank_is_absent() {
    for json in [
        r#"{"event_name":"a"}"#,
        r#"{"event_name":"a","event_source":null,"user_id":null,"session_id":null,"event_id":null,"anonymous_id":null,
            "properties":null,"timestamp":null,"sent_at":null}"#,
        r#"{"event_name":"a","event_source":" \t","user_id":"","session_id":" ","event_id":"\n","anonymous_id":"\u00a0",
            "properties":{}}"#,
        r#"{"event_name":1,"event_name":"a","user_id":2,"user_id":null}"#,
    ] {
        let event = valid(json);
        let expected = AcceptedEvent {
            id: event.id,
            project_id: PROJECT,
            client_event_id: None,
            event_name: "a".to_owned(),
            event_source: None,
            user_id: None,
            anonymous_id: None,
            session_id: None,
            properties: "{}".to_owned(),
            timestamp: at(RECEIVED),
            received_at: at(RECEIVED),
            ip_address: event.ip_address,
            user_agent: event.user_agent.clone(),
            deduplication: Deduplication::Redelivery,
        };
        assert_eq!(event, expected, "{json}");
    }
}

#[test]
fn ids_of_the_server_are_new_each_time_and_sorted_by_time() {
    let (first, second) = (valid(r#"{"event_name":"a"}"#), valid(r#"{"event_name":"a"}"#));
    assert_ne!(first.id, second.id);
    assert_eq!(first.id.0.get_version_num(), 7);
    let millis = first.id.0.as_u128() >> 80;
    assert_eq!(i64::try_from(millis * 1_000).unwrap(), at(RECEIVED).as_micros());
}

#[test]
fn all_bad_fields_are_named_at_once_in_the_order_of_the_contract() {
    let long = "x".repeat(256);
    let json = format!(
        r#"{{"timestamp":5,"properties":[],"event_id":"{long}","session_id":{{}},"user_id":42,"event_source":true,
            "event_name":" ","anonymous_id":1.5,"sent_at":"soon"}}"#
    );
    assert_eq!(
        faults(&json),
        "event_name: Must not be blank. \
         event_source: Must be a string, but is a boolean. \
         user_id: Must be a string, but is a number. \
         session_id: Must be a string, but is an object. \
         event_id: Must be at most 255 characters, but has 256. \
         properties: Must be an object, but is an array. \
         anonymous_id: Must be a string, but is a number. \
         timestamp: Must be a string, but is a number. \
         sent_at: Must be an RFC 3339 time such as 2026-01-31T12:00:00Z."
    );
}

#[test]
fn the_name_is_required() {
    for json in ["{}", r#"{"event_name":null}"#, r#"{"Event_Name":"a"}"#] {
        assert_eq!(faults(json), "event_name: This field is required.", "{json}");
    }
    assert_eq!(
        faults(r#"{"event_name":[]}"#),
        "event_name: Must be a string, but is an array."
    );
    assert_eq!(faults(r#"{"event_name":"\u3000\n"}"#), "event_name: Must not be blank.");
}

#[test]
fn lengths_count_characters_after_trimming() {
    let wide = "é😀".repeat(127) + "é";
    assert_eq!(wide.chars().count(), 255);
    let event = valid(&format!(
        r#"{{"event_name":"  {wide}  ","event_source":"\t{wide}","user_id":"{wide}","session_id":"{wide}","event_id":"{wide}"}}"#
    ));
    assert_eq!(
        (
            event.event_name.as_str(),
            event.event_source.as_deref(),
            event.user_id.as_deref()
        ),
        (wide.as_str(), Some(wide.as_str()), Some(wide.as_str()))
    );
    for field in ["event_source", "user_id", "session_id", "event_id", "anonymous_id"] {
        assert_eq!(
            faults_of(&format!(r#""{field}":"{wide}x""#)),
            format!("{field}: Must be at most 255 characters, but has 256.")
        );
    }
    assert_eq!(
        faults(&format!(r#"{{"event_name":"{wide}x"}}"#)),
        "event_name: Must be at most 255 characters, but has 256."
    );
}

#[test]
fn escapes_are_resolved() {
    let event = valid(r#"{"event_name":"\u0061\n\"\\b\ud83d\ude00","\u0075ser_id":"\/x"}"#);
    assert_eq!(
        (event.event_name.as_str(), event.user_id.as_deref()),
        ("a\n\"\\b😀", Some("/x"))
    );
}

#[test]
fn what_is_no_object_is_no_event() {
    for (json, kind) in [
        ("[]", "an array"),
        ("[[[1]],2]", "an array"),
        (r#""a""#, "a string"),
        ("1", "a number"),
        ("-1", "a number"),
        ("1.5", "a number"),
        ("true", "a boolean"),
        ("null", "null"),
    ] {
        assert_eq!(
            faults(json),
            format!("event: Must be an object, but is {kind}."),
            "{json}"
        );
    }
}

#[test]
fn times_are_texts_of_rfc_3339() {
    for (text, expected) in [
        ("2026-01-31T11:59:59.123456Z", "2026-01-31T11:59:59.123456Z"),
        ("2026-01-31T11:59:59", "2026-01-31T11:59:59Z"),
        ("2026-01-31T11:59:59.1+05:30", "2026-01-31T06:29:59.1Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ] {
        let event = valid(&format!(r#"{{"event_name":"a","timestamp":"{text}"}}"#));
        assert_eq!(event.timestamp, at(expected), "{text}");
    }
    for text in [
        "",
        "yesterday",
        "1769860800",
        "2026-02-30T00:00:00Z",
        "12026-01-01T00:00:00Z",
    ] {
        assert_eq!(
            faults_of(&format!(r#""timestamp":"{text}""#)),
            "timestamp: Must be an RFC 3339 time such as 2026-01-31T12:00:00Z.",
            "{text}"
        );
    }
    for raw in ["1769860800", "1769860800.5", "{}", "true"] {
        assert!(faults_of(&format!(r#""timestamp":{raw}"#)).starts_with("timestamp: Must be a string, but is"));
    }
}

#[test]
fn a_client_that_says_when_it_sent_has_its_clock_corrected() {
    for (timestamp, sent_at, expected) in [
        // The clock is an hour ahead, or a year behind, or ten seconds off: the age of the event stays what it was.
        ("2026-01-31T12:59:00Z", "2026-01-31T13:00:00Z", "2026-01-31T11:59:00Z"),
        ("2025-01-31T11:00:00Z", "2025-01-31T12:00:00Z", "2026-01-31T11:00:00Z"),
        (
            "2026-01-31T12:00:10Z",
            "2026-01-31T12:00:10.000001Z",
            "2026-01-31T11:59:59.999999Z",
        ),
        ("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ] {
        let json = format!(r#"{{"event_name":"a","timestamp":"{timestamp}","sent_at":"{sent_at}"}}"#);
        assert_eq!(valid(&json).timestamp, at(expected), "{timestamp} {sent_at}");
    }
    assert_eq!(
        valid(r#"{"event_name":"a","sent_at":"2020-01-01T00:00:00Z"}"#).timestamp,
        at(RECEIVED)
    );
}

#[test]
fn the_send_time_of_a_batch_counts_where_the_event_has_none() {
    let corrected = |json: &str| {
        let element = serde_json::from_str(json).unwrap();
        match candidate(element, Some(at("2026-01-31T13:00:00Z")), &context()) {
            Candidate::Valid { event, .. } => event.timestamp,
            invalid @ Candidate::Invalid(_) => panic!("{invalid:?}"),
        }
    };
    let json = r#"{"event_name":"a","timestamp":"2026-01-31T12:30:00Z"}"#;
    assert_eq!(corrected(json), at("2026-01-31T11:30:00Z"));
    let json = r#"{"event_name":"a","timestamp":"2026-01-31T12:30:00Z","sent_at":"2026-01-31T12:40:00Z"}"#;
    assert_eq!(corrected(json), at("2026-01-31T11:50:00Z"));
}

#[test]
fn more_than_a_day_ahead_becomes_the_time_of_receipt_with_a_warning() {
    let edge = valid(r#"{"event_name":"a","timestamp":"2026-02-01T12:00:00Z"}"#);
    assert_eq!(edge.timestamp, at("2026-02-01T12:00:00Z"));
    for (fields, claimed) in [
        (
            r#""timestamp":"2026-02-01T12:00:00.000001Z""#,
            "2026-02-01T12:00:00.000001Z",
        ),
        (
            r#""timestamp":"2026-02-02T00:00:00Z","sent_at":"2026-01-31T00:00:00Z""#,
            "2026-02-02T12:00:00Z",
        ),
    ] {
        match judged(&format!(r#"{{"event_name":"a",{fields}}}"#)) {
            Candidate::Valid { event, warnings } => {
                assert_eq!(event.timestamp, at(RECEIVED));
                assert_eq!(warnings, [Warning::FutureTimestamp { claimed: at(claimed) }]);
            }
            invalid @ Candidate::Invalid(_) => panic!("{invalid:?}"),
        }
    }
}

#[test]
fn the_cookie_stands_in_for_a_missing_anonymous_id_if_it_is_usable() {
    let long = "x".repeat(256);
    for (cookie, body, expected) in [
        ("cookie-1", "", Some("cookie-1")),
        ("cookie-1", r#","anonymous_id":"own""#, Some("own")),
        ("cookie-1", r#","anonymous_id":" ""#, Some("cookie-1")),
        (" ", "", None),
        (long.as_str(), "", None),
    ] {
        let context = RequestContext {
            cookie_anonymous_id: Some(cookie),
            ..context()
        };
        let json = format!(r#"{{"event_name":"a"{body}}}"#);
        match candidate(serde_json::from_str(&json).unwrap(), None, &context) {
            Candidate::Valid { event, .. } => assert_eq!(event.anonymous_id.as_deref(), expected),
            invalid @ Candidate::Invalid(_) => panic!("{invalid:?}"),
        }
    }
}

#[test]
fn the_user_agent_is_cut_at_a_character() {
    let long = "ü".repeat(600);
    for (header, expected) in [(Some(long.as_str()), Some(512)), (Some("  "), None), (None, None)] {
        let context = RequestContext {
            user_agent: header,
            ..context()
        };
        match candidate(serde_json::from_str(r#"{"event_name":"a"}"#).unwrap(), None, &context) {
            Candidate::Valid { event, .. } => {
                assert_eq!(event.user_agent.map(|text| text.chars().count()), expected);
            }
            invalid @ Candidate::Invalid(_) => panic!("{invalid:?}"),
        }
    }
}
