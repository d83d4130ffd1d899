//! Processes that share a database, each in a folder of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{postgres::TestDatabase, redis_server::RedisServer};

use crate::harness::{Answer, binary, request};

/// What the members have in common.
pub struct Group {
    pub database: TestDatabase,
    settings: Vec<(String, String)>,
}

/// A process.
pub struct Member {
    child: Child,
    /// What it told at its start.
    pub document: Value,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    pub data_dir: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    folder: Option<TempDir>,
}

/// A process that has been told to start.
pub struct Starting {
    child: Child,
    data_dir: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

impl Group {
    /// A new database; `None`, said aloud, for those who asked to have the tests without PostgreSQL.
    pub fn new() -> Option<Self> {
        if std::env::var("POSTGRES_TEST_SKIP").is_ok_and(|skip| skip == "1") {
            eprintln!("SKIPPED, because POSTGRES_TEST_SKIP=1");
            return None;
        }
        let database = TestDatabase::create();
        let settings = [
            ("DATABASE_URL", database.url.as_str()),
            ("IP_RATE_LIMIT_PER_MINUTE", "0"),
            ("LOG_FORMAT", "json"),
            ("RUST_LOG", "info,server=debug"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self {
            database,
            settings: settings.into(),
        })
    }

    /// The same with a Redis.
    pub fn on(mut self, redis: &RedisServer) -> Self {
        self.set("REDIS_URL", &redis.url());
        self
    }

    /// A setting of every member from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts a process with these roles.
    pub fn start(&self, roles: &str) -> Member {
        self.begin(roles).finish()
    }

    /// Starts a process and does not wait for it.
    pub fn begin(&self, roles: &str) -> Starting {
        self.begin_in(tempfile::tempdir().expect("a folder"), roles)
    }

    /// The same in a folder where another process was.
    pub fn begin_in(&self, folder: TempDir, roles: &str) -> Starting {
        let (data_dir, log) = (folder.path().join("data"), folder.path().join("log"));
        let mut settings = self.settings.clone();
        settings.push(("ROLES".to_owned(), roles.to_owned()));
        let child = serve(&settings, &data_dir)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("starts");
        Starting {
            child,
            data_dir,
            log,
            settings,
            folder,
        }
    }
}

/// A server on a data directory and a free port.
pub fn serve(settings: &[(String, String)], data_dir: &Path) -> Command {
    let mut command = binary();
    command
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .args(["--json", "serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir);
    command
}

impl Starting {
    /// Waits until it serves.
    pub fn finish(mut self) -> Member {
        let out = self.child.stdout.take().expect("standard output");
        let told = serde_json::Deserializer::from_reader(out).into_iter::<Value>().next();
        let Some(Ok(document)) = told else {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            panic!("a process did not start: {told:?}\n{log}")
        };
        Member {
            url: document["url"].as_str().expect("a URL").to_owned(),
            child: self.child,
            document,
            data_dir: self.data_dir,
            log: self.log,
            settings: self.settings,
            folder: Some(self.folder),
        }
    }
}

impl Member {
    /// The project that its start made, if it was the first.
    pub fn first_project(&self) -> Option<&Value> {
        self.document["first_start"].get("project")
    }

    /// Sends it a signal; `KILL` is waited for.
    pub fn signal(&mut self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("signalled");
        if signal == Signal::KILL {
            self.child.wait().expect("ended");
        }
    }

    /// SIGKILL; what it leaves behind.
    pub fn remains(mut self) -> TempDir {
        self.signal(Signal::KILL);
        self.folder.take().expect("a folder")
    }

    /// SIGTERM; whether the exit code was 0.
    pub fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.child.wait().expect("ended").success()
    }

    /// Runs a command beside it; panics unless it exits with 0.
    pub fn command(&self, arguments: &[&str]) -> Value {
        let output = binary()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .args(["--json", "--data-dir"])
            .arg(&self.data_dir)
            .args(arguments)
            .output()
            .expect("runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {err}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {err}"))
    }

    /// Sends a request with a key.
    pub fn request(&self, method: &str, path: &str, key: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        request(&format!("{}{path}", self.url), method, &headers, body.as_bytes()).expect("an answer")
    }

    /// Sends an event; returns the status.
    pub fn send(&self, key: &str, event: &Value) -> u16 {
        self.request("POST", "/api/events/ingest/", key, &event.to_string())
            .status
    }

    /// The answer of `/health/ready`: the status, and for each dependency whether it is ready and whether it must be.
    pub fn ready(&self) -> (u16, Vec<(bool, bool)>) {
        let answer = self.request("GET", "/health/ready", "", "");
        let body = answer.json();
        let dependencies = body["dependencies"].as_array().expect("a list").iter();
        let each = dependencies.map(|it| (it["ready"] == true, it["required"] == true));
        (answer.status, each.collect())
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.request("GET", "/metrics", "", "").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    /// What is in its data directory, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.data_dir).expect("a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Every line of its log that says `message`.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).expect("the log");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Already ended: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && self.folder.is_some() {
            eprintln!(
                "log of {}:\n{}",
                self.document["url"],
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}
