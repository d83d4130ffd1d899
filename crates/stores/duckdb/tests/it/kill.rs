//! Exactly once, proved by killing the process that appends and compacts.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use model::{EnrichedEvent, Outcome};
use store::{
    AppendBatch,
    AppendOutcome::{self, AlreadyApplied, Duplicate, Stored},
    EventStore, StoreError,
};
use store_duckdb::DuckdbStore;
use testkit::{
    build::{enriched_event, project},
    suites::store::{QUEUE, append, batch, column, count, ledger, named_event},
};

use crate::it::harness::open_at;

const DIRECTORY: &str = "STORE_KILL_TEST_DIRECTORY";
const ROUNDS: usize = 6;

/// The number of the event that a position of the queue brings: every tenth is a retry of one that a client has sent before.
fn number_at(position: u64) -> u64 {
    if position.is_multiple_of(10) {
        position - 4
    } else {
        position
    }
}

/// The event of a position: half of them are named by their client, and so are all that are sent again.
fn event_at(position: u64) -> EnrichedEvent {
    let number = number_at(position);
    let event = if number.is_multiple_of(2) {
        named_event(project(1), number.into())
    } else {
        enriched_event(project(1), number.into())
    };
    EnrichedEvent {
        user_id: format!("user {}", number % 97),
        ..event
    }
}

fn outcome_at(position: u64) -> AppendOutcome {
    if number_at(position) == position {
        Stored
    } else {
        Duplicate
    }
}

/// A number below `end` that differs from run to run.
fn random_below(end: u64) -> u64 {
    RandomState::new().build_hasher().finish() % end
}

async fn position(store: &DuckdbStore) -> u64 {
    store.checkpoint(QUEUE).await.unwrap().unwrap_or(0)
}

/// Appends from where the store is, a little of it once more, and prints every position that is acknowledged, until it is killed.
/// Does nothing unless the test below starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let store = Arc::new(open_at(&PathBuf::from(directory)).unwrap());
    let compacted = Arc::clone(&store);
    tokio::spawn(async move {
        loop {
            compacted.reclaim(true).await.unwrap();
            tokio::time::sleep(Duration::from_millis(random_below(60))).await;
        }
    });
    let mut next = batch_behind(position(&store).await);
    loop {
        let this = next;
        let last = this.checkpoint.unwrap().position;
        next = batch_behind(last);
        store.announce(&next);
        if random_below(3) == 0 {
            // Another one comes than was announced.
            next = batch_behind(last);
        }
        store.append(this).await.unwrap();
        println!("stored {last}");
    }
}

/// A batch that goes on behind `done`, with a little of it once more; some are large enough to be planned ahead.
fn batch_behind(done: u64) -> AppendBatch {
    let events = if random_below(2) == 0 { 80 } else { 900 };
    let first = done.saturating_sub(random_below(30)).max(1);
    let last = done + 1 + random_below(events);
    batch(first, (first..=last).map(event_at))
}

fn start(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["it::kill::child", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a child work for a while, kills it, and returns the last position that it acknowledged.
fn kill_one(directory: &Path) -> u64 {
    let mut child = start(directory);
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let position = |line: String| {
        line.strip_prefix("stored ")
            .and_then(|position| position.parse::<u64>().ok())
    };
    let mut acknowledged = lines.find_map(position).expect("the child works until it is killed");
    let refused = open_at(directory).map(drop);
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(message)) if message.contains("another process")),
        "{refused:?}"
    );
    // Meanwhile it goes on; what it prints fits the pipe.
    thread::sleep(Duration::from_micros(random_below(400_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be cut.
    let mut rest: Vec<String> = lines.collect();
    rest.pop();
    acknowledged = rest.into_iter().filter_map(position).fold(acknowledged, u64::max);
    acknowledged
}

/// That the store holds what the positions up to its own brought, and nothing else.
async fn check(store: &DuckdbStore) {
    let position = position(store).await;
    let numbers: BTreeSet<u64> = (1..=position).map(number_at).collect();
    assert_eq!(
        count(store, project(1)).await as u64,
        numbers.len() as u64,
        "rows up to {position}"
    );
    let ids: BTreeSet<_> = column(store, project(1), "id")
        .await
        .iter()
        .filter_map(|id| id.as_id())
        .collect();
    let expected: BTreeSet<_> = (1..=position).map(|position| event_at(position).id.0).collect();
    assert!(
        ids == expected,
        "{} ids up to {position}, not {}",
        ids.len(),
        expected.len()
    );
    let stored = ledger(store, project(1), Outcome::Stored).await;
    let duplicate = ledger(store, project(1), Outcome::Duplicate).await;
    assert_eq!((stored, stored + duplicate), (numbers.len() as u64, position));
    let users = column(store, project(1), "user_id || ' ' || uid").await;
    let users: BTreeSet<&str> = users.iter().filter_map(|user| user.as_text()).collect();
    assert!(users.len() <= 97, "a user has one number: {users:?}");
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_once_after_it() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let acknowledged = kill_one(directory.path());
        let store = open_at(directory.path()).unwrap();
        let position = position(&store).await;
        assert!(position >= acknowledged, "round {round}: {position} of {acknowledged}");
        check(&store).await;
    }
    // The queue lost its own mark, and delivers everything once more, with some more behind it.
    let store = open_at(directory.path()).unwrap();
    let before = position(&store).await;
    assert!(before > 100, "{before}");
    let end = before + 50;
    let mut first = 1;
    while first <= end {
        let last = (first + 499).min(end);
        let outcomes = append(&store, first, (first..=last).map(event_at)).await;
        for (position, outcome) in (first..).zip(outcomes) {
            let expected = if position <= before {
                AlreadyApplied
            } else {
                outcome_at(position)
            };
            assert_eq!(outcome, expected, "position {position} of {before}");
        }
        first = last + 1;
    }
    check(&store).await;
    drop(store);
    // Also where the index has to be derived from what the kills left.
    std::fs::remove_dir_all(directory.path().join("index")).unwrap();
    let store = open_at(directory.path()).unwrap();
    let retries: Vec<_> = (1..=end)
        .filter(|position| position.is_multiple_of(10))
        .map(event_at)
        .collect();
    let outcomes = append(&store, end + 1, retries).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Duplicate));
}
