//! A Redis server of a test's own: in a temporary directory, on a free port of this machine, with its file of appends on.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

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
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port.
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
            .args(["--port", &port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--logfile", "redis.log"])
            .arg("--dir")
            .arg(directory)
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

fn ask(port: u16, words: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START_TIME_MAX))?;
    stream.write_all(format!("{words}\r\n").as_bytes())?;
    let mut answer = [0; 64 * 1024];
    let bytes = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..bytes]).into_owned())
}
