//! `kill -9` of the server and of its Redis, and a Redis that stands still, at random moments under load.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::RngExt;
use serde_json::json;
use testkit::redis_server::RedisServer;

use super::journal::settled_ledger;
use crate::harness::{Server, backends::choose, request};

const CLIENTS: usize = 6;
/// Breaks of each kind.
const BREAKS: usize = 5;

/// Sends events without an id until told to stop, none of them twice. Returns the marks of those that were answered with 202.
fn client(number: usize, url: &Mutex<String>, key: &str, stop: &AtomicBool) -> Vec<String> {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let mut promised = Vec::new();
    for event in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mark = format!("{number}-{event}");
        let body = json!({"event_name": "crash", "properties": {"mark": mark}}).to_string();
        let target = format!("{}/api/events/ingest/", url.lock().expect("a url"));
        match request(&target, "POST", &headers, body.as_bytes()) {
            Ok(answer) if answer.status == 202 => promised.push(mark),
            // Of the others nothing is known.
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    promised
}

/// How often each mark is stored.
fn stored_marks(server: &Server) -> BTreeMap<String, u32> {
    let mut marks = BTreeMap::new();
    let mut path = "/api/events/query/?start_date=2020-01-01&end_date=2029-12-31&page_size=1000".to_owned();
    loop {
        let page = server.read(&path);
        for row in page["results"].as_array().expect("rows") {
            let mark = row["event_properties"]["mark"].as_str().expect("a mark");
            *marks.entry(mark.to_owned()).or_default() += 1;
        }
        match page["next"].as_str() {
            Some(next) => next
                .strip_prefix(&server.url)
                .expect("an address of this server")
                .clone_into(&mut path),
            None => return marks,
        }
    }
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn nothing_is_lost_or_doubled_when_the_server_and_its_redis_are_killed() {
    let redis = RedisServer::start("always");
    let mut config = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
    writeln!(config, "redis_url = \"{}\"", redis.url()).expect("written");
    let config_path = config.path().to_str().expect("a name").to_owned();
    let mut server = Server::start_with(&["--config", &config_path]).without_rate_limit();
    let key = server.public_key().to_owned();
    let url = Arc::new(Mutex::new(server.url.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (url, key, stop) = (Arc::clone(&url), key.clone(), Arc::clone(&stop));
            std::thread::spawn(move || client(number, &url, &key, &stop))
        })
        .collect();
    let moment = || std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..500)));
    for round in 0..BREAKS {
        moment();
        server.kill_and_restart();
        server.url.clone_into(&mut url.lock().expect("a url"));
        moment();
        redis.kill();
        moment();
        if round.is_multiple_of(2) {
            // A start without Redis.
            server.kill_and_restart();
            server.url.clone_into(&mut url.lock().expect("a url"));
        }
        redis.start_again();
        moment();
        redis.freeze();
        // Once long enough for the server to give it up.
        std::thread::sleep(Duration::from_millis(if round == 1 { 2_500 } else { 200 }));
        redis.thaw();
    }
    moment();
    stop.store(true, Ordering::Relaxed);
    let promised: Vec<String> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("a client"))
        .collect();
    let ledger = settled_ledger(&server);
    let stored = stored_marks(&server);
    let lost: Vec<_> = promised.iter().filter(|mark| !stored.contains_key(*mark)).collect();
    let doubled: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "lost {lost:?}, doubled {doubled:?}, ledger {ledger}"
    );
    assert_eq!(ledger["stored"], json!(stored.len()), "{ledger}");
    assert!(
        promised.len() > 100,
        "the test must have had something to lose: {}",
        promised.len()
    );
    println!(
        "{} events promised, {} stored, ledger {ledger}",
        promised.len(),
        stored.len()
    );
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn what_was_stored_before_a_crash_is_not_stored_again_from_redis() {
    let mut server = Server::start();
    let events = (0..200).map(|number| json!({"event_name": "crash", "properties": {"mark": number.to_string()}}));
    assert_eq!(server.send_batch(events).status, 202);
    server.wait_for_stored(200);
    // Before the queue has written down that it is done with them: it does so once a second.
    server.kill();
    let redis = RedisServer::start("always");
    choose(&server.data_dir, vec![("REDIS_URL", redis.url())]);
    server.restart();
    assert_eq!(
        server
            .send(&json!({"event_name": "crash", "properties": {"mark": "last"}}))
            .status,
        202
    );
    // In the order of the queue: whatever came again would be stored before it.
    server.wait_for_stored(201);
    let marks = stored_marks(&server);
    let again: Vec<_> = marks.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.is_empty(), "stored more than once: {again:?}");
    assert_eq!(marks.len(), 201);
}
