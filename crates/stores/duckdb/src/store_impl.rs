//! [`EventStore`] for the embedded database: hands writes to the writer thread, runs reads beside it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use duckdb::params;
use model::{Clock, EventId, LedgerEntry, ProjectId, Timestamp, limits};
use store::{
    AppendBatch, AppendReport, Checkpoint, EventStore, Reclaimed, Rows, Statement, StoreError, StoreStatus, Value,
    event_store::ProjectStatus,
};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::{
    append::{LEDGER, NO_QUEUE},
    failure::Failure,
    files::Files,
    options::DuckdbOptions,
    reader::Reader,
    rows,
    shared::Shared,
    state,
    watchdog::Watchdog,
    writer::{Command, Reply, Request, Writer, delete_condition},
};

/// Longest wait for reads under way when the store closes.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// The embedded event store. Dropping it closes it, as [`EventStore::close`] does, and waits for that.
pub struct DuckdbStore {
    shared: Arc<Shared>,
    reader: Reader,
    watchdog: Arc<Watchdog>,
    places: Arc<Semaphore>,
    requests: Option<SyncSender<Request>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl DuckdbStore {
    /// Opens the store in `directory`, which is made when missing. Takes as long as replaying the log of a crash takes (below a second), or
    /// rebuilding the index where that is lost (seconds per million events).
    ///
    /// Fails as unavailable when another process has the directory open, and says so.
    pub fn open(directory: &Path, options: DuckdbOptions, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (files, generation) = Files::open(directory)?;
        let shared = Arc::new(Shared::new(files));
        let (watchdog, watching) = Watchdog::start().map_err(|error| no_thread(&error))?;
        let reader = Reader::new(Arc::clone(&shared), Arc::clone(&watchdog), options.query_timeout);
        // One more than there are places: the request to look for trouble takes none.
        let (sender, receiver) = sync_channel::<Request>(limits::STORE_WRITES_WAITING_MAX + 1);
        let mut store = Self {
            shared: Arc::clone(&shared),
            reader,
            watchdog: Arc::clone(&watchdog),
            places: Arc::new(Semaphore::new(limits::STORE_WRITES_WAITING_MAX)),
            requests: Some(sender),
            threads: Mutex::new(vec![watching]),
        };
        let (opened, open) = sync_channel(1);
        let writing = thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            let writer = Writer::open(shared, generation, options, clock, watchdog);
            match writer {
                Ok(writer) => {
                    if opened.send(Ok(())).is_ok() {
                        writer.run(&receiver);
                    }
                }
                // `open` waits for it.
                Err(failure) => drop(opened.send(Err(StoreError::from(failure)))),
            }
        });
        let writing = writing.map_err(|error| no_thread(&error))?;
        store
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(writing);
        open.recv().unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                "the store's writer ended while opening".to_owned(),
            ))
        })?;
        Ok(store)
    }

    /// The files, to look at from tests.
    #[cfg(test)]
    pub(crate) fn files(&self) -> &Files {
        &self.shared.files
    }

    async fn write<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let request = Request {
            command: command(reply),
            _place: Some(place),
        };
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        // With a place in hand there is room, so this fails only when the writer has ended.
        requests.try_send(request).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read_on<T, W>(&self, project: Option<ProjectId>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&duckdb::Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.recovering(self.reader.read(project, work).await)
    }

    /// Hands on how a read went.
    fn recovering<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() && self.shared.is_broken() {
            self.recover();
        }
        result
    }

    /// Asks the writer to look whether something must be opened anew: there may be no other work that makes it look.
    fn recover(&self) {
        // At most one waits at any time: there is one place more than for those who wait for an answer.
        if !self.shared.ask_for_recovery() {
            return;
        }
        let request = Request {
            command: Command::Recover,
            _place: None,
        };
        let sent = self.requests.as_ref().map(|requests| requests.try_send(request));
        if !matches!(sent, Some(Ok(()))) {
            // The writer has ended.
            self.shared.take_recovery_asked();
        }
    }
}

#[async_trait]
impl EventStore for DuckdbStore {
    async fn append(&self, batch: AppendBatch) -> Result<AppendReport, StoreError> {
        self.write(|reply| Command::Append(batch, reply)).await
    }

    fn announce(&self, batch: &AppendBatch) {
        if batch.checkpoint.is_some() {
            self.shared.announced.put(batch.clone());
        }
    }

    async fn checkpoint(&self, queue: Uuid) -> Result<Option<u64>, StoreError> {
        // The writer's memory is as durable as what it has answered.
        self.shared.engine()?;
        Ok(self.shared.position(queue))
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.shared.engine()?;
        let positions = self.shared.positions().into_iter();
        let of_queues = positions.filter(|(queue, _)| *queue != NO_QUEUE);
        Ok(of_queues
            .map(|(queue, position)| Checkpoint { queue, position })
            .collect())
    }

