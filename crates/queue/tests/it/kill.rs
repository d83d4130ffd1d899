//! The promise, proved by killing the process that made it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use queue::{EmbeddedQueue, EventQueue};
use testkit::{build::instant, clock::FixedClock};

use super::common::{options, read_numbers, record};

const DIRECTORY: &str = "QUEUE_KILL_TEST_DIRECTORY";
const FIRST: &str = "QUEUE_KILL_TEST_FIRST";

fn open(directory: &Path) -> EmbeddedQueue {
    let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
    EmbeddedQueue::open(directory, options(), clock).unwrap()
}

/// Appends numbers until it is killed and prints each one that is durable. Does nothing unless the test below starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Some(directory), Ok(first)) = (std::env::var_os(DIRECTORY), std::env::var(FIRST)) else {
        return;
    };
    let queue = Arc::new(open(&PathBuf::from(directory)));
    let first: usize = first.parse().unwrap();
    for lane in 0..4 {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            for index in 0.. {
                let number = first + index * 4 + lane;
                queue.append(record(number, 200).into()).await.unwrap();
                println!("durable {number}");
            }
        });
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_was_durable_before_a_kill_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut promised = Vec::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["it::kill::child", "--exact", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(FIRST, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = promised.len() + 100 + round * 37;
        let number = |line: String| {
            line.strip_prefix("durable ")
                .and_then(|number| number.parse::<usize>().ok())
        };
        while promised.len() < enough {
            let line = lines.next().expect("the child goes on until it is killed").unwrap();
            promised.extend(number(line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Said before the end and still in the pipe; a last line may be cut.
        let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.pop();
        promised.extend(rest.into_iter().filter_map(number));
    }
    let queue = open(directory.path());
    let found: std::collections::BTreeSet<usize> = read_numbers(&queue).await.into_iter().collect();
    let lost: Vec<_> = promised.iter().filter(|number| !found.contains(number)).collect();
    assert!(lost.is_empty(), "durable and not there: {lost:?}");
    assert!(found.len() >= promised.len());
    assert_eq!(queue.status().await.unwrap().damaged_records, 0);
}
