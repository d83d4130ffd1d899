use std::path::PathBuf;

use model::{AcceptedEvent, Deduplication, EventId, ProjectId, Timestamp};
use uuid::Uuid;

use super::*;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn accepted() -> AcceptedEvent {
    AcceptedEvent {
        id: EventId(Uuid::from_u128(1)),
        project_id: ProjectId(Uuid::from_u128(7)),
        client_event_id: Some("c".to_owned()),
        event_name: "page_view".to_owned(),
        event_source: Some("web".to_owned()),
        user_id: None,
        anonymous_id: None,
        session_id: None,
        properties: r#"{"url":"https://e.test/a"}"#.to_owned(),
        timestamp: at("2026-01-31T11:30:00Z"),
        received_at: at("2026-01-31T12:00:00Z"),
        ip_address: Some("192.0.2.1".parse().unwrap()),
        user_agent: Some(FIREFOX.to_owned()),
        deduplication: Deduplication::Window,
    }
}

/// A file that the server reads at run time; `None`, loudly, where it was not fetched.
fn runtime_file(name: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../.runtime/share")
        .join(name);
    let file = std::fs::read(&path).ok();
    if file.is_none() {
        eprintln!("SKIPPED: {} is missing; run scripts/fetch-runtime.sh", path.display());
    }
    file
}

fn without_files() -> Enricher {
    Enricher::new(None, None).unwrap()
}

#[test]
fn what_the_client_sent_passes_through_unchanged() {
    let event = AcceptedEvent {
        user_id: Some("u".to_owned()),
        anonymous_id: Some("a".to_owned()),
        session_id: Some("s".to_owned()),
        ..accepted()
    };
    let expected = EnrichedEvent {
        id: event.id,
        project_id: event.project_id,
        client_event_id: Some("c".to_owned()),
        event_name: "page_view".to_owned(),
        event_source: Some("web".to_owned()),
        user_id: "u".to_owned(),
        session_id: "s".to_owned(),
        properties: event.properties.clone(),
        timestamp: event.timestamp,
        received_at: event.received_at,
        ip_address: Some("192.0.2.1".to_owned()),
        user_agent: Some(FIREFOX.to_owned()),
        derived: DerivedKeys {
            path: Some("/a".to_owned()),
            hostname: Some("e.test".to_owned()),
            ..DerivedKeys::default()
        },
        deduplication: Deduplication::Window,
    };
    assert_eq!(without_files().enrich(event), expected);
}

#[test]
fn a_missing_user_is_the_browser_then_a_hash_then_the_event_itself() {
    let user = |event: AcceptedEvent| without_files().enrich(event).user_id;
    let anonymous = AcceptedEvent {
        anonymous_id: Some("browser-1".to_owned()),
        ..accepted()
    };
    assert_eq!(user(anonymous), "browser-1");
    // The expected hashes come from another implementation of SHA-256.
    assert_eq!(user(accepted()), "hash_7de42bd627d26b5d");
    let without_agent = AcceptedEvent {
        user_agent: None,
        ip_address: Some("2001:db8::1".parse().unwrap()),
        ..accepted()
    };
    assert_eq!(user(without_agent), "hash_5c399a204f040ea5");
    let without_address = AcceptedEvent {
        ip_address: None,
        ..accepted()
    };
    assert_eq!(user(without_address.clone()), "anonymous_7ac1b8d7010b");
    let other = AcceptedEvent {
        id: EventId(Uuid::from_u128(2)),
        ..without_address
    };
    assert_ne!(user(other), "anonymous_7ac1b8d7010b");
}

