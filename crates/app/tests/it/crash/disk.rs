//! A full disk, and a store that is away.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::journal::{Differences, Journal, settled_ledger, stored_ids};
use crate::harness::{Server, wait_until};

/// Set, it lets these tests be skipped where mounting is not allowed. The gate does not set it.
const SKIP_ALLOWED: &str = "CRASH_TEST_SKIP_DISK";

/// A small file system of its own, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed and skipping is; a test that is not run must not look like one that passes.
    fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let options = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder.to_owned()));
        }
        let is_allowed = std::env::var_os(SKIP_ALLOWED).is_some_and(|value| !value.is_empty());
        assert!(
            is_allowed,
            "mounting a small file system is not allowed here: run the tests as root, or leave this one out with {SKIP_ALLOWED}=1"
        );
        eprintln!("SKIPPED: mounting a small file system is not allowed here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may not be quite gone.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn batch(number: usize) -> (Vec<Value>, Vec<String>) {
    let ids: Vec<String> = (0..200).map(|index| format!("disk-{number}-{index}")).collect();
    // Random text, so that nothing compresses.
    let event = |id: &String| json!({"event_name": "disk", "event_id": id, "properties": {"text": model::key::random_text(700)}});
    (ids.iter().map(event).collect(), ids)
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_disk) = SmallDisk::mount(folder.path(), 140) else {
        return;
    };
    let mut server = Server::start_in(&folder.path().join("data"), &[]).without_rate_limit();
    let ballast = folder.path().join("ballast");
    let mut journal = Journal::default();
    let mut next = 0;
    let mut send = |server: &Server, journal: &mut Journal| {
        let (events, ids) = batch(next);
        next += 1;
        let answer = server.send_batch(events);
        match answer.status {
            202 => journal.promise(ids),
            503 => {
                assert_eq!(answer.json()["code"], "not_durable", "{}", answer.text);
                assert!(answer.header("retry-after").parse::<u64>().is_ok());
                assert!(
                    !answer.text.contains("data/") && !answer.text.contains("os error"),
                    "{}",
                    answer.text
                );
            }
            status => panic!("{status}: {}", answer.text),
        }
        answer.status
    };
    assert_eq!(send(&server, &mut journal), 202);
    // The rest of the disk is taken by somebody else.
    fill(&ballast);
    // The queue reserves its files ahead: what fits is taken, then it refuses.
    let taken = (0..400).take_while(|_| send(&server, &mut journal) == 202).count();
    assert!(taken < 400, "a full disk must refuse");
    assert_eq!(send(&server, &mut journal), 503, "and go on refusing");
    assert!(!queue_is_ready(&server));
    // Reading still answers.
    server.read("/api/events/names/");
    server.kill_and_restart();
    assert_eq!(send(&server, &mut journal), 503);
    std::fs::remove_file(&ballast).expect("removed");
    wait_until("the queue to be ready by itself", || {
        queue_is_ready(&server).then_some(()).ok_or_else(String::new)
    });
    wait_until("the server to take events again", || {
        if send(&server, &mut journal) == 202 {
            Ok(())
        } else {
            Err("still refusing".to_owned())
        }
    });
    settled_ledger(&server);
    assert_eq!(journal.compare(stored_ids(&server)), Differences::default());
}

/// What a load balancer hears of the queue; it sends nothing to a server that is not ready.
fn queue_is_ready(server: &Server) -> bool {
    let answer = server.request("GET", "/health/ready", &[], b"");
    let queue = &answer.json()["dependencies"][0];
    assert_eq!(queue["name"], "queue");
    assert!(answer.status == 503 || queue["ready"] == true, "{}", answer.text);
    queue["ready"] == true
}

/// Writes a file until the disk has nothing left.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("a file");
    let block = vec![7_u8; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
}

#[test]
fn events_wait_while_the_store_is_away_then_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    // The store alone is on the small disk: the queue keeps its promise on the large one.
    let Some(_disk) = SmallDisk::mount(&data_dir.join("events"), 60) else {
        return;
    };
    let server = Server::start_in(&data_dir, &[]).without_rate_limit();
    let ballast = data_dir.join("events/ballast");
    fill(&ballast);
    let mut journal = Journal::default();
    for number in 0..20 {
        let (events, ids) = batch(number);
        let answer = server.send_batch(events);
        assert_eq!(answer.status, 202, "{}", answer.text);
        journal.promise(ids);
    }
    wait_until("the worker to be refused by the store", || {
        let text = server.request("GET", "/metrics", &[], b"").text;
        let retries = text
            .lines()
            .find_map(|line| line.strip_prefix("simple_analytics_store_retries_total "));
        if retries.is_some_and(|count| count != "0") {
            Ok(())
        } else {
            Err(text)
        }
    });
    std::fs::remove_file(&ballast).expect("removed");
    let ledger = settled_ledger(&server);
    assert_eq!(
        (&ledger["stored"], &ledger["dead_lettered"]),
        (&json!(4_000), &json!(0)),
        "{ledger}"
    );
    assert_eq!(journal.compare(stored_ids(&server)), Differences::default());
}
