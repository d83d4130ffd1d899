//! A server whose reads go to a standby of its database.

use serde_json::{Value, json};
use testkit::postgres::PostgresServer;

use crate::harness::{Server, wait_until};

/// What `/health/ready` says of the replica.
fn replica(server: &Server) -> Value {
    let answer = server.request("GET", "/health/ready", &[], b"");
    // Whatever the replica does: without it the server is no less ready.
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["dependencies"][1]["replica"].clone()
}

fn wait_for_replica(server: &Server, serves: bool) -> Value {
    wait_until("the replica", || {
        let replica = replica(server);
        if replica["serves"] == serves {
            Ok(replica)
        } else {
            Err(replica.to_string())
        }
    })
}

#[test]
fn the_replica_and_its_lag_are_shown_and_no_read_fails_without_it() {
    let (primary, standby) = PostgresServer::start_with_standby();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("settings.toml");
    let text = format!(
        "database_url = \"{}\"\ndatabase_replica_url = \"{}\"\n",
        primary.url(),
        standby.url()
    );
    std::fs::write(&settings, text).expect("written");
    let settings = settings.to_str().expect("a path");
    let server = Server::start_in(&folder.path().join("data"), &["--config", settings]);
    server.send(&json!({"event_name": "a", "timestamp": "2026-01-01T00:00:00Z"}));
    server.wait_for_events(1);

    let shown = wait_for_replica(&server, true);
    assert!(shown["lag_seconds"].as_f64().is_some_and(|lag| lag >= 0.0), "{shown}");
    let status = server.command(&["event_status"]);
    assert_eq!(status["dependencies"][1]["replica"]["serves"], true, "{status}");
    let metrics = |line: &str| {
        let text = server.request("GET", "/metrics", &[], b"").text;
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    };
    metrics("simple_analytics_replica_serves 1");

    standby.kill();
    server.wait_for_events(1);
    let shown = wait_for_replica(&server, false);
    assert_eq!(shown["lag_seconds"], Value::Null, "{shown}");
    let status = server.command(&["event_status"]);
    let error = &status["dependencies"][1]["replica"]["error"];
    assert!(
        error.as_str().is_some_and(|error| error.contains("it is away")),
        "{status}"
    );
    metrics("simple_analytics_replica_serves 0");
    metrics("simple_analytics_replica_lag_seconds NaN");
    server.send(&json!({"event_name": "b", "timestamp": "2026-01-01T00:00:00Z"}));
    server.wait_for_events(2);
}