#[test]
fn a_missing_session_is_the_hour_of_the_user() {
    let session = |user: &str, time: &str| {
        let event = AcceptedEvent {
            user_id: Some(user.to_owned()),
            timestamp: at(time),
            ..accepted()
        };
        without_files().enrich(event).session_id
    };
    let expected = "session_60856b4106a40639";
    assert_eq!(session("user-1", "2026-01-31T11:30:00Z"), expected);
    assert_eq!(session("user-1", "2026-01-31T11:00:00Z"), expected);
    assert_eq!(session("user-1", "2026-01-31T11:59:59.999999Z"), expected);
    assert_eq!(
        session("user-1", "1969-12-31T23:59:59.999999Z"),
        "session_e2cde36f658f9b4b"
    );
    for (user, time) in [("user-1", "2026-01-31T12:00:00Z"), ("user-2", "2026-01-31T11:30:00Z")] {
        assert_ne!(session(user, time), expected);
    }
    let other_project = AcceptedEvent {
        project_id: ProjectId(Uuid::from_u128(8)),
        user_id: Some("user-1".to_owned()),
        ..accepted()
    };
    assert_ne!(without_files().enrich(other_project).session_id, expected);
}

#[test]
fn user_agents_tell_browser_system_and_device() {
    let Some(rules) = runtime_file("user-agents.yaml") else {
        return;
    };
    let enricher = Enricher::new(Some(&rules), None).unwrap();
    for (agent, expected) in AGENTS {
        let event = AcceptedEvent {
            user_agent: Some((*agent).to_owned()),
            ..accepted()
        };
        // Twice: compiled, then remembered.
        for _ in 0..2 {
            let keys = enricher.enrich(event.clone()).derived;
            let told = [keys.browser, keys.browser_version, keys.os, keys.device];
            assert_eq!(
                told.map(|key| key.unwrap_or("-".to_owned())).join("|"),
                *expected,
                "{agent}"
            );
        }
    }
}

const AGENTS: &[(&str, &str)] = &[
    (FIREFOX, "Firefox|130.0|Linux|desktop"),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Chrome|126.0|Windows|desktop",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
        "Edge|126.0|Windows|desktop",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        "Safari|17.5|Mac OS X|desktop",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "Mobile Safari|17.5|iOS|mobile",
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
        "Mobile Safari|16.6|iOS|tablet",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "Chrome Mobile|126.0|Android|mobile",
    ),
    (
        "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Chrome|126.0|Android|tablet",
    ),
    (
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Googlebot|2.1|-|bot",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
        "HeadlessChrome|126.0|Linux|bot",
    ),
    (
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 (KHTML, like Gecko) Version/6.0 TV Safari/538.1",
        "Safari|6.0|Tizen|tv",
    ),
    (
        "Mozilla/5.0 (PlayStation 5) AppleWebKit/605.1.15",
        "Apple Mail|605.1|-|console",
    ),
    ("curl/8.5.0", "curl|8.5|-|-"),
    ("nonsense", "-|-|-|-"),
];

#[test]
fn addresses_tell_the_country() {
    let Some(table) = runtime_file("countries.mmdb") else {
        return;
    };
    let enricher = Enricher::new(None, Some(table)).unwrap();
    for (address, expected) in [
        ("8.8.8.8", Some("US")),
        ("81.169.145.1", Some("DE")),
        ("2a00:1450:4001:830::200e", Some("IE")),
        ("127.0.0.1", None),
        ("10.0.0.1", None),
        ("::1", None),
        ("fd00::1", None),
    ] {
        let event = AcceptedEvent {
            ip_address: Some(address.parse().unwrap()),
            ..accepted()
        };
        assert_eq!(enricher.enrich(event).derived.country.as_deref(), expected, "{address}");
    }
}

#[test]
fn files_that_are_something_else_are_refused_at_once() {
    let error = Enricher::new(Some(b"just: text"), None).err().unwrap().to_string();
    assert!(
        error.starts_with("the user-agent rules are not in the format"),
        "{error}"
    );
    let error = Enricher::new(None, Some(b"no database".to_vec()))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("the address table is not a MaxMind database"),
        "{error}"
    );
}

#[test]
fn rules_that_cannot_be_compiled_leave_the_keys_empty() {
    let rules = br"{user_agent_parsers: [{regex: '('}], os_parsers: [], device_parsers: []}";
    let enricher = Enricher::new(Some(rules), None).unwrap();
    enricher.warm_up();
    assert_eq!(enricher.enrich(accepted()).derived.browser, None);
}
