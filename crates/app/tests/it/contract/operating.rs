//! Health, metrics, the API's own description, stopping.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    PATIENCE, Server,
    backends::{Backends, Queue, Store},
    wait_until,
};

#[test]
fn health_tells_each_dependency() {
    let server = Server::start();
    for path in ["/health/live", "/health/live/"] {
        assert_eq!(server.request("GET", path, &[], b"").json(), json!({"status": "live"}));
    }
    let answer = server.request("GET", "/health/ready", &[], b"");
    assert_eq!((answer.status, answer.json()["status"].clone()), (200, json!("ready")));
    let body = answer.json();
    let names: Vec<_> = body["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["name"].clone(), it["kind"].clone(), it["ready"].clone()))
        .collect();
    let backends = Backends::of_the_run();
    let queue = match backends.queue {
        Queue::Embedded => "embedded",
        Queue::Redis => "redis",
    };
    let (events, metadata) = match backends.store {
        Store::Embedded => ("duckdb", "sqlite"),
        Store::Postgres => ("postgres", "postgres"),
    };
    let expected = [("queue", queue), ("event_store", events), ("metadata_store", metadata)];
    assert_eq!(
        names,
        expected.map(|(name, kind)| (json!(name), json!(kind), json!(true)))
    );
    assert!(
        body["dependencies"][0]["latency_ms"]
            .as_f64()
            .is_some_and(|latency| latency >= 0.0)
    );
}

#[test]
fn metrics_hold_the_ledger_the_queue_and_latencies() {
    let server = Server::start();
    server.send(&json!({"event_name": "a", "event_id": "1"}));
    server.send(&json!({"event_name": "a", "event_id": "1"}));
    server.send(&json!({"event_name": ""}));
    let project = server.project_id().to_owned();
    let mut lines = vec![
        format!(r#"simple_analytics_events_received_total{{project="{project}"}} 3"#),
        format!(r#"simple_analytics_events_outcome_total{{project="{project}",outcome="stored"}} 1"#),
        format!(r#"simple_analytics_events_outcome_total{{project="{project}",outcome="rejected:invalid_event"}} 1"#),
        "simple_analytics_queue_waiting_events 0".to_owned(),
        "simple_analytics_queue_oldest_waiting_seconds 0".to_owned(),
        r#"simple_analytics_http_requests_total{endpoint="ingest",code="ok"} 2"#.to_owned(),
        r#"simple_analytics_http_requests_total{endpoint="ingest",code="invalid_event"} 1"#.to_owned(),
        r#"simple_analytics_http_request_seconds_count{endpoint="ingest"} 3"#.to_owned(),
    ];
    if Backends::of_the_run().queue == Queue::Embedded {
        // Of a queue that servers share each knows a part.
        lines.push("simple_analytics_ledger_discrepancy_events 0".to_owned());
    }
    let text = wait_until("the metrics", || {
        let text = server.request("GET", "/metrics", &[], b"").text;
        match lines.iter().find(|line| !text.lines().any(|found| found == *line)) {
            None => Ok(text),
            Some(missing) => Err(format!("{missing}\n{text}")),
        }
    });
    assert!(
        !text.contains(server.public_key()) && !text.contains("127.0.0.1"),
        "no keys, no addresses"
    );
}

#[test]
fn the_description_names_every_path_and_has_a_page() {
    let server = Server::start();
    let document = server.request("GET", "/api/openapi.json", &[], b"").json();
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    for path in [
        "/api/events/ingest/",
        "/api/events/batch/",
        "/api/events/query/",
        "/api/events/aggregations/daily/",
        "/api/events/aggregations/hourly/",
        "/api/events/aggregations/5min/",
        "/api/events/summaries/daily/",
        "/api/events/metrics/realtime/",
        "/api/events/names/",
        "/api/events/sources/",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        assert!(
            paths.iter().any(|found| *found == path),
            "{path} is missing in {paths:?}"
        );
    }
    for path in ["/api/docs", "/api/docs/"] {
        let page = server.request("GET", path, &[], b"");
        assert_eq!(page.status, 200);
        assert!(
            page.text.contains("swagger-ui") && page.text.contains("<base href=\"/api/docs/\">"),
            "{}",
            page.text
        );
    }
    let script = server.request("GET", "/api/docs/swagger-initializer.js", &[], b"");
    assert!(script.text.contains("../openapi.json"), "{}", script.text);
    // Everything the page loads is served from here.
    let bundle = server.request("GET", "/api/docs/swagger-ui-bundle.js", &[], b"");
    assert_eq!(
        (bundle.status, bundle.header("content-type").contains("javascript")),
        (200, true)
    );
}

#[test]
fn a_base_path_moves_everything() {
    let server = Server::start_with(&["--base-path", "/analytics"]);
    assert!(server.url.ends_with("/analytics"), "{}", server.url);
    assert_eq!(server.send(&json!({"event_name": "a"})).status, 202);
    assert!(
        server
            .request("GET", "/api/docs", &[], b"")
            .text
            .contains("<base href=\"/analytics/api/docs/\">")
    );
}

#[test]
fn sigterm_empties_the_queue_and_what_was_accepted_is_there_after_a_restart() {
    let mut server = Server::start();
    let events: Vec<Value> = (0..3_000)
        .map(|number| json!({"event_name": "a", "event_id": number.to_string()}))
        .collect();
    server.command(&[
        "project",
        "update",
        server.project_id(),
        "--rate-limit-per-minute",
        "none",
    ]);
    wait_until("no limit", || {
        let answer = server.post(
            "/api/events/batch/",
            server.public_key(),
            "application/json",
            json!(events).to_string().as_bytes(),
        );
        if answer.status == 202 { Ok(()) } else { Err(answer.text) }
    });
    let (clean, took) = server.stop();
    assert!(clean, "exit code 0");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(!server.data_dir.join("admin.sock").exists());
    // Nothing is left in the queue: a command without a server finds none to store.
    let report = server.command(&["process_events"]);
    assert_eq!(
        (&report["stored"], &report["waiting"]),
        (&json!(0), &json!(0)),
        "{report}"
    );
    server.restart();
    assert_eq!(server.wait_for_events(3_000)["count"], 3_000);
}

#[test]
fn the_admin_socket_refuses_for_good_what_would_be_refused_again() {
    let server = Server::start();
    let status = |request: String| {
        let mut socket = UnixStream::connect(server.data_dir.join("admin.sock")).expect("the admin socket");
        write!(
            socket,
            "{request}host: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).map(str::to_owned)
    };
    let import = format!("POST /import?project={} HTTP/1.1\r\n", server.project_id());
    assert_eq!(status(import).as_deref(), Some("400"), "no lines");
    let delete = "DELETE /projects/x/events HTTP/1.1\r\n".to_owned();
    assert_eq!(status(delete).as_deref(), Some("400"), "no id");
}

#[test]
fn huge_pages_do_not_inflate_the_server() {
    let server = Server::start();
    let status = server.process_status();
    let enabled = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(enabled.map(str::trim), Some("0"), "{status}");
}

#[test]
fn what_is_refused_while_the_server_stops_is_counted() {
    let mut server = Server::start();
    let mut late = TcpStream::connect(server.url.trim_start_matches("http://")).expect("connects");
    late.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let body = r#"{"event_name":""}"#;
    let head = format!(
        "POST /api/events/ingest/ HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        server.public_key(),
        body.len()
    );
    late.write_all(head.as_bytes()).expect("the head is sent");
    // The request has arrived when another one, sent later, is answered.
    assert_eq!(server.request("GET", "/health/live", &[], b"").status, 200);
    let url = server.url.clone();
    let finishing = std::thread::spawn(move || {
        // A server that stops takes no new connections.
        wait_until("the server to stop", || {
            match TcpStream::connect(url.trim_start_matches("http://")) {
                Ok(_) => Err("it still listens".to_owned()),
                Err(_) => Ok(()),
            }
        });
        late.write_all(body.as_bytes()).expect("the body is sent");
        let mut answer = String::new();
        late.read_to_string(&mut answer).expect("an answer");
        answer
    });
    assert!(server.stop().0, "exit code 0");
    let answer = finishing.join().expect("ends");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    server.restart();
    server.expect_ledger(&[("received", 1), ("rejected", 1)]);
}
