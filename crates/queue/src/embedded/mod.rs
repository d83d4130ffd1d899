//! The embedded queue: a log of segment files with a group commit.
//!
//! Why not a key-value store: `docs/decisions/queue.md` has the figures. In short, one flipped byte costs them everything that waits,
//! or is handed on unnoticed; here it costs one record and is told.
//!
//! # What must stay true
//! - An append returns after its records are in a segment, flushed (`fdatasync`), under a name that is durable.
//! - A position is given once, ever: the store takes a position at or below its checkpoint for stored (`store::EventStore::append`), so
//!   that a position given twice would be an event lost.
//! - What is damaged costs no more than the records whose own bytes are damaged. It is logged, counted and kept aside.
//! - Bytes on disk, bytes in memory and appends in flight are bounded (`model::limits`, `QUEUE_*`).
//!
//! # Files
//! ```text
//! lock                          held by the process that has the queue open
//! checkpoint                    id, watermark, durable end: two slots of 4096 bytes, written in turn
//! 0000000000000001.segment      records from position 1 on (16 hex digits)
//! dead/<position>.letter        a dead letter: magic 8 · CRC 4 · postcard
//! damaged/<segment>-<offset>.*  damaged bytes (.bin) and what is known of them (.json)
//! ```
//!
//! # Bytes
//! All numbers are little-endian; checksums are CRC-32 (IEEE).
//!
//! Segment header, 64 bytes: magic `SAQUEUE\n` · checksum of what follows u32 · version u32 (1) · queue id 16 · base u64 · capacity u64 ·
//! base of the previous segment u64 · end of the previous segment u64. Then records, one behind the other, then zeros: a segment is
//! reserved whole, so that a full disk shows when it is made and a flush need not grow the file (measured: half the time).
//!
//! Record, 56 bytes and payload: magic u32 · checksum of the rest of the header u32 · position u64 · project 16 · received at i64 (µs) ·
//! events u32 · following u32 (records of the same append after this one) · payload bytes u32 · checksum of the payload u32 · payload.
//! Both checksums start from a number made of the queue's id, which nobody outside knows: a client cannot write an event whose bytes
//! would pass for a record, should damage make the queue search for the next one.
//!
//! Checkpoint slot, 64 bytes: magic `SAQCHKP\n` · checksum u32 · version u32 · queue id 16 · sequence u64 · watermark u64 · durable end u64 ·
//! closed u64. The sound slot with the greater sequence counts. Written once a second when something changed, and at close.
//!
//! # What a start trusts
//! 1. Names of segments give their base even when the header is damaged.
//! 2. Headers of records, one behind the other, each with exactly the next position. Payloads are checked when they are read.
//! 3. Where that breaks, the next sound header whose position can lie there. Between the two: damage; the positions missing are the
//!    records lost. A repeated piece has old positions and is damage that costs nothing.
//! 4. The end of a segment is told by the one after it. What stands behind that end is left over from a write that failed.
//! 5. The end of the newest segment: an append that is not whole (`following`), or a last record that ends in zeros, is torn: it was never
//!    acknowledged, and goes, unless the checkpoint says that it was durable. Then it is damage. A file shorter than it was reserved was
//!    cut by somebody else: damage, unless the checkpoint says that the queue was closed there.
//! 6. Nothing is ever written behind what a start finds: the first append makes a new segment, 2^32 positions on.
//!
//! # Failures while running
//! A failed write or flush ends the segment: its durable records stay readable, the appends that waited are refused, the next append
//! makes a new segment. A full disk or a full queue refuses (`QueueError::Full`) and goes on when there is room.
//!
//! # Threads
//! `queue-writer` takes all appends that wait, and writes and flushes them together (how: `docs/decisions/queue.md`). `queue-keeper` writes the checkpoint, then removes
//! segments below its watermark. Reads are served from memory while the consumers keep up, else in chunks from disk.

mod blocks;
mod checkpoint;
mod damage;
mod dead;
pub mod files;
mod format;
mod inbox;
mod keeper;
mod readiness;
mod recovery;
mod segment;
mod shared;
mod state;
mod survey;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use model::{Clock, limits};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use self::{
    files::{DirectoryLock, FileSystem, SystemFiles},
    format::{SEGMENT_HEADER_BYTES, Seed, seal_payloads},
    inbox::Inbox,
    shared::{Keeper, Shared, Wanted, Written, lock},
    state::{State, Taken},
    writer::Writer,
};
use crate::{DeadLetter, Delivery, EventQueue, Position, QueueError, QueueStatus, Records};

