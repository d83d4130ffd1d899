//! The writer thread: the only one that changes anything.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use duckdb::{Connection, arrow::datatypes::SchemaRef, params_from_iter, types::Value as Bound};
use model::{Clock, EventId, ProjectId, Timestamp};
use store::{AppendBatch, AppendReport, Reclaimed, StoreError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    append::{self, Ahead, Appender},
    compact,
    engine::Engine,
    failure::Failure,
    options::DuckdbOptions,
    rows,
    shared::Shared,
    state::{self, FoundIndex, Open},
    watchdog::{Watch, Watchdog},
};

/// Longest wait for reads of a database that must be opened anew to let go of it.
const RELEASE_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const RELEASE_POLL: Duration = Duration::from_millis(5);

/// Where an answer goes. The caller may be gone.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(crate) enum Command {
    /// [`store::EventStore::append`].
    Append(AppendBatch, Reply<AppendReport>),
    /// [`store::EventStore::claims`].
    Claims(Vec<EventId>, Reply<Vec<Option<Timestamp>>>),
    /// [`store::EventStore::delete`].
    Delete(ProjectId, Option<Timestamp>, Reply<u64>),
    /// [`store::EventStore::reclaim`].
    Reclaim(bool, Watch, Reply<Reclaimed>),
    /// Look whether the database must be opened anew.
    Recover,
    /// [`store::EventStore::close`].
    Close(Reply<()>),
}

/// A command with its place among those that wait.
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

/// The state of the writer thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    options: DuckdbOptions,
    clock: Arc<dyn Clock>,
    watchdog: Arc<Watchdog>,
    schema: SchemaRef,
    generation: u64,
    /// `None` after something went so wrong that everything must be opened anew.
    open: Option<Open>,
    /// The database whose index failed: readers go on with it.
    kept: Option<(Arc<Engine>, Connection)>,
    /// How to open the index then.
    found: FoundIndex,
    /// The database that was given up; it must be closed before its file is opened again.
    given_up: Weak<Engine>,
    last_write: Instant,
    last_checkpoint: Instant,
}

impl Writer {
    /// Opens the database of `generation`.
    pub(crate) fn open(
        shared: Arc<Shared>,
        generation: u64,
        options: DuckdbOptions,
        clock: Arc<dyn Clock>,
        watchdog: Arc<Watchdog>,
    ) -> Result<Self, Failure> {
        let found = FoundIndex::Tried;
        let open = Open::new(&shared, generation, &options, clock.now(), found)?;
        Ok(Self {
            shared,
            options,
            clock,
            watchdog,
            schema: append::schema(),
            generation,
            open: Some(open),
            kept: None,
            found,
            given_up: Weak::new(),
            last_write: Instant::now(),
            last_checkpoint: Instant::now(),
        })
    }

