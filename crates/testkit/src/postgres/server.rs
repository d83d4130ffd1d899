//! A PostgreSQL server of a test's own: on a free port of this machine, with what the test wants of its settings, and standbys of it.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::programs::Programs;
use crate::run_server::succeeded;

/// Longest start.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A server that ends with the value.
pub struct PostgresServer {
    programs: Programs,
    directory: tempfile::TempDir,
    port: u16,
    process: Mutex<Child>,
}

impl PostgresServer {
    /// Makes a cluster of its own and starts it. `settings` are lines of `postgresql.conf`; `files` (name and text) are put among the
    /// cluster's own.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(settings: &str, files: &[(&str, &str)]) -> Self {
        let (programs, directory) = made();
        for (name, text) in files {
            let path = directory.path().join("data").join(name);
            fs::write(&path, text).expect("a file of the cluster");
            // It takes no key that others may read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its permissions");
            programs.give(&path).expect("its owner");
        }
        Self::launch(programs, directory, settings)
    }

    /// Starts a server and a standby that streams from it.
    ///
    /// # Panics
    /// When they do not start.
    pub fn start_with_standby() -> (Self, Self) {
        let (programs, directory) = made();
        // A cluster that never ran is its own backup: the standby goes on where both begin. Packages of single versions ship no pg_basebackup.
        let copy = folder(&programs);
        let copied = programs
            .as_user(Path::new("cp"))
            .arg("-a")
            .arg(directory.path().join("data"))
            .arg(copy.path())
            .output();
        succeeded(copied, "cp");
        // Nothing that the standby has not got may be thrown away while it is down.
        let primary = Self::launch(programs.clone(), directory, "wal_keep_size = 256MB");
        append(&copy.path().join("data/standby.signal"), "");
        let streaming = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\nwal_retrieve_retry_interval = 200ms",
            primary.port
        );
        let standby = Self::launch(programs, copy, &streaming);
        (primary, standby)
    }

    fn launch(programs: Programs, directory: tempfile::TempDir, settings: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let configuration = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\nshared_buffers = 32MB\n\
             max_wal_size = 256MB\n{settings}\n",
            directory.path().display()
        );
        append(&directory.path().join("data/postgresql.conf"), &configuration);
        let process = Mutex::new(spawn(&programs, directory.path(), port));
        Self {
            programs,
            directory,
            port,
            process,
        }
    }

    /// Where it answers: `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The cluster's files, those of its settings among them.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Runs SQL through the socket, and returns what it printed: values of a row between `|`, a row a line.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.programs
            .sql(self.directory.path(), Some(self.port), "postgres", sql)
    }

    /// Ends all of its processes as `kill -9` does.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill(&self) {
        let mut process = self.process.lock().expect("process");
        // The first of all, so that it starts no new ones.
        let all = all_of(&process);
        for pid in &all {
            let _ = kill_process(*pid, Signal::KILL);
        }
        process.wait().expect("end");
        // None of them may hold the memory that the next start makes anew.
        let deadline = Instant::now() + START_TIME_MAX;
        while all.iter().any(|pid| is_running(*pid)) {
            assert!(Instant::now() < deadline, "PostgreSQL does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again with what it has on disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        *self.process.lock().expect("process") = spawn(&self.programs, self.directory.path(), self.port);
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
        for pid in all_of(&self.process.lock().expect("process")) {
            // One may just have ended.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.lock() {
            for pid in all_of(&process) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = process.wait();
        }
    }
}

/// A new cluster that never ran, in a folder of its own.
fn made() -> (Programs, tempfile::TempDir) {
    let programs = Programs::find().expect("PostgreSQL: scripts/setup.sh --tests installs it");
    let directory = folder(&programs);
    programs.initdb(&directory.path().join("data")).expect("initdb");
    (programs, directory)
}

fn folder(programs: &Programs) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    programs.give(directory.path()).expect("its owner");
    directory
}

fn append(path: &Path, text: &str) {
    let file = fs::File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("a file of settings");
}

fn spawn(programs: &Programs, directory: &Path, port: u16) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a log");
    let mut process = programs
        .as_user(&programs.of_server("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres");
    let said = || fs::read_to_string(directory.join("log")).unwrap_or_default();
    let deadline = Instant::now() + START_TIME_MAX;
    loop {
        if programs.is_ready(directory, Some(port)).expect("pg_isready") {
            return process;
        }
        if let Some(status) = process.try_wait().expect("state of the server") {
            panic!("PostgreSQL ended with {status}: {}", said());
        }
        assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process has memory: neither gone nor waiting to be told so.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z")
}

/// A server's process and those that it started.
fn all_of(server: &Child) -> Vec<Pid> {
    let id = server.id().to_string();
    let mut found = vec![id.clone()];
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        // `pid (name) state parent …`
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(&id) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let pid = |text: &String| text.parse().ok().and_then(Pid::from_raw);
    found.iter().filter_map(pid).collect()
}
