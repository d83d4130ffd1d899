//! Keys, bodies, validation, idempotency, sources, clock skew.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::Server;

const INGEST: &str = "/api/events/ingest/";
const BATCH: &str = "/api/events/batch/";

#[test]
fn an_event_becomes_readable_with_everything_it_said() {
    let server = Server::start();
    let event = json!({
        "event_name": "  sign_up  ", "event_source": "web", "user_id": "u1", "session_id": "s1", "event_id": "e1",
        "properties": {"plan": "pro", "price": 12.50, "url": "https://www.example.com/a/?utm_source=news"},
        "timestamp": "2026-01-31T13:00:00+01:00", "unknown": [1, 2],
    });
    for path in [INGEST, "/api/events/ingest"] {
        let answer = server.post(
            path,
            server.public_key(),
            "application/json",
            event.to_string().as_bytes(),
        );
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (202, r#"{"status":"accepted","sampled":false}"#)
        );
    }
    let page = server.wait_for_events(1);
    assert_eq!(
        (&page["count"], &page["next"], &page["previous"]),
        (&json!(1), &Value::Null, &Value::Null)
    );
    let mut row = page["results"][0].clone();
    let created_at = row["created_at"].take();
    assert!(
        created_at.as_str().is_some_and(|text| text.ends_with('Z')),
        "{created_at}"
    );
    let id = row["id"].take();
    assert_eq!(id.as_str().map(str::len), Some(36));
    assert!(
        row["user_agent"]
            .take()
            .as_str()
            .is_some_and(|agent| agent.starts_with("ureq"))
    );
    let expected = json!({
        "id": null, "event_id": "e1", "project_name": "My project", "event_source_name": "web", "event_name": "sign_up",
        "event_properties": {"plan": "pro", "price": 12.50, "url": "https://www.example.com/a/?utm_source=news"},
        "user_id": "u1", "session_id": "s1", "ip_address": "127.0.0.1", "user_agent": null,
        "timestamp": "2026-01-31T12:00:00Z", "created_at": null,
    });
    assert_eq!(row, expected);
}

#[test]
fn every_bad_field_is_named_at_once() {
    let server = Server::start();
    let event = json!({
        "event_name": "   ", "event_source": "x".repeat(256), "user_id": {}, "session_id": "y".repeat(256),
        "properties": [], "timestamp": "yesterday",
    });
    let answer = server.send(&event);
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(
        (&body["error"], &body["code"]),
        (&json!("Invalid event data"), &json!("invalid_event"))
    );
    let fields: Vec<&String> = body["details"].as_object().expect("details").keys().collect();
    assert_eq!(fields.len(), 6, "{fields:?}");
    for field in [
        "event_name",
        "event_source",
        "user_id",
        "session_id",
        "properties",
        "timestamp",
    ] {
        let sentences = body["details"][field]
            .as_array()
            .unwrap_or_else(|| panic!("{field}: {body}"));
        assert!(
            sentences
                .iter()
                .all(|sentence| sentence.as_str().is_some_and(|text| text.len() > 5)),
            "{body}"
        );
    }
    server.expect_ledger(&[("received", 1), ("rejected", 1)]);
}