    /// Works until it is told to close, or every sender is gone.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let request = match requests.recv_timeout(self.next_checkpoint_in()) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => {
                    self.checkpoint_when_due();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match request.command {
                // The caller may be gone; what was done stays done.
                Command::Append(batch, reply) => {
                    drop(reply.send(self.work(|writer, open| writer.append_and_tell(open, &batch))))
                }
                Command::Claims(ids, reply) => {
                    drop(reply.send(self.work(|writer, open| writer.claims(open, &ids))));
                }
                Command::Delete(project, before, reply) => {
                    drop(reply.send(self.work(|writer, open| writer.delete(open, project, before))));
                }
                Command::Reclaim(force, watch, reply) => {
                    drop(reply.send(self.work(|writer, open| writer.reclaim(open, force, &watch))))
                }
                Command::Recover => {
                    // Whoever asks from now on saw what comes after this.
                    self.shared.take_recovery_asked();
                    // Nobody waits for an answer; the next caller is told.
                    let _ = self.work(|_, _| Ok(()));
                }
                Command::Close(reply) => {
                    let closed = self.close();
                    drop(self);
                    drop(reply.send(closed));
                    return;
                }
            }
            self.checkpoint_when_due();
        }
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the event store closed with an error; its log is replayed at the next start");
        }
    }

    /// Does some work on the open database, which is opened anew first if need be; afterwards it is given up if the work says so.
    fn work<T>(&mut self, work: impl FnOnce(&mut Self, &mut Open) -> Result<T, Failure>) -> Result<T, StoreError> {
        if self.shared.take_broken() {
            self.give_up("a read found the database invalid");
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        // A panic must cost one call, not the store.
        let result = catch_unwind(AssertUnwindSafe(|| work(self, &mut open)));
        self.open = Some(open);
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => {
                match &failure {
                    Failure::Fatal(message) => self.give_up(message),
                    Failure::Index(message) => self.give_up_index(message),
                    Failure::Damaged(message) => {
                        self.found = FoundIndex::Damaged;
                        self.give_up_index(&format!("it is damaged: {message}"));
                    }
                    Failure::Unavailable(_) | Failure::Refused(_) | Failure::Interrupted => {}
                }
                Err(failure.into())
            }
            Err(_) => {
                self.give_up("the writer panicked");
                // The data most likely did it: as a refusal, the worker looks for the event and sets it aside.
                Err(StoreError::Refused(
                    "the event store's writer panicked; the log says where".to_owned(),
                ))
            }
        }
    }

    /// Appends, and tells readiness how it went. Of the writer's work only this does: an append that failed is tried again until it
    /// succeeds, while the failure of a compaction, say, would be told for as long as nobody sends an event.
    fn append_and_tell(&mut self, open: &mut Open, batch: &AppendBatch) -> Result<AppendReport, Failure> {
        let result = self.append(open, batch);
        match &result {
            Ok(_) => self.shared.set_trouble(None),
            Err(Failure::Unavailable(message)) => self.shared.set_trouble(Some(message.clone())),
            // The rest is told by `work`, or is no trouble of the store's.
            Err(_) => {}
        }
        result
    }

    fn append(&mut self, open: &mut Open, batch: &AppendBatch) -> Result<AppendReport, Failure> {
        let report = Appender {
            connection: &open.connection,
            index: &mut open.index,
            ahead: &mut open.ahead,
            shared: &self.shared,
            schema: &self.schema,
            now: self.clock.now(),
        }
        .append(batch)?;
        self.last_write = Instant::now();
        Ok(report)
    }

    /// Ids that clients gave are made of their project, so that no other project's claim has the same.
    fn claims(&self, open: &Open, ids: &[EventId]) -> Result<Vec<Option<Timestamp>>, Failure> {
        let is_stored = append::stored_owners(self.shared.positions());
        ids.iter().map(|id| open.index.claimed_at(*id, &is_stored)).collect()
    }

    fn delete(&mut self, open: &mut Open, project: ProjectId, before: Option<Timestamp>) -> Result<u64, Failure> {
        let Some(number) = self.shared.project(project) else {
            return Ok(0);
        };
        let (condition, parameters) = delete_condition(number, before);
        let deleted = open.connection.execute(
            &format!("DELETE FROM events WHERE {condition}"),
            params_from_iter(parameters),
        )?;
        if before.is_none() {
            // A plan may have found users who are forgotten now.
            open.ahead.discard(&mut open.index)?;
            // After the rows: a user who came back in between would else have rows under two numbers.
            open.index.forget_users(number)?;
        }
        self.last_write = Instant::now();
        Ok(deleted as u64)
    }

    fn reclaim(&mut self, open: &mut Open, force: bool, watch: &Watch) -> Result<Reclaimed, Failure> {
        let bytes_before = self.shared.files.database_bytes(self.generation);
        self.checkpoint(open)?;
        if !force && !compact::is_worth_it(&open.connection)? {
            return Ok(Reclaimed {
                bytes_before,
                bytes_after: self.shared.files.database_bytes(self.generation),
            });
        }
        let started = Instant::now();
        let (files, from) = (&self.shared.files, self.generation);
        let (engine, reclaimed) = compact::compact(files, from, &open.connection, &self.options, watch)?;
        self.generation = engine.generation();
        open.connection = engine.connect()?;
        open.engine = Arc::clone(&engine);
        self.shared.replace_engine(Some(engine));
        let bytes_after = reclaimed.bytes_after;
        tracing::info!(
            bytes_before,
            bytes_after,
            elapsed_ms = started.elapsed().as_millis(),
            "event store compacted"
        );
        Ok(Reclaimed {
            bytes_before,
            bytes_after,
        })
    }

    fn checkpoint(&mut self, open: &Open) -> Result<(), Failure> {
        self.last_checkpoint = Instant::now();
        append::fold_progress(&open.connection)?;
        Ok(open.connection.execute_batch("CHECKPOINT")?)
    }

    fn has_log(&self) -> bool {
        self.open.is_some() && self.shared.files.wal_bytes(self.generation) > 0
    }

    fn next_checkpoint_in(&self) -> Duration {
        let quiet = self.options.checkpoint_quiet.saturating_sub(self.last_write.elapsed());
        let interval = self
            .options
            .checkpoint_interval
            .saturating_sub(self.last_checkpoint.elapsed());
        if self.has_log() {
            quiet.min(interval)
        } else {
            self.options.checkpoint_interval
        }
    }

    fn checkpoint_when_due(&mut self) {
        let quiet = self.last_write.elapsed() >= self.options.checkpoint_quiet;
        let overdue = self.last_checkpoint.elapsed() >= self.options.checkpoint_interval;
        if !(quiet || overdue) || !self.has_log() {
            return;
        }
        // Also after a failure: the next try is an interval away.
        self.last_checkpoint = Instant::now();
        if let Err(error) = self.work(|writer, open| writer.checkpoint(open)) {
            tracing::warn!(%error, "cannot fold the log into the database; it is tried again later");
        }
    }

    /// Lets go of database and index; the next work opens them anew.
    fn give_up(&mut self, why: &str) {
        tracing::error!(why, "the event store's database is given up and opened anew");
        self.shared.set_trouble(Some(why.to_owned()));
        self.shared.replace_engine(None);
        let open = self.open.take().map(|open| open.engine);
        let kept = self.kept.take().map(|(engine, _)| engine);
        if let Some(engine) = open.or(kept) {
            self.given_up = Arc::downgrade(&engine);
        }
        self.watchdog.stop_reads();
    }

    /// Closes the index alone, as on a full disk: nothing can be stored until it is open again, but reading goes on.
    fn give_up_index(&mut self, why: &str) {
        tracing::error!(
            why,
            "the event store's index is given up and opened anew; reading goes on"
        );
        self.shared.set_trouble(Some(why.to_owned()));
        if let Some(open) = self.open.take() {
            self.kept = Some((open.engine, open.connection));
        }
    }

    /// Opens the index of the database that was kept.
    fn reopen_kept(&mut self, engine: Arc<Engine>, connection: Connection) -> Result<Open, Failure> {
        match state::reopen_index(&self.shared, &connection, self.clock.now(), self.found) {
            Ok(index) => Ok(Open {
                engine,
                connection,
                index,
                ahead: Ahead::Nothing,
            }),
            Err(failure) => {
                self.kept = Some((engine, connection));
                if let Failure::Fatal(message) = &failure {
                    self.give_up(message);
                }
                Err(failure)
            }
        }
    }

    fn reopen(&mut self) -> Result<Open, StoreError> {
        let since = Instant::now();
        while self.given_up.strong_count() > 0 {
            if since.elapsed() > RELEASE_WAIT {
                return Err(StoreError::Unavailable(
                    "the database must be opened anew, but a read has not let go of it yet".to_owned(),
                ));
            }
            thread::sleep(RELEASE_POLL);
        }
        let opened = match self.kept.take() {
            Some((engine, connection)) => self.reopen_kept(engine, connection),
            None => Open::new(
                &self.shared,
                self.generation,
                &self.options,
                self.clock.now(),
                self.found,
            ),
        };
        let open = opened.map_err(|failure| {
            let error = StoreError::from(failure);
            self.shared.set_trouble(Some(error.to_string()));
            error
        })?;
        self.found = FoundIndex::Tried;
        self.shared.set_trouble(None);
        Ok(open)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.kept.take().is_some() {
            self.shared.replace_engine(None);
        }
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        self.shared.replace_engine(None);
        self.shared.set_trouble(None);
        let flushed = open.index.persist();
        let checkpointed = self.checkpoint(&open);
        drop(open);
        self.shared.files.unlock();
        Ok(flushed.and(checkpointed)?)
    }
}

/// What is deleted: a project's rows, or those before a time.
pub(crate) fn delete_condition(project: u32, before: Option<Timestamp>) -> (&'static str, Vec<Bound>) {
    match before {
        None => ("project_id = ?", vec![Bound::UInt(project)]),
        Some(before) => (
            "project_id = ? AND timestamp < ?",
            vec![Bound::UInt(project), rows::instant(before)],
        ),
    }
}
