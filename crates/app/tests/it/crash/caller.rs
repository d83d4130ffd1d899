//! Somebody who asks for work and goes away.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use super::journal::{Differences, Journal, settled_ledger, stored_ids};
use crate::harness::{Server, wait_until};

const EVENTS_PER_REQUEST: usize = 1_000;

/// Fills the queue of a server that has no worker.
fn fill(server: &Server, requests: usize) -> Journal {
    let mut journal = Journal::default();
    for number in 0..requests {
        let ids: Vec<String> = (0..EVENTS_PER_REQUEST)
            .map(|index| format!("caller-{number}-{index}"))
            .collect();
        let events = ids.iter().map(|id| json!({"event_name": "a", "event_id": id}));
        let answer = server.send_batch(events);
        assert_eq!(answer.status, 202, "{}", answer.text);
        journal.promise(ids);
    }
    journal
}

/// Asks for small batches and closes the connection in the middle of one.
fn ask_and_leave(server: &Server, wait: Duration) {
    let body = json!({"batch_size": 20}).to_string();
    let mut socket = UnixStream::connect(server.data_dir.join("admin.sock")).expect("the admin socket");
    write!(
        socket,
        "POST /process HTTP/1.1\r\nhost: admin\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    std::thread::sleep(wait);
}

#[test]
fn a_caller_who_goes_away_takes_no_event_along() {
    let mut server = Server::start_with(&["--roles", "api"]).without_rate_limit();
    let journal = fill(&server, 4);
    for turn in 0..20 {
        ask_and_leave(&server, Duration::from_millis(40 + 7 * turn));
    }
    server.command(&["process_events"]);
    // A batch that was dropped half way would now lie below the store's checkpoint, and count as stored after a restart.
    server.set_arguments(&[]);
    server.restart_cleanly();
    let ledger = settled_ledger(&server);
    assert_eq!(ledger["stored"], 4 * EVENTS_PER_REQUEST, "{ledger}");
    assert_eq!(journal.compare(stored_ids(&server)), Differences::default());
}

#[test]
fn a_sender_who_goes_away_is_in_the_ledger() {
    let server = Server::start().without_rate_limit();
    server.command(&[
        "project",
        "update",
        server.project_id(),
        "--monthly-event-quota",
        "100000",
    ]);
    let events: Vec<Value> = (0..200).map(|_| json!({"event_name": "a"})).collect();
    let body = json!(events).to_string();
    for wait_us in (0..120).map(|turn| turn * 25) {
        let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).expect("connects");
        write!(
            socket,
            "POST /api/events/batch/ HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            server.public_key(),
            body.len()
        )
        .expect("sent");
        // Somewhere between reading and answering.
        std::thread::sleep(Duration::from_micros(wait_us));
        socket.shutdown(Shutdown::Both).expect("leaves");
    }
    // The ledger's count of what waits against the queue's own.
    wait_until("the ledger and the queue to agree", || {
        let metrics = server.request("GET", "/metrics", &[], b"").text;
        let discrepancy = metrics
            .lines()
            .find_map(|line| line.strip_prefix("simple_analytics_ledger_discrepancy_events "));
        match discrepancy {
            Some("0") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let ledger = settled_ledger(&server);
    let rows = &server.read("/api/events/query/?page_size=1")["count"];
    assert!(rows.as_u64().is_some_and(|rows| rows > 0), "{rows}");
    assert_eq!((&ledger["received"], &ledger["stored"]), (rows, rows), "{ledger}");
}
