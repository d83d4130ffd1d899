//! Redis for tests: a server that the whole run shares ([`SharedRedis`]), and one that a test may stop and freeze ([`RedisServer`]). In a folder
//! of its own, on a free port of this machine, with its file of appends on.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::run_server::{self, Place};

/// Longest start.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// A server that ends with the value.
pub struct RedisServer {
    directory: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Mutex<Child>,
}

impl RedisServer {
    /// Starts one; `appendfsync` is `always`, `everysec` or `no`.
    ///
    /// # Panics
    /// When there is no Redis server on this machine, or it does not start.
    pub fn start(appendfsync: &str) -> Self {
        Self::start_with(appendfsync, &[])
    }

    /// Starts one with more arguments.
    ///
    /// # Panics
    /// When there is no Redis server on this machine, or it does not start.
    pub fn start_with(appendfsync: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let port = free_port();
        let mut all = vec!["--appendfsync".to_owned(), appendfsync.to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let process = Mutex::new(spawn(directory.path(), port, &all));
        Self {
            directory,
            port,
            arguments: all,
            process,
        }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill(&self) {
        let mut process = self.process.lock().expect("process");
        process.kill().expect("kill");
        process.wait().expect("end");
    }

    /// Starts it again with what it has on disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        *self.process.lock().expect("process") = spawn(self.directory.path(), self.port, &self.arguments);
    }

    /// Lets it stand still: connections are taken, nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.lock().expect("process");
        let id = i32::try_from(process.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("a process id"), signal).expect("signal");
    }

    /// Sends a command of words without spaces, and returns the beginning of the answer as it comes.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn command(&self, words: &str) -> String {
        ask(self.port, words).expect("an answer")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.lock() {
            // It may have been killed already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A port of this machine that nobody listens on.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn spawn(directory: &Path, port: u16, arguments: &[String]) -> Child {
    let start = |program: &str| {
        Command::new(program)
            // Debian's program does what its name says.
            .arg0("redis-server")
            .args(ours(directory, port))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    let process = start("redis-server").or_else(|_| start("redis-check-rdb"));
    let mut process = process.expect("a Redis server: scripts/setup.sh installs it");
    let deadline = Instant::now() + START_TIME_MAX;
    while !ask(port, "PING").is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH")) {
        if let Some(status) = process.try_wait().expect("state of the server") {
            let log = std::fs::read_to_string(directory.join("redis.log")).unwrap_or_default();
            panic!("the Redis server ended with {status}: {log}");
        }
        assert!(Instant::now() < deadline, "the Redis server does not answer");
        std::thread::sleep(Duration::from_millis(5));
    }
    process
}

/// What every server of tests has.
fn ours(directory: &Path, port: u16) -> Vec<String> {
    let directory = directory.display().to_string();
    let port = port.to_string();
    [
        ["--port", &port],
        ["--bind", "127.0.0.1"],
        ["--save", ""],
        ["--appendonly", "yes"],
        ["--logfile", "redis.log"],
        ["--dir", &directory],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

/// A part of the Redis server that all tests of a run share. It flushes nothing.
#[derive(Clone, Debug)]
pub struct SharedRedis {
    /// For `REDIS_URL`.
    pub url: String,
    /// For `REDIS_PREFIX`: nobody else's.
    pub prefix: String,
}

impl SharedRedis {
    /// Makes a part; starts the server if this is the first of the run.
    ///
    /// # Panics
    /// When no server can be started.
    pub fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (_, port) = run_server::of_this_run("redis", launch).expect("a Redis server: scripts/setup.sh installs it");
        Self {
            url: url(port.parse().expect("a port")),
            prefix: format!("test-{}-{number}:", std::process::id()),
        }
    }
}

fn launch(place: &Place) -> io::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = |name: &str| -> Option<PathBuf> {
        let places = std::env::split_paths(&path).map(|directory| directory.join(name));
        places.into_iter().find(|place| place.exists())
    };
    let program = named("redis-server").or_else(|| named("redis-check-rdb"));
    let program = program.ok_or_else(|| io::Error::other("no redis-server in PATH"))?;
    // Debian's program does what its name says.
    let called = place.directory.join("redis-server");
    symlink(program, &called)?;
    let port = free_port();
    let mut arguments = ours(&place.directory, port);
    arguments.extend(["--appendfsync", "no"].map(str::to_owned));
    place.launch(None, &called, &arguments, || {
        Ok(ask(port, "PING").is_ok_and(|answer| answer.starts_with("+PONG")))
    })?;
    Ok(port.to_string())
}

fn ask(port: u16, words: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START_TIME_MAX))?;
    stream.write_all(format!("{words}\r\n").as_bytes())?;
    let mut answer = [0; 64 * 1024];
    let bytes = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..bytes]).into_owned())
}