/// A queue must be able to fill one segment while others are emptied.
const SEGMENTS_MIN: u64 = 4;

/// Sizes of an embedded queue. The defaults are those of `model::limits`; tests shrink them.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Bytes of all segment files; beyond it appends are refused.
    pub bytes_max: u64,
    /// Bytes of one segment file; at most a quarter of `bytes_max`. A single larger append gets a larger segment.
    pub segment_bytes: u64,
    /// Free bytes that the disk must keep; below it appends are refused.
    pub disk_free_bytes_min: u64,
    /// Unread bytes kept in memory.
    pub memory_bytes_max: usize,
    /// Bytes read from disk at once.
    pub read_chunk_bytes: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            bytes_max: limits::QUEUE_BYTES_MAX_DEFAULT,
            segment_bytes: limits::QUEUE_SEGMENT_BYTES,
            disk_free_bytes_min: limits::DISK_FREE_BYTES_MIN,
            memory_bytes_max: limits::QUEUE_MEMORY_BYTES_MAX,
            read_chunk_bytes: limits::QUEUE_READ_CHUNK_BYTES,
        }
    }
}

/// Why a queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody has it.
    #[error("the queue in {} is in use by another process: stop that one, or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// A segment of another queue lies among its own.
    #[error("{} belongs to another queue: move it away; its records can be read only in its own directory", .0.display())]
    Foreign(PathBuf),
    /// Written by a newer build.
    #[error("{} has format version {found}, which this build does not know: run the newer build that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The medium failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl OpenError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// A durable queue in a directory of this machine. One process has it open at a time.
pub struct EmbeddedQueue {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    writer: Mutex<Option<JoinHandle<()>>>,
    keeper: Option<JoinHandle<()>>,
    /// Released last.
    _lock: DirectoryLock,
}

impl EmbeddedQueue {
    /// Opens the queue in `directory`, or makes one. Blocks while it reads what waits: about 1 s for each GB.
    pub fn open(directory: &Path, options: EmbeddedOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_with(Arc::new(SystemFiles), directory, options, clock)
    }

    /// The same on any file system.
    pub fn open_with(
        files: Arc<dyn FileSystem>,
        directory: &Path,
        mut options: EmbeddedOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let io_error = |action: &'static str| move |source| OpenError::io(action, directory, source);
        options.segment_bytes = options
            .segment_bytes
            .min(options.bytes_max / SEGMENTS_MIN)
            .max(2 * SEGMENT_HEADER_BYTES as u64);
        files
            .create_directory(directory)
            .map_err(io_error("make the queue directory"))?;
        let directory_lock = files
            .lock(&directory.join("lock"))
            .map_err(io_error("lock the queue directory"))?
            .ok_or_else(|| OpenError::Locked(directory.to_owned()))?;
        let recovered = recovery::recover(&files, directory)?;
        let state = State::new(
            recovered.segments,
            recovered.unread,
            recovered.next_position,
            options.memory_bytes_max,
        );
        let shared = Arc::new(Shared {
            id: recovered.id,
            seed: Seed::of(recovered.id),
            options,
            files,
            directory: directory.to_owned(),
            inbox: Inbox::new(),
            loading: Mutex::new(()),
            checkpoint: Mutex::new(Written {
                file: recovered.checkpoint,
                content: None,
                closed: recovered.closed,
            }),
            dead: Mutex::new(recovered.dead),
            damage: Mutex::new(recovered.damage),
            state: Mutex::new(state),
            readable: Notify::new(),
            keeper: Keeper {
                wanted: Mutex::new(Wanted::default()),
                called: Condvar::new(),
            },
            readiness: readiness::Readiness::default(),
        });
        let writer = Writer::new(Arc::clone(&shared));
        let writer = spawn("queue-writer", move || writer.run()).map_err(io_error("start a thread for"))?;
        // Owns both threads from here on: an error below stops the writer.
        let mut queue = Self {
            shared: Arc::clone(&shared),
            clock,
            writer: Mutex::new(Some(writer)),
            keeper: None,
            _lock: directory_lock,
        };
        let keeper = spawn("queue-keeper", move || keeper::run(&shared)).map_err(io_error("start a thread for"))?;
        queue.keeper = Some(keeper);
        Ok(queue)
    }

    /// Loads the next records from disk.
    async fn load(&self) -> Result<(), QueueError> {
        self.blocking(|shared| shared.load().map_err(|error| unavailable("reading a segment", &error)))
            .await
    }

