//! Everything arrives, and everything answers as before.

use serde_json::{Value, json};

use super::{Places, RAW_EVENT, contents, ledgers, moved, nasty_events, report, seed};
use crate::harness::{Server, backends::choose};

/// What the reading endpoints say of the first project.
fn answers(server: &Server) -> Vec<Value> {
    [
        "/api/events/query/?start_date=1900-01-01&end_date=1909-12-31&page_size=1000",
        "/api/events/query/?start_date=2020-01-01&end_date=2029-12-31&page_size=1000",
        "/api/events/summaries/daily/?start_date=2020-01-01&end_date=2029-12-31",
        "/api/events/aggregations/daily/?start_date=1900-01-01&end_date=1909-12-31",
    ]
    .map(|path| {
        let mut answer = server.read(path);
        // The address of the server is in them.
        for link in ["next", "previous"] {
            answer[link].take();
        }
        answer
    })
    .into()
}

/// Sends again what clients sent, and tells what became of it: nothing new may be stored.
fn retry(server: &Server) {
    let before = server.ledger();
    let named: Vec<Value> = nasty_events()
        .into_iter()
        .filter(|event| event["event_id"].is_string())
        .collect();
    let retries = named.len() as u64 + 1;
    assert_eq!(server.send_batch(named).status, 202);
    let raw = server.post(
        "/api/events/ingest/",
        server.public_key(),
        "application/json",
        RAW_EVENT.as_bytes(),
    );
    assert_eq!(raw.status, 202);
    let expected = before["duplicate"].as_u64().expect("a number") + retries;
    crate::harness::wait_until("duplicates", || match server.ledger()["duplicate"] == expected {
        true => Ok(()),
        false => Err(server.ledger().to_string()),
    });
    assert_eq!(server.ledger()["stored"], before["stored"]);
}

/// A request that brings an event of the second project's file under its client's name.
fn retry_of_an_import(server: &Server) {
    let projects = server.command(&["project", "list"]);
    let second = &projects[1];
    let key = second["public_api_key"].as_str().expect("a key");
    let event = json!({"event_name": "spread", "event_id": "spread-599"}).to_string();
    let duplicates = || {
        let status = server.command(&["event_status"]);
        let projects = status["projects"].as_array().expect("projects").clone();
        let second = projects.into_iter().find(|project| project["id"] == second["id"]);
        second.expect("the project")["ledger"].clone()
    };
    let before = duplicates();
    assert_eq!(
        server
            .post("/api/events/ingest/", key, "application/json", event.as_bytes())
            .status,
        202
    );
    let expected = before["duplicate"].as_u64().expect("a number") + 1;
    crate::harness::wait_until("a duplicate", || match duplicates()["duplicate"] == expected {
        true => Ok(()),
        false => Err(duplicates().to_string()),
    });
}

#[test]
fn a_round_trip_keeps_every_byte_and_every_answer() {
    let places = Places::new();
    seed(&places, "a");
    let (a, b) = (places.directory("a"), places.directory("b"));
    let (before, ledger) = (contents(&a), ledgers(&a));
    let mut server = Server::start_in(&a, &[]);
    let answered = answers(&server);
    assert!(server.stop().0, "exit code 0");
    assert!(
        answered.iter().all(|answer| answer["count"].as_u64() > Some(0)),
        "{answered:?}"
    );

    let there = moved(&mut places.move_there("a"));
    assert_eq!(there["copied_events"], 13 + 11_000 + 600 + 2);
    assert_eq!(
        (&there["waiting_events"], &there["left_events"]),
        (&json!(0), &json!(0))
    );
    // Again: nothing is left to do, and all of it is looked at again.
    let again = moved(&mut places.move_there("a"));
    assert_eq!(
        (&again["copied_events"], &again["projects"]),
        (&json!(0), &there["projects"])
    );

    // From a data directory that has nothing but the database.
    let elsewhere = places.directory("elsewhere");
    choose(&elsewhere, vec![("DATABASE_URL", places.database.url.clone())]);
    assert_eq!(contents(&elsewhere), before);
    assert_eq!(ledgers(&elsewhere), ledger);
    let mut server = Server::start_in(&elsewhere, &[]);
    assert_eq!(answers(&server), answered);
    assert!(server.stop().0, "exit code 0");

    let back = moved(&mut places.move_back("b"));
    assert_eq!(back["projects"], there["projects"]);
    assert_eq!(contents(&b), before);
    assert_eq!(ledgers(&b), ledger);
    let server = Server::start_in(&b, &[]);
    assert_eq!(answers(&server), answered);
    retry(&server);
    retry_of_an_import(&server);
}

#[test]
fn what_waits_is_stored_by_the_next_server_and_retries_are_known() {
    let places = Places::new();
    seed(&places, "a");
    let a = places.directory("a");
    // Stored, and perhaps not acknowledged: the queue may bring these again, and nobody but the store's checkpoint knows them.
    let mut server = Server::start_in(&a, &[]);
    let stored = server.ledger()["stored"].as_u64().expect("a number");
    server.send_batch((0..5).map(|number| json!({"event_name": "unnamed", "properties": {"number": number}})));
    server.wait_for_stored(stored + 5);
    server.kill();
    // Accepted by a server without a worker.
    let mut server = Server::start_in(&a, &["--roles", "api"]);
    server.send_batch((0..3).map(|number| json!({"event_name": "waiting", "properties": {"number": number}})));
    server.kill();
    let there = moved(&mut places.move_there("a"));
    assert!(there["waiting_events"].as_u64() >= Some(3), "{there}");

    choose(&a, vec![("DATABASE_URL", places.database.url.clone())]);
    let server = Server::start_in(&a, &[]);
    server.wait_for_stored(stored + 8);
    let ledger = server.ledger();
    assert_eq!(
        (&ledger["duplicate"], &ledger["waiting"]),
        (&json!(1), &json!(0)),
        "{ledger}"
    );
    retry(&server);
    retry_of_an_import(&server);
    assert_eq!(server.ledger()["stored"], stored + 8);
}

#[test]
fn rows_that_are_there_many_times_are_moved_as_often() {
    let places = Places::new();
    seed(&places, "a");
    moved(&mut places.move_there("a"));
    // As after retries beyond the days that ids are remembered; more than a page holds, at one time and with one id.
    places.database.sql(
        "insert into events select event.* from (select * from events where event_name = 'edge' order by timestamp limit 1) as event, \
         generate_series(1, 10005); update event_counts set count = count + 10005 where month = 0",
    );
    let back = moved(&mut places.move_back("b"));
    assert_eq!(back["copied_events"], 13 + 11_000 + 600 + 2 + 10_005);
    let (verified, is_success) = report(places.move_back("b").arg("--verify-only"));
    assert!(is_success, "{verified:#}");
    let verified_events = |side: &str| -> u64 {
        let projects = verified["projects"].as_array().expect("projects").iter();
        let days = projects.flat_map(|project| project["days"].as_array().expect("days"));
        days.filter_map(|day| day[side]["events"].as_u64()).sum()
    };
    assert_eq!(verified_events("to"), 13 + 11_000 + 600 + 2 + 10_005);
    assert_eq!(verified_events("from"), verified_events("to"));
}
