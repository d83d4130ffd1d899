//! A process from start to stop: named components, one token to stop them, a budget to drain.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::limits;
use store::StoreError;
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin, background,
    config::Role,
    engine::{Engine, StartError},
    http, scheduler,
    worker::Worker,
};

/// Longest wait for each step of a stop once its budget is used up: what is under way then is worth a moment.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// A process at work.
pub struct Running {
    engine: Arc<Engine>,
    /// Requests and timers stop.
    stop: CancellationToken,
    /// The worker stops when the queue is empty.
    drain: CancellationToken,
    /// Whatever still works stops now.
    abort: CancellationToken,
    components: JoinSet<&'static str>,
    worker: JoinSet<()>,
    admin_socket: PathBuf,
    /// Held as long as the socket is this process's.
    _socket_lock: File,
    /// Where HTTP is served; `None` for a process without HTTP.
    pub address: Option<std::net::SocketAddr>,
}

/// What of a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that the roles say.
    Serve,
    /// Only the admin socket, without a worker: for commands that run beside no server.
    Command,
}

/// Starts what `mode` and the roles say. When it has returned, requests are answered.
pub async fn start(engine: Arc<Engine>, mode: Mode) -> Result<Running, StartError> {
    let config = &engine.config;
    let listen_admin = |cause| StartError::Listen {
        address: config.admin_socket.display().to_string(),
        cause,
    };
    let socket_lock = lock_admin(&config.admin_socket).map_err(listen_admin)?;
    let admin_socket = bind_admin(&config.admin_socket).map_err(listen_admin)?;
    let mut running = Running {
        stop: CancellationToken::new(),
        drain: CancellationToken::new(),
        abort: CancellationToken::new(),
        components: JoinSet::new(),
        worker: JoinSet::new(),
        admin_socket: config.admin_socket.clone(),
        _socket_lock: socket_lock,
        address: None,
        engine: Arc::clone(&engine),
    };
    if mode == Mode::Serve {
        let listen = |cause| StartError::Listen {
            address: config.listen.to_string(),
            cause,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        running.address = Some(listener.local_addr().map_err(listen)?);
        let serving = http::serve(
            listener,
            http::Site::new(Arc::clone(&engine)),
            running.stop.clone(),
            config.shutdown_budget / 2,
        );
        running.spawn("http", serving);
        running.spawn(
            "metrics",
            background::keep_metrics(Arc::clone(&engine), running.stop.clone()),
        );
        if config.has(Role::Scheduler) {
            running.spawn("scheduler", scheduler::run(Arc::clone(&engine), running.stop.clone()));
        }
        if config.has(Role::Worker) {
            let worker = Worker::new(Arc::clone(&engine), limits::STORE_BATCH_EVENTS_MAX);
            running
                .worker
                .spawn(worker.run(running.drain.clone(), running.abort.clone()));
        }
    }
    running.spawn(
        "directory",
        background::refresh_directory(Arc::clone(&engine), running.stop.clone()),
    );
    running.spawn(
        "tallies",
        background::send_tallies(Arc::clone(&engine), running.stop.clone()),
    );
    let serving = http::serve(
        admin_socket,
        admin::http::router(engine),
        running.stop.clone(),
        Duration::from_secs(1),
    );
    running.spawn("admin", serving);
    Ok(running)
}

impl Running {
    fn spawn(&mut self, name: &'static str, component: impl Future<Output = ()> + Send + 'static) {
        self.components.spawn(async move {
            component.await;
            name
        });
    }

    /// Returns when a component ended that should not have; the process must stop then.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            ended = self.components.join_next() => match ended {
                Some(Ok(name)) => format!("component {name} ended"),
                Some(Err(error)) => format!("a component failed: {error}"),
                None => "no component runs".to_owned(),
            },
            Some(ended) = self.worker.join_next() => match ended {
                Ok(()) => "the worker ended".to_owned(),
                Err(error) => format!("the worker failed: {error}"),
            },
        }
    }

    /// Stops: no new requests, open ones finish, the queue is emptied as far as the budget allows, everything is closed.
    /// What is left in the queue is stored at the next start.
    pub async fn stop(mut self) {
        let deadline = Instant::now() + self.engine.config.shutdown_budget;
        self.engine.start_draining();
        self.stop.cancel();
        let finished = async { while self.components.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, finished).await.is_err() {
            tracing::warn!("some components did not stop in time");
        }
        // Only now: the requests that finished meanwhile were refused or sampled out too. The worker stores what is queued here.
        let flushed = background::flush_tallies(&self.engine);
        if tokio::time::timeout(CLOSE_WAIT, flushed).await.is_err() {
            tracing::warn!("the last refusals could not be queued in time; they are not counted");
        }
        self.drain.cancel();
        let drained = async { while self.worker.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, drained).await.is_err() {
            self.abort.cancel();
            // The worker looks at the token between two steps; a commit under way is worth waiting for.
            let _ = tokio::time::timeout(CLOSE_WAIT, async { while self.worker.join_next().await.is_some() {} }).await;
        }
        if let Err(error) = self.engine.queue().close().await {
            tracing::error!(%error, "the queue could not be closed cleanly");
        }
        // Its own waits are bounded, but for one statement of its writer.
        let closed = tokio::time::timeout(2 * CLOSE_WAIT, self.engine.store().close());
        if let Err(error) = closed.await.unwrap_or_else(|_| Err(store_is_busy())) {
            tracing::error!(%error, "the event store could not be closed cleanly; its log is replayed at the next start");
        }
        self.engine.meta().close().await;
        if let Err(error) = std::fs::remove_file(&self.admin_socket) {
            tracing::debug!(%error, "the admin socket was gone");
        }
    }
}

fn store_is_busy() -> StoreError {
    StoreError::Unavailable("it is still busy".to_owned())
}

/// Takes the data directory for this process, whatever its roles: those without a queue or store in it have no other lock.
fn lock_admin(socket: &Path) -> io::Result<File> {
    let file = File::create(socket.with_extension("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process works in this data directory; give each a DATA_DIR of its own",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Binds the admin socket for the owner alone. The caller holds the lock, so a socket that exists is a dead one.
fn bind_admin(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
