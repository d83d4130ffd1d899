//! When a move says no, or finds a difference.

use std::{path::Path, thread};

use serde_json::{Value, json};
use testkit::postgres::TestDatabase;

use super::{Places, migrate, moved, refusal, report, run, seed};
use crate::harness::{Server, backends::choose, command_in, wait_until};

/// Days that differ, of all projects.
fn differing_days(report: &Value) -> Vec<Value> {
    let projects = report["projects"].as_array().expect("projects").iter();
    let days = projects.flat_map(|project| project["days"].as_array().expect("days").clone());
    days.filter(|day| day["from"] != day["to"]).collect()
}

#[test]
fn a_row_that_was_tampered_with_is_found() {
    let places = Places::new();
    seed(&places, "a");
    moved(&mut places.move_there("a"));
    let row = "event_name = 'spread' and event_id = 'spread-30'";
    places
        .database
        .sql(&format!("update events set properties = '{{\"x\":1 }}' where {row}"));
    let (verified, is_success) = report(places.move_there("a").arg("--verify-only"));
    assert!(!is_success && verified["same"] == false, "{verified:#}");
    let days = differing_days(&verified);
    assert_eq!(days.len(), 1, "{days:?}");
    assert_eq!(
        (&days[0]["day"], &days[0]["from"]["events"]),
        (&json!("2006-07-15"), &days[0]["to"]["events"])
    );

    // The same for people, and with a row less.
    places.database.sql(&format!("delete from events where {row}"));
    let a = places.directory("a").display().to_string();
    let output = crate::harness::binary()
        .args([
            "migrate-store",
            "--from",
            &a,
            "--to",
            &places.database.url,
            "--verify-only",
        ])
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("2006-07-15")).expect("the day");
    assert!(line.contains("differs"), "{text}");
    assert!(text.contains("They differ."), "{text}");
    // To copy would be to make a row twice, or to hide one.
    let told = refusal(&mut places.move_there("a"));
    assert!(
        told.contains("holds other events") && told.contains("2006-07-15"),
        "{told}"
    );
}

#[test]
fn differences_of_the_ledger_of_metadata_and_of_queues_are_told() {
    let places = Places::new();
    let project = seed(&places, "a");
    moved(&mut places.move_there("a"));
    let id = project["id"].as_str().expect("an id");
    places.database.sql(&format!(
        "update ledger set count = count + 1 where project_id = '{id}' and outcome = 'stored'; \
         update projects set sampling_rate = 0.5 where id = '{id}'; update checkpoints set position = 0; \
         delete from people"
    ));
    let (verified, is_success) = report(places.move_there("a").arg("--verify-only"));
    assert!(!is_success);
    assert_eq!(differing_days(&verified), Vec::<Value>::new());
    let told = verified["differences"].to_string();
    for expected in [
        format!("the ledger of project {id} counts 13 as stored"),
        format!("project {id} is another in the target"),
        "in the target up to 0".to_owned(),
        "person ".to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected}: {told}");
    }
}

#[test]
fn a_target_in_use_is_refused_and_left_alone() {
    let places = Places::new();
    seed(&places, "a");
    let other = places.directory("other");
    choose(&other, vec![("DATABASE_URL", places.database.url.clone())]);
    run(&other, &["project", "create", "--name", "Other"]);
    run(&other, &["generate", "--events", "20"]);
    let told = refusal(&mut places.move_there("a"));
    assert!(
        told.contains("the target is in use") && told.contains("is in the target alone"),
        "{told}"
    );
    assert!(told.contains("20 events of project"), "{told}");
    assert_eq!(places.database.sql("select count(*) from events").trim(), "20");
    assert_eq!(places.database.sql("select count(*) from projects").trim(), "1");
}

#[test]
fn a_source_in_use_is_refused() {
    let places = Places::new();
    let a = places.directory("a");
    let server = Server::start_in(&a, &[]);
    let told = refusal(&mut places.move_there("a"));
    assert!(told.contains("stop every server"), "{told}");
    drop(server);
    let told = refusal(&mut places.move_there("missing"));
    assert!(told.contains("is it a data directory?"), "{told}");
    assert!(!places.directory("missing").exists());
    let told = refusal(&mut migrate(
        &TestDatabase::create().url,
        &places.directory("new").display().to_string(),
    ));
    assert!(told.contains("there is nothing to move"), "{told}");
    let told = refusal(&mut migrate(
        &a.display().to_string(),
        "postgres://me:hunter2@127.0.0.1:1/x",
    ));
    assert!(told.contains("cannot reach") && !told.contains("hunter2"), "{told}");
}

#[test]
fn a_database_that_a_server_works_on_is_refused() {
    let places = Places::new();
    let served = places.directory("served");
    choose(&served, vec![("DATABASE_URL", places.database.url.clone())]);
    let mut server = Server::start_in(&served, &[]);
    let told = wait_until("the scheduler", || {
        let output = places.move_back("back").output().expect("runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if told.contains("a server works on") {
            Ok(told)
        } else {
            Err(told)
        }
    });
    assert!(told.contains("Stop every server"), "{told}");
    assert!(server.stop().0);
    moved(&mut places.move_back("there"));
}

#[test]
fn writes_to_the_source_meanwhile_are_noticed() {
    let places = Places::new();
    let a = places.directory("a");
    let project = command_in(&a, &["project", "create", "--name", "Shop"]);
    run(&a, &["generate", "--events", "100"]);
    moved(&mut places.move_there("a"));
    let id = project["id"].as_str().expect("an id").to_owned();
    // Shows its change when the move, half way, waits for the table that it holds.
    let writing = {
        let database = places.database.clone();
        thread::spawn(move || {
            database.sql(&format!(
                "begin; lock table sources in access exclusive mode; insert into ledger values ('{id}', 1, 'duplicate', 1); \
                 do $$ begin while not exists (select from pg_locks where not granted and relation = 'sources'::regclass) loop perform pg_sleep(0.02); end loop; end $$; commit"
            ))
        })
    };
    crate::harness::wait_until("the lock", || {
        let held = "select count(*) from pg_locks where relation = 'sources'::regclass and mode = 'AccessExclusiveLock' and granted";
        match places.database.sql(held).trim() {
            "0" => Err(String::new()),
            _ => Ok(()),
        }
    });
    let told = refusal(&mut places.move_back("b"));
    writing.join().expect("written");
    assert!(told.contains("the source was written to meanwhile"), "{told}");
    // Nothing writes any more.
    moved(&mut places.move_back("b"));
    assert!(is_there(&places.directory("b")));
}

fn is_there(directory: &Path) -> bool {
    directory.join("metadata.sqlite3").exists()
}
