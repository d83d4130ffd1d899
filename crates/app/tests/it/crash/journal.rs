//! What clients were promised, against what is stored.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::Server;

/// Every event id that was answered with 202.
#[derive(Debug, Default)]
pub struct Journal {
    promised: BTreeSet<String>,
}

/// Where promise and store differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Promised, not stored.
    pub lost: Vec<String>,
    /// Stored more than once.
    pub doubled: Vec<String>,
    /// Stored, never promised.
    pub foreign: Vec<String>,
}

impl Journal {
    /// Takes down what one 202 promised.
    pub fn promise(&mut self, ids: impl IntoIterator<Item = String>) {
        self.promised.extend(ids);
    }

    /// How many were promised.
    pub fn len(&self) -> usize {
        self.promised.len()
    }

    /// Adds another client's journal.
    pub fn merge(&mut self, other: Self) {
        self.promised.extend(other.promised);
    }

    /// Compares with what is stored.
    pub fn compare(&self, stored: impl IntoIterator<Item = String>) -> Differences {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for id in stored {
            *counts.entry(id).or_default() += 1;
        }
        Differences {
            lost: self
                .promised
                .iter()
                .filter(|id| !counts.contains_key(*id))
                .cloned()
                .collect(),
            doubled: counts
                .iter()
                .filter(|(_, count)| **count > 1)
                .map(|(id, _)| id.clone())
                .collect(),
            foreign: counts
                .keys()
                .filter(|id| !self.promised.contains(*id))
                .cloned()
                .collect(),
        }
    }
}

/// The client event ids of everything that is stored, read page by page through the API.
pub fn stored_ids(server: &Server) -> Vec<String> {
    let mut ids = Vec::new();
    let mut path = "/api/events/query/?start_date=2020-01-01&end_date=2029-12-31&page_size=1000".to_owned();
    loop {
        let page = server.read(&path);
        for row in page["results"].as_array().expect("rows") {
            ids.push(row["event_id"].as_str().expect("an id").to_owned());
        }
        match page["next"].as_str() {
            Some(next) => next
                .strip_prefix(&server.url)
                .expect("an address of this server")
                .clone_into(&mut path),
            None => return ids,
        }
    }
}

/// Waits until nothing waits, then checks that the ledger adds up; returns it.
pub fn settled_ledger(server: &Server) -> serde_json::Value {
    let ledger = crate::harness::wait_until("an empty queue", || {
        let ledger = server.ledger();
        if ledger["waiting"] == 0 {
            Ok(ledger)
        } else {
            Err(ledger.to_string())
        }
    });
    let count = |name: &str| ledger[name].as_u64().expect("a count");
    let ended: u64 = ["stored", "duplicate", "sampled_out", "rejected", "dead_lettered"]
        .into_iter()
        .map(count)
        .sum();
    assert_eq!(count("received"), ended, "{ledger}");
    ledger
}

#[test]
fn the_checker_sees_loss_doubles_and_strangers() {
    let mut journal = Journal::default();
    journal.promise(["a", "b", "c"].map(str::to_owned));
    let stored = ["a", "b", "b", "x"].map(str::to_owned);
    let expected = Differences {
        lost: vec!["c".to_owned()],
        doubled: vec!["b".to_owned()],
        foreign: vec!["x".to_owned()],
    };
    assert_eq!(journal.compare(stored), expected);
    assert_eq!(
        journal.compare(["a", "b", "c"].map(str::to_owned)),
        Differences::default()
    );
}
