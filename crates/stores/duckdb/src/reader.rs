//! Reads: each on a connection of its own, in a read-only transaction, bounded in number and time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use duckdb::Connection;
use model::ProjectId;
use store::{StoreError, places::Places};

use crate::{
    failure::Failure,
    shared::Shared,
    watchdog::{Watch, Watchdog},
};

/// Runs reads beside the writer.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    watchdog: Arc<Watchdog>,
    places: Places,
    timeout: Duration,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, watchdog: Arc<Watchdog>, timeout: Duration) -> Self {
        Self {
            shared,
            watchdog,
            places: Places::default(),
            timeout,
        }
    }

    /// Runs `work` for a project (or for the operator) on a thread for blocking work. When its time is over or the returned future is
    /// dropped, its statement is interrupted. Fails as overloaded when others leave it no place in time.
    pub(crate) async fn read<T, W>(&self, project: Option<ProjectId>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let place = self.places.take(project).await?;
        self.run(place, work).await
    }

    /// The same for a look whether reading works: slow reads of others must not look like a failure.
    pub(crate) async fn probe<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let place = self.places.take_for_probe().await?;
        self.run(place, work).await
    }

    async fn run<T, W, P>(&self, place: P, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        P: Send + 'static,
    {
        let (watch, _stop) = self.watchdog.watch(Instant::now() + self.timeout);
        let (shared, timeout) = (Arc::clone(&self.shared), self.timeout);
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            run(&shared, watch, timeout, work)
        });
        done.await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("a read failed to finish: {error}"))))
    }

    /// Lets no further read begin and waits up to `wait` for those under way, which are stopped.
    pub(crate) async fn close(&self, wait: Duration) {
        self.watchdog.stop();
        // Reads that do not end in time keep the file open until they do; they cannot write.
        let _ = tokio::time::timeout(wait, self.places.take_all()).await;
        self.places.close();
    }
}

fn run<T, W>(shared: &Shared, watch: Watch, timeout: Duration, work: W) -> Result<T, StoreError>
where
    W: FnOnce(&Connection) -> Result<T, Failure>,
{
    // Declared before the connection, so dropped after it: whoever waits for the engine waits for its connections.
    let engine = shared.engine()?;
    let connection = engine.take()?;
    if !watch.attach(connection.interrupt_handle()) {
        engine.give_back(connection);
        return Err(stopped(&watch, timeout));
    }
    let result = in_read_only_transaction(&connection, work);
    let late = watch.is_late();
    drop(watch);
    match result {
        Ok((value, true)) => {
            engine.give_back(connection);
            Ok(value)
        }
        Ok((value, false)) => Ok(value),
        Err(Failure::Interrupted) if late => Err(StoreError::Timeout(timeout)),
        Err(failure) => {
            if matches!(failure, Failure::Fatal(_)) {
                shared.report_broken();
            }
            Err(failure.into())
        }
    }
}

/// Runs `work`; with its result, whether the connection can be used again.
fn in_read_only_transaction<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<(T, bool), Failure> {
    // One snapshot for all statements of the read, and none of them can write.
    connection.execute_batch("BEGIN TRANSACTION READ ONLY")?;
    let result = work(connection);
    let ended = connection.execute_batch("ROLLBACK").is_ok();
    Ok((result?, ended))
}

fn stopped(watch: &Watch, timeout: Duration) -> StoreError {
    if watch.is_late() {
        StoreError::Timeout(timeout)
    } else {
        StoreError::Unavailable("the read was stopped".to_owned())
    }
}