#[test]
fn only_the_public_key_of_an_active_project_sends() {
    let server = Server::start();
    let event = br#"{"event_name":"a"}"#;
    let (public, private) = (server.public_key().to_owned(), server.private_key().to_owned());
    let other_end = if public.ends_with('x') { 'y' } else { 'x' };
    let refused = [
        String::new(),
        "Bearer ".to_owned(),
        format!("Bearer {private}"),
        format!("Bearer  {public}"),
        format!("Bearer {}", public.to_uppercase()),
        format!("Bearer {}{other_end}", &public[..public.len() - 1]),
        format!("Basic {public}"),
        public.clone(),
    ];
    for authorization in &refused {
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = server.request("POST", INGEST, &headers, event);
        assert_eq!(answer.status, 401, "{authorization:?}: {}", answer.text);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.json()["code"], "unauthorized");
    }
    for padded in [format!("%20{public}"), format!("{public}%20"), format!("{public}%00")] {
        assert_eq!(
            server
                .request("POST", &format!("{INGEST}?key={padded}"), &[], event)
                .status,
            401,
            "{padded}"
        );
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = server.request(
            "POST",
            INGEST,
            &[("authorization", &format!("{scheme} {public}"))],
            event,
        );
        assert_eq!(answer.status, 202, "{scheme}: {}", answer.text);
    }
    let id = server.project_id().to_owned();
    let rotated = server.command(&["project", "rotate-keys", &id, "--public"]);
    let renewed = rotated["public_api_key"].as_str().expect("a key").to_owned();
    assert_ne!(renewed, public);
    wait_for_status(&server, &public, 401);
    wait_for_status(&server, &renewed, 202);
    server.command(&["project", "update", &id, "--is-active", "false"]);
    wait_for_status(&server, &renewed, 401);
}

fn wait_for_status(server: &Server, key: &str, status: u16) {
    let started = std::time::Instant::now();
    crate::harness::wait_until(&format!("status {status}"), || {
        let answer = server.post(INGEST, key, "application/json", br#"{"event_name":"a"}"#);
        if answer.status == status {
            Ok(())
        } else {
            Err(answer.text)
        }
    });
    assert!(
        started.elapsed().as_secs() < 10,
        "a changed setting must take effect within seconds"
    );
}

#[test]
fn bodies_may_be_encoded_and_are_bounded() {
    let server = Server::start();
    let event = br#"{"event_name":"encoded"}"#;
    let gzip = gzipped(event);
    let cases: [(&str, Vec<u8>); 3] = [
        ("gzip", gzip.clone()),
        ("deflate", deflated(event)),
        ("zstd", zstd::encode_all(&event[..], 3).expect("zstd")),
    ];
    for (encoding, body) in &cases {
        let answer = send_encoded(&server, INGEST, encoding, body);
        assert_eq!(answer.status, 202, "{encoding}: {}", answer.text);
    }
    assert_eq!(send_encoded(&server, INGEST, "compress", event).status, 415);
    let broken = send_encoded(&server, INGEST, "gzip", event);
    assert_eq!(
        (broken.status, broken.json()["code"].as_str().is_some()),
        (400, true),
        "{}",
        broken.text
    );
    // A bomb: 200 MB of blanks in some 200 KB.
    let bomb = gzipped(&vec![b' '; 200_000_000]);
    for path in [INGEST, BATCH] {
        let answer = send_encoded(&server, path, "gzip", &bomb);
        assert_eq!(answer.status, 413, "{}", answer.text);
    }
    let large = json!({"event_name": "a", "properties": {"text": "x".repeat(2_000_000)}}).to_string();
    assert_eq!(
        server
            .post(INGEST, server.public_key(), "application/json", large.as_bytes())
            .status,
        413
    );
    let properties = json!({"event_name": "a", "properties": {"text": "x".repeat(65_536)}});
    let answer = server.send(&properties);
    assert_eq!(answer.status, 400);
    assert!(answer.json()["details"]["properties"].is_array(), "{}", answer.text);
    assert_eq!(server.wait_for_events(3)["count"], 3);
}

fn send_encoded(server: &Server, path: &str, encoding: &str, body: &[u8]) -> crate::harness::Answer {
    let bearer = format!("Bearer {}", server.public_key());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("content-encoding", encoding),
    ];
    server.request("POST", path, &headers, body)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("deflate");
    encoder.finish().expect("deflate")
}

