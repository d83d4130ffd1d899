//! The real binary in a folder of its own, on a free loopback port, and a client to talk to it.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use testkit::postgres::TestDatabase;

/// How long anything may take before a test gives up: generous, because machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simple-analytics"));
    // Nothing of the environment that runs the tests reaches the binary.
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_BACKTRACE", "1");
    command
}

/// The database of each data directory that has one.
static DATABASES: Mutex<BTreeMap<PathBuf, TestDatabase>> = Mutex::new(BTreeMap::new());

/// The binary on a data directory, and on the PostgreSQL database that belongs to it: every directory has one where the run is told
/// `CONTRACT_STORE=postgres`.
pub fn binary_on(data_dir: &Path) -> Command {
    let mut command = binary();
    let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    if is_on_postgres() {
        databases
            .entry(data_dir.to_owned())
            .or_insert_with(TestDatabase::create);
    }
    if let Some(database) = databases.get(data_dir) {
        command.env("DATABASE_URL", &database.url);
    }
    command
}

/// From now on the binary has this database when it is started on the data directory.
pub fn use_database(data_dir: &Path, database: &TestDatabase) {
    let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    databases.insert(data_dir.to_owned(), database.clone());
}

/// Whether servers are started on PostgreSQL.
pub fn is_on_postgres() -> bool {
    std::env::var("CONTRACT_STORE").is_ok_and(|store| store == "postgres")
}

/// A running server.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// The first start's project.
    pub project: Value,
    /// Where its data are.
    pub data_dir: PathBuf,
    arguments: Vec<String>,
    /// Its standard error, of all starts.
    log: NamedTempFile,
    _folder: Option<TempDir>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// A header as text, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a text header"))
    }
}