    async fn claims(&self, _: ProjectId, ids: Vec<EventId>) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.write(|reply| Command::Claims(ids, reply)).await
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        let mut parameters: Vec<_> = statement.parameters().iter().map(rows::bound).collect();
        if let Some(first) = parameters.first_mut() {
            // A project that has no number has no events, and no row equals NULL.
            let project = self.shared.project(statement.project_id());
            *first = rows::bound(&project.map_or(Value::Null, |number| Value::Integer(number.into())));
        }
        let project = statement.project_id();
        self.read_on(Some(project), move |connection| {
            rows::query(connection, statement.sql(), parameters)
        })
        .await
    }

    async fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        self.read_on(None, |connection| {
            let sql = format!("SELECT project_id::VARCHAR, day, outcome, count FROM ({LEDGER}) ORDER BY ALL");
            let mut statement = connection.prepare(&sql)?;
            let entries = statement.query_and_then([], |row| {
                let (project, outcome): (String, String) = (row.get(0)?, row.get(2)?);
                Ok(LedgerEntry {
                    project_id: ProjectId(state::uuid(&project)?),
                    day: row.get(1)?,
                    outcome: outcome
                        .parse()
                        .map_err(|error| Failure::Unavailable(format!("the ledger: {error}")))?,
                    count: row.get(3)?,
                })
            })?;
            entries.collect()
        })
        .await
    }

    async fn delete(&self, project: ProjectId, before: Option<Timestamp>, dry_run: bool) -> Result<u64, StoreError> {
        if !dry_run {
            return self.write(|reply| Command::Delete(project, before, reply)).await;
        }
        let Some(number) = self.shared.project(project) else {
            return Ok(0);
        };
        self.read_on(None, move |connection| {
            let (condition, parameters) = delete_condition(number, before);
            let sql = format!("SELECT count(*) FROM events WHERE {condition}");
            Ok(connection.query_row(&sql, duckdb::params_from_iter(parameters), |row| row.get(0))?)
        })
        .await
    }

    async fn reclaim(&self, force: bool) -> Result<Reclaimed, StoreError> {
        let (watch, _stop) = self.watchdog.watch(Instant::now() + limits::STORE_COMPACT_TIME_MAX);
        self.write(|reply| Command::Reclaim(force, watch, reply)).await
    }

    async fn status(&self, now: Timestamp) -> Result<StoreStatus, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.read_on(None, move |connection| {
            let projects = project_statuses(connection, now)?;
            Ok(StoreStatus {
                events: projects.iter().map(|project| project.events).sum(),
                bytes: shared.files.bytes(),
                projects,
            })
        })
        .await
    }

    async fn check(&self) -> Result<(), StoreError> {
        if let Some(trouble) = self.shared.trouble() {
            // A load balancer that hears of it sends nothing, so that no append would ever end the trouble.
            self.recover();
            return Err(StoreError::Unavailable(trouble));
        }
        let shared = Arc::clone(&self.shared);
        let probed = self.reader.probe(move |connection| {
            if shared.files.free_bytes()? < limits::DISK_FREE_BYTES_MIN {
                return Err(Failure::Unavailable(format!(
                    "less than {} MiB are free in {}",
                    limits::DISK_FREE_BYTES_MIN >> 20,
                    shared.files.directory().display()
                )));
            }
            connection.query_row("SELECT 1 FROM identity", [], |_| Ok(()))?;
            Ok(())
        });
        self.recovering(probed.await)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.reader.close(CLOSE_WAIT).await;
        self.write(Command::Close).await
    }
}

fn project_statuses(connection: &duckdb::Connection, now: Timestamp) -> Result<Vec<ProjectStatus>, Failure> {
    let mut statement = connection.prepare(
        "SELECT projects.id::VARCHAR, events, last_hour, last_day, latest
         FROM (SELECT project_id, count(*) AS events,
                      count(*) FILTER (timestamp > $1 AND timestamp <= $3) AS last_hour,
                      count(*) FILTER (timestamp > $2 AND timestamp <= $3) AS last_day,
                      max(timestamp) AS latest
               FROM events GROUP BY project_id) AS counted
         JOIN projects ON projects.number = counted.project_id
         ORDER BY projects.number",
    )?;
    let hour_ago = rows::instant(now.saturating_add_seconds(-3_600));
    let day_ago = rows::instant(now.saturating_add_seconds(-86_400));
    let found = statement.query_and_then(params![hour_ago, day_ago, rows::instant(now)], |row| {
        let id: String = row.get(0)?;
        Ok(ProjectStatus {
            project_id: ProjectId(state::uuid(&id)?),
            events: row.get(1)?,
            events_last_hour: row.get(2)?,
            events_last_day: row.get(3)?,
            latest: row.get::<_, Option<i64>>(4)?.and_then(Timestamp::from_micros),
        })
    })?;
    found.collect()
}

fn no_thread(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot start a thread for the event store: {error}"))
}

impl Drop for DuckdbStore {
    fn drop(&mut self) {
        // Reads under way end, and the writer closes when nobody can ask it any more.
        self.watchdog.stop();
        self.requests = None;
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A thread that panicked has nothing left to close.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