    /// Runs blocking work on the runtime's threads for it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .unwrap_or_else(|error| Err(QueueError::Unavailable(error.to_string())))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn unavailable(action: &str, error: &io::Error) -> QueueError {
    QueueError::Unavailable(format!("{action}: {error}"))
}

/// Waits until all that was handed over is durable, then writes the exact end down.
fn end_appends(shared: &Shared, writer: Option<JoinHandle<()>>) {
    shared.inbox.close();
    let Some(writer) = writer else { return };
    if writer.join().is_err() {
        tracing::error!("the queue's writer has panicked");
    }
    lock(&shared.checkpoint).closed = true;
    keeper::keep(shared);
    keeper::repeat(shared);
    let closed = lock(&shared.checkpoint).content.is_some_and(|content| content.closed);
    if closed && let Some(last) = lock(&shared.state).segments.back_mut() {
        last.trim();
    }
}

#[async_trait]
impl EventQueue for EmbeddedQueue {
    fn id(&self) -> Uuid {
        self.shared.id
    }

    async fn append(&self, mut records: Records) -> Result<(), QueueError> {
        if records.is_empty() {
            return Ok(());
        }
        // Here and not in the writer: the checksums of appends that wait at the same time are made at the same time.
        let count = records.len();
        seal_payloads(self.shared.seed, records.bytes_mut(), count);
        self.shared.inbox.append(records).await
    }

    async fn read(&self, max_records: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        if max_records == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        loop {
            // Made before looking: it hears of all that arrives from here on.
            let changed = self.shared.readable.notified();
            let now = Instant::now();
            let taken = lock(&self.shared.state).take(max_records, now);
            let due = match taken {
                Taken::Records(records) => return Ok(records),
                Taken::OnDisk => {
                    self.load().await?;
                    continue;
                }
                Taken::Nothing(due) => due,
            };
            if now >= deadline {
                return Ok(Vec::new());
            }
            let until = due.map_or(deadline, |due| due.min(deadline));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn acknowledge(&self, positions: &[Position]) -> Result<(), QueueError> {
        let free = lock(&self.shared.state).acknowledge(positions);
        if free {
            keeper::call(&self.shared);
        }
        Ok(())
    }

    async fn retry(&self, positions: &[Position], delay: Duration) -> Result<(), QueueError> {
        lock(&self.shared.state).give_back(positions, Instant::now(), delay);
        self.shared.readable.notify_waiters();
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        let (letter, reason, dead_at) = (delivery.clone(), reason.to_owned(), self.clock.now());
        self.blocking(move |shared| {
            lock(&shared.dead)
                .add(&letter, &reason, dead_at)
                .map_err(|error| unavailable("writing a dead letter", &error))
        })
        .await?;
        self.acknowledge(&[delivery.position]).await
    }

    async fn dead_letters(&self, from: Position, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.blocking(move |shared| Ok(lock(&shared.dead).list(from, limit)))
            .await
    }

    async fn discard_dead_letters(&self, positions: &[Position]) -> Result<u64, QueueError> {
        let positions = positions.to_vec();
        self.blocking(move |shared| {
            let discarded = lock(&shared.dead).discard(&positions);
            discarded.map_err(|error| unavailable("removing a dead letter", &error))
        })
        .await
    }

    async fn status(&self) -> Result<QueueStatus, QueueError> {
        let on_disk = lock(&self.shared.state).needs_load();
        if on_disk {
            // The age of the first record is known once it is in memory; the next read wants it there anyway.
            self.load().await?;
        }
        let mut status = lock(&self.shared.state).status();
        {
            let dead = lock(&self.shared.dead);
            status.dead_letters = dead.count();
            status.bytes += dead.bytes();
        }
        let damage = lock(&self.shared.damage);
        status.damaged_records = damage.records();
        status.bytes += damage.bytes();
        Ok(status)
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.blocking(readiness::check).await
    }

    async fn close(&self) -> Result<(), QueueError> {
        let writer = lock(&self.writer).take();
        self.blocking(move |shared| {
            end_appends(shared, writer);
            Ok(())
        })
        .await
    }
}

impl Drop for EmbeddedQueue {
    /// As [`EventQueue::close`]; blocks for one flush.
    fn drop(&mut self) {
        end_appends(&self.shared, lock(&self.writer).take());
        lock(&self.shared.keeper.wanted).stop = true;
        self.shared.keeper.called.notify_one();
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the queue's keeper has panicked");
        }
        // Acknowledgements that came after the close.
        keeper::keep(&self.shared);
    }
}