#[test]
fn what_is_no_event_gets_a_clear_answer() {
    let server = Server::start();
    let cases: [(&str, &[u8], u16); 7] = [
        ("application/json", b"", 400),
        ("application/json", b"{\"event_name\":", 400),
        ("application/json", b"\xff\xfe", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"42", 400),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/xml", b"<event/>", 415),
    ];
    for (content_type, body, status) in cases {
        let answer = server.post(INGEST, server.public_key(), content_type, body);
        assert_eq!(answer.status, status, "{content_type} {body:?}: {}", answer.text);
        let json = answer.json();
        assert!(json["error"].as_str().is_some_and(|text| text.len() > 10), "{json}");
        assert!(
            json["code"]
                .as_str()
                .is_some_and(|code| !code.is_empty() && !code.contains(' ')),
            "{json}"
        );
    }
    let answer = server.request("PUT", INGEST, &[], b"{}");
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (405, json!("method_not_allowed"))
    );
    let answer = server.request("POST", "/api/nothing/", &[], b"{}");
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (404, json!("not_found"))
    );
    // curl -d sends this type when none is named: the body decides.
    let answer = server.post(
        INGEST,
        server.public_key(),
        "application/x-www-form-urlencoded",
        br#"{"event_name":"curl"}"#,
    );
    assert_eq!(answer.status, 202, "{}", answer.text);
}

