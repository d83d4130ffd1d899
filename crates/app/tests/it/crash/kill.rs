//! `kill -9` at random moments under load.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::RngExt;
use serde_json::{Value, json};

use super::journal::{Differences, Journal, settled_ledger, stored_ids};
use crate::harness::{Server, request};

const CLIENTS: usize = 8;
/// Kills in the gate; `CRASH_TEST_KILLS` asks for more.
const KILLS: usize = 20;

/// A client's requests: singles and batches in turn, each event with an id of its own.
fn bodies(client: usize) -> impl Iterator<Item = (&'static str, String, Vec<String>)> {
    (0..).map(move |number: usize| {
        let size = if number.is_multiple_of(3) { 1 + number % 40 } else { 1 };
        let ids: Vec<String> = (0..size).map(|index| format!("client-{client}-{number}-{index}")).collect();
        let event = |id: &String| json!({"event_name": "crash", "event_source": "test", "event_id": id, "properties": {"n": number}});
        if number.is_multiple_of(3) {
            ("/api/events/batch/", Value::Array(ids.iter().map(event).collect()).to_string(), ids)
        } else {
            ("/api/events/ingest/", event(&ids[0]).to_string(), ids)
        }
    })
}

/// Sends until told to stop; a request that was begun is retried until it is answered with 202.
fn client(number: usize, url: &Mutex<String>, key: &str, stop: &AtomicBool) -> Journal {
    let mut journal = Journal::default();
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (path, body, ids) in bodies(number) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        loop {
            let target = format!("{}{path}", url.lock().expect("a url"));
            match request(&target, "POST", &headers, body.as_bytes()) {
                Ok(answer) if answer.status == 202 => break,
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        journal.promise(ids);
    }
    journal
}

#[test]
fn nothing_is_lost_or_doubled_when_the_server_is_killed() {
    let kills = std::env::var("CRASH_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS);
    let mut server = Server::start().without_rate_limit();
    let key = server.public_key().to_owned();
    let url = Arc::new(Mutex::new(server.url.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (url, key, stop) = (Arc::clone(&url), key.clone(), Arc::clone(&stop));
            std::thread::spawn(move || client(number, &url, &key, &stop))
        })
        .collect();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..700)));
        server.kill_and_restart();
        server.url.clone_into(&mut url.lock().expect("a url"));
    }
    stop.store(true, Ordering::Relaxed);
    let mut journal = Journal::default();
    for client in clients {
        journal.merge(client.join().expect("a client"));
    }
    let ledger = settled_ledger(&server);
    assert_eq!(journal.compare(stored_ids(&server)), Differences::default());
    assert_eq!(ledger["stored"], json!(journal.len()), "{ledger}");
    assert!(
        journal.len() > kills * 10,
        "the test must have had something to lose: {}",
        journal.len()
    );
    println!(
        "{kills} kills, {} events promised and stored, ledger {ledger}",
        journal.len()
    );
}
