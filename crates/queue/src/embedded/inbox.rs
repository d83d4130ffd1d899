//! Where appends wait for the writer: bounded in bytes, taken in groups.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use model::limits;
use tokio::sync::{Semaphore, oneshot};

use super::format::encoded_bytes;
use crate::{QueueError, Record};

/// The semaphore counts in these.
const PERMIT_BYTES: usize = 1024;
const PERMITS: usize = limits::QUEUE_APPEND_BYTES_IN_FLIGHT_MAX / PERMIT_BYTES;

/// An append that waits to become durable.
pub(super) struct Request {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    permits: u32,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

impl Request {
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
            if taken > 0 && bytes + request.bytes > bytes_max {
                return taken;
            }
            bytes += request.bytes;
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
    pub(super) async fn append(&self, records: Vec<Record>) -> Result<(), QueueError> {
        let bytes: usize = records.iter().map(encoded_bytes).sum();
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
                bytes,
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
        // No wait for more to gather: a flush gathers those that come while it runs (measured, `docs/decisions/queue.md`).
        let taken = waiting.group(bytes_max);
        let group: Vec<Request> = waiting.requests.drain(..taken).collect();
        drop(waiting);
        let permits: usize = group.iter().map(|request| request.permits as usize).sum();
        self.room.add_permits(permits);
        Some(group)
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
