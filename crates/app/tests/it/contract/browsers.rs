//! Preflight, origins, beacons, the visitor cookie.

use serde_json::json;

use crate::harness::{Server, wait_until};

const INGEST: &str = "/api/events/ingest/";
const EVENT: &[u8] = br#"{"event_name":"page_view"}"#;

fn send_from(server: &Server, origin: &str) -> crate::harness::Answer {
    let bearer = format!("Bearer {}", server.public_key());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("origin", origin),
    ];
    server.request("POST", INGEST, &headers, EVENT)
}

#[test]
fn a_preflight_is_answered_for_any_origin_and_without_a_key() {
    let server = Server::start();
    let headers = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-sdk"),
    ];
    for path in [INGEST, "/api/events/ingest", "/api/events/batch/"] {
        let answer = server.request("OPTIONS", path, &headers, b"");
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "authorization,content-type,x-sdk"
        );
        assert!(answer.header("access-control-allow-methods").contains("POST"));
        assert!(answer.header("vary").contains("Origin"));
    }
}

#[test]
fn the_event_itself_is_checked_against_the_projects_origins() {
    let server = Server::start();
    let refused = send_from(&server, "https://shop.example");
    assert_eq!(
        (refused.status, refused.json()["code"].clone()),
        (403, json!("origin_not_allowed"))
    );
    // Its events were not read: the request is counted, and nothing is received.
    assert_eq!(server.ledger()["received"], 0);
    let metrics = server.request("GET", "/metrics", &[], b"").text;
    let counted = r#"simple_analytics_http_requests_total{endpoint="ingest",code="origin_not_allowed"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    let origins = "https://shop.example,https://*.example.com";
    server.command(&[
        "project",
        "update",
        server.project_id(),
        "--cors-allowed-origins",
        origins,
    ]);
    wait_until("the new origins", || {
        let answer = send_from(&server, "https://shop.example");
        if answer.status == 202 { Ok(()) } else { Err(answer.text) }
    });
    let allowed = send_from(&server, "https://a.b.example.com");
    assert_eq!(allowed.status, 202);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://a.b.example.com");
    assert!(allowed.header("access-control-expose-headers").contains("Retry-After"));
    for origin in [
        "https://example.com",
        "http://shop.example",
        "https://shop.example.evil",
        "null",
        "https://shop.example:8443",
    ] {
        assert_eq!(send_from(&server, origin).status, 403, "{origin}");
    }
    // A server sends no origin: not a CORS matter.
    assert_eq!(server.send(&json!({"event_name": "server"})).status, 202);
    assert_eq!(server.wait_for_events(3)["count"], 3, "refused events are not queued");
}

#[test]
fn a_beacon_carries_its_key_in_the_url_and_its_json_as_text() {
    let server = Server::start();
    let path = format!("{INGEST}?key={}", server.public_key());
    let answer = server.request("POST", &path, &[("content-type", "text/plain;charset=UTF-8")], EVENT);
    assert_eq!(answer.status, 202, "{}", answer.text);
    let wrong = server.request(
        "POST",
        &format!("{INGEST}?key=sa_x"),
        &[("content-type", "text/plain")],
        EVENT,
    );
    assert_eq!(wrong.status, 401);
    server.wait_for_events(1);
}

#[test]
fn cookie_identification_gives_a_browser_a_stable_user() {
    let server = Server::start();
    let update = [
        "project",
        "update",
        server.project_id(),
        "--cookie-identification",
        "true",
        "--cors-allowed-origins",
        "*",
    ];
    assert!(
        send_from(&server, "https://shop.example")
            .header("set-cookie")
            .is_empty()
    );
    server.command(&update);
    let cookie = wait_until("a cookie", || {
        let answer = send_from(&server, "https://shop.example");
        let cookie = answer.header("set-cookie").to_owned();
        if cookie.is_empty() {
            Err(answer.text)
        } else {
            Ok(cookie)
        }
    });
    assert!(
        cookie.starts_with("sa_uid=") && cookie.contains("HttpOnly") && cookie.contains("Max-Age="),
        "{cookie}"
    );
    let pair = cookie.split(';').next().expect("a pair");
    let bearer = format!("Bearer {}", server.public_key());
    let headers = [
        ("authorization", bearer.as_str()),
        ("origin", "https://shop.example"),
        ("cookie", pair),
    ];
    let again = server.request("POST", INGEST, &headers, EVENT);
    assert_eq!((again.status, again.header("set-cookie")), (202, ""));
    let page = server.wait_for_events(2);
    let users: Vec<_> = page["results"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["user_id"].clone())
        .collect();
    assert_eq!(users, [json!(pair["sa_uid=".len()..]), json!(pair["sa_uid=".len()..])]);
}
