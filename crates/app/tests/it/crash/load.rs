//! Clients that send without end, and write down what they were promised.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::journal::Journal;
use crate::harness::request;

/// Wait of a client whose request was not accepted.
const RETRY_WAIT: Duration = Duration::from_millis(5);

/// What the clients of a test share.
pub struct Load {
    /// Where servers answer; a client that is refused at one goes to the next.
    urls: Mutex<Vec<String>>,
    key: String,
    stop: AtomicBool,
    /// Events a second of all clients together; 0 = as many as are answered.
    rate: AtomicU64,
    promised: AtomicU64,
    /// Events of requests that got no 202; each of them was sent again.
    sent_again: AtomicU64,
    next: Mutex<Instant>,
}

/// Clients at work.
pub struct Clients {
    load: Arc<Load>,
    threads: Vec<JoinHandle<Journal>>,
}

impl Clients {
    /// Starts so many, which send with a project's public key. `name` begins the ids of their events.
    pub fn start(name: &'static str, clients: usize, urls: &[String], key: &str) -> Self {
        let load = Arc::new(Load {
            urls: Mutex::new(urls.to_vec()),
            key: key.to_owned(),
            stop: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            sent_again: AtomicU64::new(0),
            next: Mutex::new(Instant::now()),
        });
        let threads = (0..clients)
            .map(|number| {
                let load = Arc::clone(&load);
                std::thread::spawn(move || load.client(name, number))
            })
            .collect();
        Self { load, threads }
    }

    /// A server answers elsewhere now.
    pub fn set_url(&self, server: usize, url: &str) {
        url.clone_into(&mut self.load.urls.lock().expect("urls")[server]);
    }

    /// From now on all together send so many events a second.
    pub fn set_rate(&self, events_per_second: u64) {
        self.load.rate.store(events_per_second, Ordering::Relaxed);
    }

    /// Events that were promised so far.
    pub fn promised(&self) -> u64 {
        self.load.promised.load(Ordering::Relaxed)
    }

    /// Lets every client finish its request; returns what was promised, and how many events were sent more than once for it.
    pub fn stop(self) -> (Journal, u64) {
        self.load.stop.store(true, Ordering::Relaxed);
        let mut journal = Journal::default();
        for client in self.threads {
            journal.merge(client.join().expect("a client"));
        }
        (journal, self.load.sent_again.load(Ordering::Relaxed))
    }
}

impl Load {
    /// Sends until told to stop; a request that was begun is retried until it is answered with 202.
    fn client(&self, name: &str, number: usize) -> Journal {
        let mut journal = Journal::default();
        let bearer = format!("Bearer {}", self.key);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let mut turn = number;
        for (path, body, ids) in bodies(name, number) {
            self.wait_for_turn(ids.len());
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            loop {
                let url = {
                    let urls = self.urls.lock().expect("urls");
                    format!("{}{path}", urls[turn % urls.len()])
                };
                match request(&url, "POST", &headers, body.as_bytes()) {
                    Ok(answer) if answer.status == 202 => break,
                    Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
                    Err(_) => {}
                }
                self.sent_again.fetch_add(ids.len() as u64, Ordering::Relaxed);
                turn += 1;
                std::thread::sleep(RETRY_WAIT);
            }
            turn += 1;
            self.promised.fetch_add(ids.len() as u64, Ordering::Relaxed);
            journal.promise(ids);
        }
        journal
    }

    /// Waits until `events` more are within the rate.
    fn wait_for_turn(&self, events: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let wait = {
            let mut next = self.next.lock().expect("a time");
            let now = Instant::now();
            // What could not be sent during an outage is not made up for.
            let turn = (*next).max(now);
            *next = turn + Duration::from_secs_f64(events as f64 / rate as f64);
            turn - now
        };
        std::thread::sleep(wait);
    }
}

/// A client's requests: singles and batches in turn, each event with an id of its own.
fn bodies(name: &str, client: usize) -> impl Iterator<Item = (&'static str, String, Vec<String>)> {
    (0..).map(move |number: usize| {
        let size = if number.is_multiple_of(3) { 1 + number % 40 } else { 1 };
        let ids: Vec<String> = (0..size).map(|index| format!("{name}-{client}-{number}-{index}")).collect();
        let event = |id: &String| json!({"event_name": "crash", "event_source": "test", "event_id": id, "properties": {"n": number}});
        if number.is_multiple_of(3) {
            ("/api/events/batch/", Value::Array(ids.iter().map(event).collect()).to_string(), ids)
        } else {
            ("/api/events/ingest/", event(&ids[0]).to_string(), ids)
        }
    })
}
