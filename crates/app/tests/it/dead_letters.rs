//! `dead_letters` on the real binary, beside a server and without one.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use model::{AcceptedEvent, Clock, Deduplication, EventId, ProjectId, SystemClock};
use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue, Record, Records};
use serde_json::{Value, json};

use crate::harness::{Server, binary, command_in, wait_until};

fn event(project_id: ProjectId, name: &str) -> Record {
    let now = SystemClock.now();
    let event = AcceptedEvent {
        id: EventId(uuid::Uuid::now_v7()),
        project_id,
        client_event_id: None,
        event_name: name.to_owned(),
        event_source: None,
        user_id: Some("ada".to_owned()),
        anonymous_id: None,
        session_id: None,
        properties: "{}".to_owned(),
        timestamp: now,
        received_at: now,
        ip_address: None::<IpAddr>,
        user_agent: None,
        deduplication: Deduplication::Redelivery,
    };
    let mut records = Records::default();
    records.push_event(&event, now).expect("encodes");
    records.into_iter().next().expect("a record")
}

/// Puts a good event among the dead letters, and one that no build can read into the queue.
#[tokio::main(flavor = "current_thread")]
async fn prepare(data_dir: &Path, project: ProjectId) {
    let clock = Arc::new(SystemClock);
    let queue = EmbeddedQueue::open(&data_dir.join("queue"), EmbeddedOptions::default(), clock).expect("opens");
    queue.append(event(project, "revived").into()).await.expect("append");
    let [delivery] = &queue.read(1, Duration::from_secs(30)).await.expect("read")[..] else {
        panic!("one record");
    };
    queue
        .dead_letter(delivery, "the store was broken")
        .await
        .expect("set aside");
    queue.acknowledge(&[delivery.position]).await.expect("acknowledge");
    let unreadable = Record {
        payload: vec![0xff, 1, 2].into(),
        ..event(project, "unreadable")
    };
    queue.append(unreadable.into()).await.expect("append");
    queue.close().await.expect("close");
}

fn positions(report: &Value) -> Vec<u64> {
    let letters = report["letters"].as_array().expect("letters");
    letters
        .iter()
        .map(|letter| letter["position"].as_u64().expect("a position"))
        .collect()
}

fn run(data_dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = binary()
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .output()
        .expect("runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn dead_letters_are_listed_shown_retried_and_discarded() {
    let mut server = Server::start();
    assert_eq!(
        run(&server.data_dir, &["dead_letters", "list"]),
        (Some(0), "No dead letters.\n".to_owned())
    );
    assert!(server.stop().0);
    prepare(&server.data_dir, server.project_id().parse().expect("an id"));
    server.restart();
    let list = wait_until("the unreadable record to be set aside", || {
        let list = server.command(&["dead-letters", "list"]);
        if list["total"] == 2 {
            Ok(list)
        } else {
            Err(list.to_string())
        }
    });
    let [good, bad] = positions(&list)[..] else {
        panic!("{list}")
    };
    assert_eq!(list["letters"][0]["event"]["event_name"], "revived");
    assert_eq!(list["letters"][1]["payload"], "ff0102");
    let text = run(&server.data_dir, &["dead_letters", "list", "--limit", "1"]).1;
    assert!(
        text.contains("the store was broken") && text.contains("1 of 2 dead letters."),
        "{text}"
    );

    let shown = run(&server.data_dir, &["dead_letters", "show", &good.to_string()]);
    assert!(
        shown.0 == Some(0) && shown.1.contains("\"user_id\": \"ada\""),
        "{shown:?}"
    );
    let shown = run(&server.data_dir, &["dead_letters", "show", "999"]);
    assert!(
        shown.0 == Some(1) && shown.1.contains("no dead letter at 999"),
        "{shown:?}"
    );

    // The cause is gone for one, not for the other.
    let done = server.command(&["dead_letters", "retry", &good.to_string()]);
    assert_eq!(done, json!({"done": 1, "missing": [], "left": 1}));
    server.wait_for_stored(1);
    let again = run(&server.data_dir, &["dead_letters", "retry", &good.to_string()]);
    assert!(
        again.0 == Some(1) && again.1.contains(&format!("at {good}")),
        "{again:?}"
    );
    assert_eq!(server.command(&["dead_letters", "retry", "--all"])["done"], 1);
    let list = wait_until("it to be set aside again", || {
        let list = server.command(&["dead_letters", "list"]);
        if positions(&list).first().is_some_and(|first| *first > bad) {
            Ok(list)
        } else {
            Err(list.to_string())
        }
    });
    let ledger = server.ledger();
    assert_eq!(
        (
            &ledger["received"],
            &ledger["stored"],
            &ledger["dead_lettered"],
            &ledger["waiting"]
        ),
        (&json!(3), &json!(1), &json!(2), &json!(0)),
        "{ledger}"
    );

    discard(&mut server, positions(&list)[0], &ledger);
}

fn discard(server: &mut Server, position: u64, ledger: &Value) {
    let last = position.to_string();
    let refused = run(&server.data_dir, &["dead_letters", "discard", &last]);
    assert!(refused.0 == Some(2) && refused.1.contains("--yes"), "{refused:?}");
    assert!(server.stop().0);
    // The same without a server, and counted the same.
    let done = command_in(&server.data_dir, &["dead_letters", "discard", &last, "--yes"]);
    assert_eq!(done, json!({"done": 1, "missing": [], "left": 0}));
    server.restart();
    assert_eq!(server.ledger(), *ledger);
    assert_eq!(server.command(&["event_status"])["queue"]["dead_letters"], 0);
}
