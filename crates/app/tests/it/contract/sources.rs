//! `docs/contract`, sources: made when they are first seen, switched off by people.

use serde_json::json;

use crate::harness::Server;

#[test]
fn sources_are_made_on_first_sight_and_can_be_switched_off() {
    let server = Server::start();
    assert_eq!(
        server.send(&json!({"event_name": "a", "event_source": " web "})).status,
        202
    );
    let list = crate::harness::wait_until("the source", || {
        let list = server.read("/api/events/sources/");
        if list["count"] == 1 {
            Ok(list)
        } else {
            Err(list.to_string())
        }
    });
    let source = &list["event_sources"][0];
    assert_eq!(
        (&source["name"], &source["description"]),
        (&json!("web"), &json!("Auto-created source: web"))
    );
    assert!(source["created_at"].as_str().is_some_and(|text| text.ends_with('Z')));
    let id = source["id"].as_str().expect("an id");
    server.command(&["source", "update", id, "--is-active", "false"]);
    let refused = crate::harness::wait_until("the switch", || {
        let answer = server.send(&json!({"event_name": "a", "event_source": "web"}));
        if answer.status == 400 {
            Ok(answer)
        } else {
            Err(answer.text)
        }
    });
    assert_eq!(refused.json()["code"], "inactive_source");
    assert_eq!(
        server.read("/api/events/sources/")["count"],
        0,
        "only active sources are listed"
    );
    assert_eq!(
        server.send(&json!({"event_name": "a", "event_source": "app"})).status,
        202
    );
}

#[test]
fn a_batch_that_only_a_source_s_limit_refuses_is_to_be_sent_again() {
    let server = Server::start();
    let batch = || {
        let event = json!({"event_name": "a", "event_source": "web"});
        server.send_batch([event.clone(), event])
    };
    assert_eq!(batch().status, 202);
    let source = crate::harness::wait_until("the source", || {
        let list = server.command(&["source", "list"]);
        list[0]["id"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| list.to_string())
    });
    server.command(&["source", "update", &source, "--rate-limit-per-minute", "1"]);
    // One passes, then none; a program that reads 400 throws its events away.
    let refused = crate::harness::wait_until("the limit", || {
        let answer = batch();
        if answer.status == 202 {
            Err(answer.text)
        } else {
            Ok(answer)
        }
    });
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (429, &json!("rate_limited")),
        "{}",
        refused.text
    );
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds >= 1)
    );
}
