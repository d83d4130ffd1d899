//! Queue files that were cut, flipped and overwritten while the server was down: it starts, tells what is damaged, and stores the rest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::journal::{Journal, settled_ledger, stored_ids};
use crate::harness::Server;

/// Single events that are accepted by a server without a worker, then a kill: all of them wait in the queue's files.
fn waiting_events(count: usize) -> (Server, Journal) {
    let mut server = Server::start_with(&["--roles", "api"]).without_rate_limit();
    let mut journal = Journal::default();
    for number in 0..count {
        let id = format!("event-{number}");
        let event =
            json!({"event_name": "damage", "event_id": id, "properties": {"text": model::key::random_text(200)}});
        assert_eq!(server.send(&event).status, 202);
        journal.promise([id]);
    }
    server.kill();
    (server, journal)
}

/// The newest queue file that holds events.
fn segment(data_dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(data_dir.join("queue"))
        .expect("the queue")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    files.sort();
    files.pop().expect("a segment")
}

/// Where an event's bytes are.
fn offset_of(bytes: &[u8], event_id: &str) -> usize {
    bytes
        .windows(event_id.len())
        .position(|window| window == event_id.as_bytes())
        .expect("the event")
}

/// Starts with a worker on what `damage` did to the newest segment; returns what became of the journal and the damaged count.
fn store_the_rest(mut server: Server, damage: impl FnOnce(&mut Vec<u8>)) -> (Vec<String>, Vec<String>, u64, Server) {
    let file = segment(&server.data_dir);
    let mut bytes = fs::read(&file).expect("the segment");
    damage(&mut bytes);
    fs::write(&file, &bytes).expect("written");
    server.set_arguments(&[]);
    server.restart();
    settled_ledger(&server);
    let metrics = server.request("GET", "/metrics", &[], b"").text;
    let damaged = metrics
        .lines()
        .find_map(|line| line.strip_prefix("simple_analytics_queue_damaged_records "));
    let damaged = damaged.expect("the metric").parse().expect("a number");
    let stored = stored_ids(&server);
    let doubled = Journal::default().compare(stored.clone()).doubled;
    (stored, doubled, damaged, server)
}

#[test]
fn a_flipped_byte_costs_one_event_and_is_told() {
    let (server, journal) = waiting_events(60);
    let flip = |bytes: &mut Vec<u8>| {
        let at = offset_of(bytes, "event-30") + 3;
        bytes[at] ^= 0x20;
    };
    let (stored, doubled, damaged, server) = store_the_rest(server, flip);
    let differences = journal.compare(stored);
    assert_eq!(
        (differences.lost, doubled, damaged),
        (vec!["event-30".to_owned()], Vec::<String>::new(), 1)
    );
    let kept: Vec<_> = fs::read_dir(server.data_dir.join("queue/damaged"))
        .expect("kept aside")
        .collect();
    assert!(!kept.is_empty(), "the damaged bytes are kept");
    let status: Value = server.command(&["event_status"]);
    assert_eq!(status["queue"]["damaged_records"], 1, "{status}");
}

#[test]
fn a_cut_file_costs_what_was_cut_and_is_told() {
    let (server, journal) = waiting_events(60);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(offset_of(bytes, "event-50"));
    let (stored, doubled, damaged, _server) = store_the_rest(server, cut);
    let lost = journal.compare(stored).lost;
    assert!(doubled.is_empty());
    assert!(lost.len() <= 10 && lost.contains(&"event-50".to_owned()), "{lost:?}");
    assert!(damaged >= 1, "the cut is told");
}

#[test]
fn bytes_behind_the_last_event_cost_nothing() {
    let (server, journal) = waiting_events(60);
    let scribble = |bytes: &mut Vec<u8>| {
        let from = offset_of(bytes, "event-20");
        // A write that was never acknowledged: half of an older record again, behind the last one.
        let torn = bytes[from..from + 300].to_vec();
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let room = bytes.len().min(end + torn.len());
        bytes[end..room].copy_from_slice(&torn[..room - end]);
    };
    let (stored, doubled, _, _server) = store_the_rest(server, scribble);
    assert_eq!(
        (journal.compare(stored).lost, doubled),
        (Vec::<String>::new(), Vec::<String>::new())
    );
}
