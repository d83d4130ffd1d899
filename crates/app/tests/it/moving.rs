//! `migrate-store`: from the embedded stores to PostgreSQL and back, by the real binary.

mod interrupted;
mod refused;
mod whole;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::postgres::TestDatabase;

use crate::harness::{Server, binary, binary_on};

/// Data directories and a database, all empty.
struct Places {
    folder: TempDir,
    database: TestDatabase,
}

impl Places {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            database: TestDatabase::create(),
        }
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `migrate-store` from a data directory into the database.
    fn move_there(&self, name: &str) -> Command {
        let directory = self.directory(name);
        migrate(&directory.display().to_string(), &self.database.url)
    }

    /// `migrate-store` from the database into a data directory.
    fn move_back(&self, name: &str) -> Command {
        let directory = self.directory(name);
        migrate(&self.database.url, &directory.display().to_string())
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }
}

fn migrate(from: &str, to: &str) -> Command {
    let mut command = binary();
    command.args(["--json", "migrate-store", "--from", from, "--to", to]);
    command
}

/// Runs a command; its report, and whether it ended with 0.
fn report(command: &mut Command) -> (Value, bool) {
    let output = command.output().expect("runs");
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.success())
}

/// Runs a move that must end well; its report.
fn moved(command: &mut Command) -> Value {
    let (report, is_success) = report(command);
    assert!(is_success && report["same"] == true, "{report:#}");
    report
}

/// What a move that is refused says.
fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("runs");
    let told = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&stdout));
    told
}

/// Runs a command on a data directory, and on its database if it has one; panics unless it ends with 0.
fn run(data_dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = binary_on(data_dir)
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    output.stdout
}

/// Every project's export, and what else can be listed, as text.
fn contents(data_dir: &Path) -> Vec<String> {
    let projects: Value = serde_json::from_slice(&run(data_dir, &["--json", "project", "list"])).expect("JSON");
    let mut contents = vec![
        projects.to_string(),
        String::from_utf8(run(data_dir, &["--json", "user", "list"])).expect("text"),
    ];
    for project in projects.as_array().expect("projects") {
        let id = project["id"].as_str().expect("an id");
        for arguments in [
            ["export", "--project", id].as_slice(),
            &["--json", "source", "list", "--project", id],
        ] {
            contents.push(String::from_utf8(run(data_dir, arguments)).expect("text"));
        }
    }
    contents
}

/// Where the events of every project ended.
fn ledgers(data_dir: &Path) -> Vec<Value> {
    let status: Value = serde_json::from_slice(&run(data_dir, &["--json", "event_status"])).expect("JSON");
    let projects = status["projects"].as_array().expect("projects").iter();
    projects
        .map(|project| json!([project["id"], project["ledger"]]))
        .collect()
}

/// Events as clients send them, with an id of theirs and without, and nothing in them that is plain.
fn nasty_events() -> Vec<Value> {
    let texts = [
        "ä 𝄞 \u{202e}\u{feff} 名",
        "'; drop table events; --",
        "\"\\\n\t\u{1}\u{7f}",
        "\\N\\.\\x00",
        "x\u{0}y",
        &"long ".repeat(40),
    ];
    let named = texts.iter().enumerate().map(|(number, text)| {
        json!({
            "event_name": text, "event_source": text, "user_id": text, "session_id": text, "event_id": format!("{text}{number}"),
            "timestamp": format!("19{number}0-02-28T23:59:59.999999Z"),
            "properties": {text.to_string(): text, "url": "https://shop.example/a?utm_source=x&utm_campaign=%F0%9F%98%80", "list": [text, null]},
        })
    });
    let unnamed = texts
        .iter()
        .map(|text| json!({"event_name": "plain", "properties": {"text": text}}));
    named.chain(unnamed).collect()
}

/// Properties that no reader of JSON gives back as they are.
const RAW_EVENT: &str = r#"{"event_name":"raw","event_id":"raw-1","properties":{ "b" : 12.50, "a":1e3,"a":"twice","big":123456789012345678901234567890,"half":"\ud83d","nul":"\u0000","deep":{"x":[1.0,-0]}}}"#;

/// Fills a data directory: two projects, people, sources, events by requests and from files, duplicates and refusals. Returns the first project.
fn seed(places: &Places, name: &str) -> Value {
    let directory = places.directory(name);
    let mut server = Server::start_in(&directory, &[]).without_rate_limit();
    let events = nasty_events();
    let count = events.len() as u64 + 1;
    assert_eq!(server.send_batch(events.clone()).status, 202);
    let raw = |server: &Server| {
        server.post(
            "/api/events/ingest/",
            server.public_key(),
            "application/json",
            RAW_EVENT.as_bytes(),
        )
    };
    assert_eq!(raw(&server).status, 202);
    server.wait_for_stored(count);
    assert_eq!(raw(&server).status, 202);
    assert_eq!(server.send(&json!({"event_name": ""})).status, 400);
    crate::harness::wait_until("a duplicate", || match server.ledger()["duplicate"] == 1 {
        true => Ok(()),
        false => Err(server.ledger().to_string()),
    });
    let sources = server.command(&["source", "list", "--project", server.project_id()]);
    let source = sources[0]["id"].as_str().expect("a source").to_owned();
    server.command(&[
        "source",
        "update",
        &source,
        "--sampling-rate",
        "0.125",
        "--description",
        "Größe",
    ]);
    let second = server.command(&[
        "project",
        "create",
        "--name",
        "Größe 'x'",
        "--time-zone",
        "Asia/Kathmandu",
        "--retention-days",
        "none",
        "--cors-allowed-origins",
        "https://*.example.com",
    ]);
    let second = second["id"].as_str().expect("an id").to_owned();
    // More events at one instant than a page holds, times at both ends of the calendar, and ids of clients.
    let crowd = (0..11_000)
        .map(|number| json!({"event_name": "crowd", "timestamp": "2024-02-29T12:00:00Z", "properties": {"n": number}}));
    let spread = (0..600).map(|number| {
        json!({"event_name": "spread", "event_id": format!("spread-{number}"), "user_id": format!("user {}", number % 7),
            "timestamp": format!("20{:02}-{:02}-15T00:00:00Z", number % 24, number % 12 + 1), "received_at": "2020-01-01T00:00:00Z"})
    });
    let edges = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"];
    let edges = edges.map(|time| json!({"event_name": "edge", "timestamp": time}));
    let lines: Vec<String> = crowd.chain(spread).chain(edges).map(|line| line.to_string()).collect();
    let file = places.file(&format!("{name}.ndjson"), &lines.join("\n"));
    server.command(&["import", &file, "--project", &second]);
    let project = server.project.clone();
    assert!(server.stop().0, "exit code 0");
    project
}