impl Server {
    /// Starts a server in a new folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server in a new folder with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data");
        let mut server = Self::start_in(&data_dir, arguments);
        server._folder = Some(folder);
        server
    }

    /// Starts a server on existing data.
    pub fn start_in(data_dir: &Path, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let log = NamedTempFile::new().expect("a file");
        let (child, document) = spawn(data_dir, &arguments, log.path());
        let project = match document["first_start"]["project"].clone() {
            Value::Null => first_project(data_dir),
            project => project,
        };
        let url = document["url"].as_str().expect("a URL").to_owned();
        Self {
            child,
            url,
            project,
            data_dir: data_dir.to_owned(),
            arguments,
            log,
            _folder: None,
        }
    }

    /// The same server with a project that may send as much as it likes; in force when this returns.
    pub fn without_rate_limit(mut self) -> Self {
        self.command(&[
            "project",
            "update",
            self.project_id(),
            "--rate-limit-per-minute",
            "none",
        ]);
        self.restart_cleanly();
        self
    }

    /// Kills the server at once (SIGKILL) and starts it again on the same data.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// SIGTERM; returns whether the exit code was 0 and how long it took.
    pub fn stop(&mut self) -> (bool, Duration) {
        let started = Instant::now();
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), Signal::TERM).expect("signalled");
        let status = self.child.wait().expect("ended");
        (status.success(), started.elapsed())
    }

    /// Starts again on the same data; the port may be another.
    pub fn restart(&mut self) {
        let (child, document) = spawn(&self.data_dir, &self.arguments, self.log.path());
        self.child = child;
        self.url = document["url"].as_str().expect("a URL").to_owned();
    }

    /// SIGTERM, then a start on the same data: settings that were changed are in force at once.
    pub fn restart_cleanly(&mut self) {
        assert!(self.stop().0, "exit code 0");
        self.restart();
    }

    /// More arguments for the next start.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    }

    /// What the server wrote to standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).expect("the log")).into_owned()
    }

    /// What the system says of the process (`/proc/<pid>/status`).
    pub fn process_status(&self) -> String {
        let path = format!("/proc/{}/status", self.child.id());
        std::fs::read_to_string(path).expect("a process")
    }

    pub fn public_key(&self) -> &str {
        self.project["public_api_key"].as_str().expect("a key")
    }

    pub fn private_key(&self) -> &str {
        self.project["private_api_key"].as_str().expect("a key")
    }

    pub fn project_id(&self) -> &str {
        self.project["id"].as_str().expect("an id")
    }

    /// Runs a command beside this server; panics unless it exits with 0; returns its JSON.
    pub fn command(&self, arguments: &[&str]) -> Value {
        command_in(&self.data_dir, arguments)
    }

    /// Sends one event with the project's key.
    pub fn send(&self, event: &Value) -> Answer {
        self.post(
            "/api/events/ingest/",
            self.public_key(),
            "application/json",
            event.to_string().as_bytes(),
        )
    }

    /// Sends events in one batch with the project's key.
    pub fn send_batch(&self, events: impl IntoIterator<Item = Value>) -> Answer {
        let body = Value::Array(events.into_iter().collect()).to_string();
        self.post(
            "/api/events/batch/",
            self.public_key(),
            "application/json",
            body.as_bytes(),
        )
    }

    /// Sends a body with a key.
    pub fn post(&self, path: &str, key: &str, content_type: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {key}");
        self.request(
            "POST",
            path,
            &[("authorization", &bearer), ("content-type", content_type)],
            body,
        )
    }

    /// Reads with the project's private key; panics unless it answers 200.
    pub fn read(&self, path: &str) -> Value {
        let answer = self.get(path, self.private_key());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// Reads with a key.
    pub fn get(&self, path: &str, key: &str) -> Answer {
        self.request("GET", path, &[("authorization", &format!("Bearer {key}"))], b"")
    }

    /// Sends any request.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(&format!("{}{path}", self.url), method, headers, body).expect("an answer")
    }

    /// Waits until the query endpoint has `count` events in a range that holds all of the tests' times.
    pub fn wait_for_events(&self, count: u64) -> Value {
        let path = "/api/events/query/?start_date=2020-01-01&end_date=2029-12-31&page_size=1000";
        wait_until(&format!("{count} stored events"), || {
            let page = self.read(path);
            if page["count"].as_u64() >= Some(count) {
                Ok(page)
            } else {
                Err(page["count"].to_string())
            }
        })
    }

    /// Waits until the project has stored so many events.
    pub fn wait_for_stored(&self, count: u64) {
        wait_until(&format!("{count} stored events"), || {
            let ledger = self.ledger();
            if ledger["stored"] == count {
                Ok(())
            } else {
                Err(ledger.to_string())
            }
        });
    }

    /// The ledger of the project, as `event_status` shows it.
    pub fn ledger(&self) -> Value {
        // Exits with 1 when something is not ready, and still tells everything.
        let output = run_in(&self.data_dir, &["event_status"]);
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let projects = status["projects"].as_array().expect("projects");
        projects
            .iter()
            .find(|project| project["id"] == self.project["id"])
            .expect("the project")["ledger"]
            .clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Sends any request; `Err` when the connection fails.
pub fn request(url: &str, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .allow_non_standard_methods(true)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sends_body = !matches!(method, "GET" | "HEAD" | "OPTIONS");
    let mut response = if sends_body {
        agent.run(request.body(body).expect("a request"))?
    } else {
        agent.run(request.body(()).expect("a request"))?
    };
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text)?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text,
    })
}

/// Tries `attempt` until it succeeds; panics with its last complaint when [`PATIENCE`] is over.
pub fn wait_until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(complaint) if started.elapsed() > PATIENCE => panic!("waited for {what}: {complaint}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Runs a command with `--json` on a data directory; panics unless it exits with 0.
pub fn command_in(data_dir: &Path, arguments: &[&str]) -> Value {
    let output = run_in(data_dir, arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}{err}"))
}

fn run_in(data_dir: &Path, arguments: &[&str]) -> std::process::Output {
    binary_on(data_dir)
        .arg("--json")
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .output()
        .expect("runs")
}

fn first_project(data_dir: &Path) -> Value {
    command_in(data_dir, &["project", "list"])[0].clone()
}

fn spawn(data_dir: &Path, arguments: &[String], log: &Path) -> (Child, Value) {
    let stderr = OpenOptions::new().append(true).open(log).expect("the log");
    let mut child = binary_on(data_dir)
        // By the environment, so that a test's flag overrides it.
        .env("IP_RATE_LIMIT_PER_MINUTE", "0")
        .args(["--json", "serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("the server starts");
    let out = child.stdout.take().expect("standard output");
    let first = serde_json::Deserializer::from_reader(out).into_iter::<Value>().next();
    match first {
        Some(Ok(document)) => (child, document),
        other => {
            let status = child.wait().expect("ended");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            panic!("the server did not start ({status}): {other:?}\n{log}")
        }
    }
}
