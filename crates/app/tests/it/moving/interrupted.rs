//! `kill -9` in the middle, again and again.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::{Places, contents, moved, run};
use crate::harness::{backends::choose, command_in, wait_until};

/// Enough for several batches.
const EVENTS: &str = "40000";

fn seeded() -> Places {
    let places = Places::new();
    let a = places.directory("a");
    command_in(&a, &["project", "create", "--name", "Shop"]);
    run(&a, &["generate", "--events", EVENTS]);
    places
}

/// Starts a move and kills it as soon as `has_come_far`.
fn kill(mut command: Command, has_come_far: impl Fn() -> bool) {
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("starts");
    wait_until("the middle of the move", || {
        let ended = child.try_wait().expect("a process").is_some();
        (ended || has_come_far()).then_some(()).ok_or_else(String::new)
    });
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// A move that goes on where others were killed.
fn finish(command: &mut Command) -> Value {
    let report = moved(command);
    let (found, copied) = (report["found_events"].as_u64(), report["copied_events"].as_u64());
    assert!(
        found > Some(0) && copied > Some(0),
        "not killed in the middle: {found:?}, {copied:?}"
    );
    assert_eq!(
        found.unwrap_or(0) + copied.unwrap_or(0),
        EVENTS.parse::<u64>().expect("a number")
    );
    report
}

#[test]
fn a_move_to_postgres_goes_on_where_it_was_killed() {
    let places = seeded();
    let rows = || -> u64 {
        let is_there = places.database.sql("select to_regclass('event_counts') is not null");
        if is_there.trim() != "t" {
            return 0;
        }
        let count = places.database.sql("select coalesce(sum(count), 0) from event_counts");
        count.trim().parse().expect("a number")
    };
    kill(places.move_there("a"), || rows() >= 5_000);
    let first = rows();
    kill(places.move_there("a"), || rows() > first);
    finish(&mut places.move_there("a"));
    let elsewhere = places.directory("elsewhere");
    choose(&elsewhere, vec![("DATABASE_URL", places.database.url.clone())]);
    assert_eq!(contents(&elsewhere), contents(&places.directory("a")));
}

#[test]
fn a_move_from_postgres_goes_on_where_it_was_killed() {
    let places = seeded();
    moved(&mut places.move_there("a"));
    let log = places.directory("b").join("events/events-1.duckdb.wal");
    let bytes = |log: &Path| std::fs::metadata(log).map_or(0, |metadata| metadata.len());
    // A log of so many bytes holds a batch at least.
    kill(places.move_back("b"), || bytes(&log) > 3_000_000);
    finish(&mut places.move_back("b"));
    assert_eq!(contents(&places.directory("b")), contents(&places.directory("a")));
}