#[test]
fn a_batch_keeps_good_events_beside_bad_ones_in_every_form() {
    let server = Server::start();
    let good = |name: &str| json!({"event_name": name, "timestamp": "2026-01-01T00:00:00Z"});
    let events = json!([good("one"), {"event_name": ""}, good("two"), 7]);
    let lines = format!("{}\n\n{{\"event_name\":\n{}\n[]\n", good("three"), good("four"));
    let bodies = [
        ("application/json", events.to_string()),
        ("application/json", json!({"events": events}).to_string()),
        ("application/x-ndjson", lines),
    ];
    for (content_type, body) in &bodies {
        for path in [BATCH, "/api/events/batch"] {
            let answer = server.post(path, server.public_key(), content_type, body.as_bytes());
            assert_eq!(answer.status, 202, "{}", answer.text);
            let json = answer.json();
            assert_eq!(
                (&json["status"], &json["accepted"], &json["sampled"]),
                (&json!("accepted"), &json!(2), &json!(0)),
                "{json}"
            );
            let indices: Vec<_> = json["rejected"]
                .as_array()
                .expect("rejected")
                .iter()
                .map(|it| it["index"].clone())
                .collect();
            assert_eq!(indices, [1, 3], "{json}");
            assert!(
                json["rejected"][0]["details"].is_object() && json["rejected"][0]["error"].is_string(),
                "{json}"
            );
        }
    }
    assert_eq!(server.wait_for_events(12)["count"], 12);
    server.expect_ledger(&[("received", 24), ("stored", 12), ("rejected", 12)]);

    let all_bad = server.post(
        BATCH,
        server.public_key(),
        "application/json",
        br#"[{"event_name":""},{}]"#,
    );
    assert_eq!(
        (all_bad.status, all_bad.json()["error"].clone()),
        (400, json!("Invalid event data"))
    );
    for body in ["[]", "{}", r#"{"events":{}}"#, "null"] {
        assert_eq!(
            server
                .post(BATCH, server.public_key(), "application/json", body.as_bytes())
                .status,
            400,
            "{body}"
        );
    }
    let many = format!("[{}{{}}]", r#"{"event_name":"a"},"#.repeat(10_000));
    assert_eq!(
        server
            .post(BATCH, server.public_key(), "application/json", many.as_bytes())
            .status,
        413
    );
}

#[test]
fn an_event_id_is_stored_once_also_after_a_restart() {
    let mut server = Server::start();
    let send = |server: &Server, time: &str| {
        let event = json!({"event_name": "once", "event_id": "same", "timestamp": time});
        assert_eq!(server.send(&event).status, 202);
    };
    send(&server, "2026-01-01T00:00:00Z");
    server.wait_for_events(1);
    send(&server, "2026-01-01T00:00:00.003Z");
    server.kill_and_restart();
    send(&server, "2026-01-01T00:00:00.007Z");
    let batch = json!([{"event_name": "once", "event_id": "same"}, {"event_name": "once", "event_id": "other"}]);
    let answer = server.post(
        BATCH,
        server.public_key(),
        "application/json",
        batch.to_string().as_bytes(),
    );
    assert_eq!(answer.json()["accepted"], 2);
    assert_eq!(server.wait_for_events(2)["count"], 2);
    crate::harness::wait_until("an empty queue", || {
        let ledger = server.ledger();
        if ledger["waiting"] == 0 {
            Ok(())
        } else {
            Err(ledger.to_string())
        }
    });
    let ledger = server.ledger();
    assert_eq!(
        (&ledger["received"], &ledger["stored"], &ledger["duplicate"]),
        (&json!(5), &json!(2), &json!(3)),
        "{ledger}"
    );
    // The same id in another project is another event.
    let other = server.command(&["project", "create", "--name", "Other"]);
    let key = other["public_api_key"].as_str().expect("a key");
    crate::harness::wait_until("the new project's key", || {
        let answer = server.post(
            INGEST,
            key,
            "application/json",
            br#"{"event_name":"once","event_id":"same"}"#,
        );
        if answer.status == 202 { Ok(()) } else { Err(answer.text) }
    });
    crate::harness::wait_until("the other project's event", || {
        let page = server
            .get("/api/events/query/", other["private_api_key"].as_str().expect("a key"))
            .json();
        if page["count"] == 1 {
            Ok(())
        } else {
            Err(page.to_string())
        }
    });
}

#[test]
fn user_and_session_are_filled_in_the_same_for_every_replay() {
    let server = Server::start();
    for (minute, anonymous_id) in [(0, None), (59, None), (60, None), (0, Some("browser-1"))] {
        let hour = 10 + minute / 60;
        let mut event =
            json!({"event_name": "visit", "timestamp": format!("2026-01-01T{hour}:{:02}:00Z", minute % 60)});
        if let Some(id) = anonymous_id {
            event["anonymous_id"] = id.into();
        }
        assert_eq!(server.send(&event).status, 202);
    }
    let page = server.wait_for_events(4);
    let rows: Vec<&Value> = page["results"].as_array().expect("rows").iter().collect();
    let hashed: Vec<&&Value> = rows.iter().filter(|row| row["user_id"] != "browser-1").collect();
    assert_eq!(hashed.len(), 3);
    let user = hashed[0]["user_id"].as_str().expect("a user");
    assert!(
        user.strip_prefix("hash_")
            .is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{user}"
    );
    assert!(hashed.iter().all(|row| row["user_id"] == user), "{hashed:?}");
    // Newest first: 11:00 is in the next 60-minute window, 10:59 and 10:00 share one.
    assert_ne!(hashed[0]["session_id"], hashed[1]["session_id"]);
    assert_eq!(hashed[1]["session_id"], hashed[2]["session_id"]);
}

#[test]
fn a_wrong_client_clock_is_corrected_and_the_far_future_replaced() {
    let server = Server::start();
    // The client's clock is a year behind: the event happened 90 s before it was sent.
    let event = json!({"event_name": "skewed", "timestamp": "2025-01-01T00:00:00Z", "sent_at": "2025-01-01T00:01:30Z"});
    assert_eq!(server.send(&event).status, 202);
    assert_eq!(
        server
            .send(&json!({"event_name": "future", "timestamp": "2029-01-01T00:00:00Z"}))
            .status,
        202
    );
    let page = server.wait_for_events(2);
    for row in page["results"].as_array().expect("rows") {
        let at = |field: &str| {
            row[field]
                .as_str()
                .expect("a time")
                .parse::<jiff::Timestamp>()
                .expect("a time")
        };
        let seconds = at("created_at").duration_since(at("timestamp")).as_secs();
        let expected = if row["event_name"] == "skewed" { 90 } else { 0 };
        assert_eq!(seconds, expected, "{row}");
    }
}
