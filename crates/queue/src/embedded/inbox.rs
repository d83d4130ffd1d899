//! Where appends wait for the writer: bounded in bytes, taken in groups.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use model::limits;
use tokio::sync::{Semaphore, oneshot};

use crate::{QueueError, Records};

/// The semaphore counts in these.
const PERMIT_BYTES: usize = 1024;
const PERMITS: usize = limits::QUEUE_APPEND_BYTES_IN_FLIGHT_MAX / PERMIT_BYTES;

/// Longest time that a group gathers: what a flush takes.
const GATHERING_MAX: Duration = Duration::from_micros(200);

/// An append that waits to become durable.
pub(super) struct Request {
    pub(super) records: Records,
    permits: u32,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

impl Request {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> usize {
        self.records.bytes().len()
    }

    /// Tells the one who waits. He may have gone: the append stands all the same.
    pub(super) fn answer(self, result: Result<(), QueueError>) {
        let _ = self.answer.send(result);
    }
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
    writer_sleeps: bool,
}

impl Waiting {
    /// How many of the first requests make a group.
    fn group(&self, bytes_max: usize) -> usize {
        let mut bytes = 0;
        for (taken, request) in self.requests.iter().enumerate() {
            if taken > 0 && bytes + request.bytes() > bytes_max {
                return taken;
            }
            bytes += request.bytes();
        }
        self.requests.len()
    }
}

/// The waiting room of the writer.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    room: Semaphore,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            room: Semaphore::new(PERMITS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands records to the writer and waits for its answer. Records handed over are appended even when the caller goes away.
    pub(super) async fn append(&self, records: Records) -> Result<(), QueueError> {
        let bytes = records.bytes().len();
        if bytes > limits::QUEUE_APPEND_BYTES_MAX {
            return Err(QueueError::Unavailable(format!(
                "an append of {bytes} bytes is more than the {} that one may have: send fewer events at once",
                limits::QUEUE_APPEND_BYTES_MAX
            )));
        }
        let permits = bytes.div_ceil(PERMIT_BYTES).min(PERMITS);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        self.room
            .acquire_many(permits)
            .await
            .map_err(|_| QueueError::Closed)?
            .forget();
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(QueueError::Closed);
            }
            waiting.requests.push_back(Request {
                records,
                permits,
                answer,
            });
            if waiting.writer_sleeps {
                waiting.writer_sleeps = false;
                self.arrived.notify_one();
            }
        }
        answered.await.unwrap_or_else(|_| {
            Err(QueueError::Unavailable(
                "its writer has stopped: restart the server".to_owned(),
            ))
        })
    }

    /// The next appends, in order, together at most `bytes_max` unless a single one has more. Sleeps until there is one;
    /// `None` once the inbox is closed and empty.
    pub(super) fn next_group(&self, bytes_max: usize) -> Option<Vec<Request>> {
        let mut waiting = self.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting.writer_sleeps = true;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.writer_sleeps = false;
        drop(waiting);
        let mut waiting = self.gathered();
        let taken = waiting.group(bytes_max);
        let group: Vec<Request> = waiting.requests.drain(..taken).collect();
        drop(waiting);
        let permits: usize = group.iter().map(|request| request.permits as usize).sum();
        self.room.add_permits(permits);
        Some(group)
    }

    /// Lets others run who are about to append, as long as more comes of it: a flush costs as much for two appends as for fifty.
    /// On an idle machine that is no wait at all, and no timer is needed (measured, `docs/decisions/queue.md`).
    fn gathered(&self) -> MutexGuard<'_, Waiting> {
        let begin = Instant::now();
        let mut seen = 0;
        loop {
            let waiting = self.lock();
            if waiting.requests.len() == seen || begin.elapsed() > GATHERING_MAX {
                return waiting;
            }
            seen = waiting.requests.len();
            drop(waiting);
            thread::yield_now();
        }
    }

    /// Whether every further append is refused: by [`Self::close`], or because the writer has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses further appends; those that wait are still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.arrived.notify_all();
    }

    /// Refuses further appends and drops those that wait: nobody will take them.
    pub(super) fn abandon(&self) {
        self.close();
        self.lock().requests.clear();
    }
}
