//! Commands on real data: without a server, and beside one.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATIENCE, Server, binary, command_in};

/// A data directory with one project, and no server.
struct Place {
    folder: TempDir,
    project: Value,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = [
            "project",
            "create",
            "--name",
            "Shop",
            "--retention-days",
            "none",
            "--rate-limit-per-minute",
            "none",
        ];
        let project = command_in(&folder.path().join("data"), &arguments);
        Self { folder, project }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn id(&self) -> &str {
        self.project["id"].as_str().expect("an id")
    }

    fn command(&self, arguments: &[&str]) -> Value {
        command_in(&self.data_dir(), arguments)
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// The lines of a file, in any order.
fn sorted_lines(path: impl AsRef<Path>) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a file");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/access-log-2015.gz");

#[test]
fn a_project_is_created_changed_and_deleted_with_its_events() {
    let place = Place::new();
    let project = &place.project;
    assert_eq!(
        (&project["rate_limit_per_minute"], &project["time_zone"]),
        (&Value::Null, &json!("UTC"))
    );
    let changed = place.command(&[
        "project",
        "update",
        place.id(),
        "--name",
        "Store",
        "--time-zone",
        "europe/berlin",
        "--monthly-event-quota",
        "5000",
        "--cors-allowed-origins",
        "https://a.example,https://*.b.example",
        "--sampling-strategy",
        "deterministic",
        "--retention-days",
        "7",
    ]);
    let expected = json!({"name": "Store", "time_zone": "Europe/Berlin", "monthly_event_quota": 5000, "retention_days": 7,
        "cors_allowed_origins": ["https://a.example", "https://*.b.example"], "sampling_strategy": "deterministic"});
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&changed[field], value, "{field}");
    }
    assert_eq!(changed["public_api_key"], project["public_api_key"]);
    let cleared = place.command(&[
        "project",
        "update",
        place.id(),
        "--monthly-event-quota",
        "none",
        "--cors-allowed-origins",
        "none",
    ]);
    assert_eq!(
        (&cleared["monthly_event_quota"], &cleared["cors_allowed_origins"]),
        (&Value::Null, &json!([]))
    );

    let rotated = place.command(&["project", "rotate-keys", place.id(), "--private"]);
    assert_eq!(rotated["public_api_key"], project["public_api_key"]);
    assert_ne!(rotated["private_api_key"], project["private_api_key"]);
    assert_eq!(place.command(&["project", "show", place.id()]), rotated);

    place.command(&["generate", "--events", "50"]);
    let deleted = place.command(&["project", "delete", place.id(), "--yes"]);
    assert_eq!(deleted["deleted_events"], 50);
    assert_eq!(place.command(&["project", "list"]), json!([]));
    assert_eq!(place.command(&["event_status"])["events_stored"], 0);
}

#[test]
fn a_project_that_is_deleted_while_events_come_in_leaves_none() {
    // Without a worker the command itself takes the queue in: it does not happen to wait until the server has heard of the deletion.
    let server = Server::start_with(&["--roles", "api"]);
    for round in 0..5 {
        let project = server.command(&[
            "project",
            "create",
            "--name",
            "Short",
            "--rate-limit-per-minute",
            "none",
        ]);
        let field = |name: &str| project[name].as_str().expect("a text");
        let (id, key) = (field("id"), field("public_api_key"));
        let send = || {
            let event = br#"{"event_name":"late"}"#;
            server
                .post("/api/events/ingest/", key, "application/json", event)
                .status
        };
        crate::harness::wait_until("the project", || match send() {
            202 => Ok(()),
            status => Err(status.to_string()),
        });
        let started = std::time::Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while started.elapsed() < PATIENCE && send() != 401 {});
            }
            server.command(&["project", "delete", id, "--yes"]);
        });
        server.command(&["process_events"]);
        let status = server.command(&["event_status"]);
        assert_eq!(status["events_stored"], 0, "round {round}");
    }
}

#[test]
fn people_get_passwords_that_are_shown_once_or_never() {
    let place = Place::new();
    let generated = place.command(&["user", "create", "--email", "Ada@example.com", "--superuser"]);
    assert_eq!(generated["password"].as_str().map(str::len), Some(24));
    let mut child = binary()
        .args([
            "--json",
            "--data-dir",
            &place.path("data"),
            "user",
            "create",
            "--email",
            "bob@example.com",
            "--password-stdin",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child
        .stdin
        .take()
        .expect("input")
        .write_all(b"correct horse\n")
        .expect("written");
    let output = child.wait_with_output().expect("ends");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (told["email"].as_str(), told.get("password")),
        (Some("bob@example.com"), None)
    );
    let people = place.command(&["user", "list"]);
    assert_eq!(people.as_array().map(Vec::len), Some(2));
    assert!(
        !people.to_string().contains("argon2") && !people.to_string().contains("password"),
        "{people}"
    );
    let taken = binary()
        .args([
            "--data-dir",
            &place.path("data"),
            "user",
            "create",
            "--email",
            "ada@EXAMPLE.com",
            "--generate-password",
        ])
        .output()
        .expect("runs");
    assert_eq!(
        taken.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&taken.stderr)
    );
    place.command(&["user", "set-password", "ADA@example.com", "--generate-password"]);
    place.command(&["user", "delete", "ada@example.com", "--yes"]);
    assert_eq!(place.command(&["user", "list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_real_log_is_imported_once_however_often() {
    let place = Place::new();
    let first = place.command(&["import", LOG, "--project", place.id()]);
    let told = |report: &Value| {
        ["records", "accepted", "new", "duplicates", "refused"].map(|field| report[field].as_u64().expect("a count"))
    };
    assert_eq!(told(&first), [10_000, 10_000, 10_000, 0, 0], "{first}");
    let second = place.command(&["import", LOG, "--project", place.id()]);
    assert_eq!(told(&second), [10_000, 10_000, 0, 10_000, 0], "{second}");
    let status = place.command(&["event_status"]);
    assert_eq!(
        (&status["events_stored"], &status["ready"]),
        (&json!(10_000), &json!(true))
    );
    assert_eq!(status["projects"][0]["latest_event"], "2015-05-20T21:05:59Z");
    let page_views = place.path("views.ndjson");
    let exported = place.command(&[
        "export",
        "--project",
        place.id(),
        "--event-name",
        "page_view",
        "--output",
        &page_views,
    ]);
    assert_eq!(exported["events"], 3_918);
    let day = place.path("day.csv.gz");
    let arguments = [
        "export",
        "--project",
        place.id(),
        "--format",
        "csv",
        "--from",
        "2015-05-18",
        "--to",
        "2015-05-19",
        "-o",
        &day,
    ];
    assert_eq!(place.command(&arguments)["events"], 2_893);
    // The log is older than a retention that is set now, and a further import says so.
    place.command(&["project", "update", place.id(), "--retention-days", "30"]);
    let warned = place.command(&["import", &day, "--project", place.id()]);
    assert_eq!(
        (told(&warned), &warned["past_retention"]),
        ([2_893, 2_893, 0, 2_893, 0], &json!(2_893))
    );
    let cleanup = place.command(&["cleanup_events", "--dry-run"]);
    assert_eq!(cleanup["projects"][0]["deleted"], 10_000);
    place.command(&["cleanup_events"]);
    assert_eq!(place.command(&["event_status"])["events_stored"], 0);
}

#[test]
fn refused_lines_are_told_with_their_places() {
    let place = Place::new();
    let file = place.file(
        "mixed.ndjson",
        "{\"event_name\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"colour\":1}\n\
         rubbish\n\
         {\"event_name\":\"b\",\"timestamp\":\"yesterday\"}\n\
         {\"event_name\":\"c\"}\n",
    );
    let report = place.command(&["import", &file, "--project", place.id()]);
    assert_eq!(
        (&report["records"], &report["new"], &report["refused"]),
        (&json!(4), &json!(1), &json!(3))
    );
    assert_eq!(report["ignored_fields"], json!(["colour"]));
    let mut examples: Vec<&str> = report["refusals"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refused| refused["examples"][0].as_str().expect("a place"))
        .collect();
    examples.sort_unstable();
    let expected: Vec<String> = [2, 3, 4].iter().map(|line| format!("{file}:{line}")).collect();
    assert_eq!(examples, expected);
    let nothing = place.file("nothing.ndjson", "rubbish\n");
    let output = binary()
        .args([
            "--data-dir",
            &place.path("data"),
            "import",
            "--format",
            "ndjson",
            "--project",
            place.id(),
            &nothing,
        ])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1), "every record was refused");
}

#[test]
fn an_export_imports_back_unchanged_beside_a_server() {
    let server = Server::start();
    let id = server.project_id();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Events of every kind: named by the client or by the server, with numbers that must keep their spelling.
    server.command(&["project", "update", id, "--rate-limit-per-minute", "none"]);
    server.command(&["generate", "--project", id, "--events", "300", "--until", "2026-01-31"]);
    server.send(&json!({"event_name": "named by the server", "timestamp": "2026-01-02T03:04:05.678901Z"}));
    let precise = r#"{"event_name":"precise","event_id":"p-1","properties":{"price":1.10,"text":"a,\"b\"\nc","big":12345678901234567890}}"#;
    let answer = server.post(
        "/api/events/ingest/",
        server.public_key(),
        "application/json",
        precise.as_bytes(),
    );
    assert_eq!(answer.status, 202, "{}", answer.text);
    server.wait_for_events(302);

    for format in ["ndjson", "csv"] {
        let (first, again, copy) = (path("first"), path("again"), path("copy"));
        let exported = server.command(&["export", "--project", id, "--format", format, "--output", &first]);
        assert_eq!(exported["events"], 302, "{format}");
        let imported = server.command(&["import", &first, "--project", id, "--format", format]);
        assert_eq!(
            (&imported["new"], &imported["duplicates"]),
            (&json!(0), &json!(302)),
            "{format}: {imported}"
        );
        server.command(&["export", "--project", id, "--format", format, "--output", &again]);
        assert_eq!(sorted_lines(&again), sorted_lines(&first), "{format}");
        // Into another project: the same events, received when they were, apart from their ids.
        let other = server.command(&["project", "create", "--name", format]);
        let other_id = other["id"].as_str().expect("an id");
        let imported = server.command(&["import", &first, "--project", other_id, "--format", format]);
        assert_eq!(imported["new"], 302, "{format}: {imported}");
        server.command(&["export", "--project", other_id, "--output", &copy]);
        server.command(&["export", "--project", id, "--output", &first]);
        assert_eq!(without_ids(&copy), without_ids(&first), "{format}");
        let created = |key: &str| {
            let path = "/api/events/query/?start_date=2020-01-01&end_date=2029-12-31&page_size=1000";
            let page = server.get(path, key).json();
            let rows = page["results"].as_array().expect("rows").clone();
            let mut times: Vec<String> = rows.iter().map(|row| row["created_at"].to_string()).collect();
            times.sort();
            times
        };
        let other_key = other["private_api_key"].as_str().expect("a key");
        assert_eq!(created(other_key), created(server.private_key()), "{format}");
    }
}

#[test]
fn old_events_of_an_import_take_nothing_of_this_months_quota() {
    let mut server = Server::start();
    let id = server.project_id().to_owned();
    server.command(&["project", "update", &id, "--monthly-event-quota", "3"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("old.ndjson");
    let line = |number: u32| {
        json!({"event_id": format!("{number}"), "event_name": "old", "timestamp": "2020-01-01T00:00:00Z", "received_at": "2020-01-02T00:00:00Z"}).to_string() + "\n"
    };
    std::fs::write(&file, (0..10).map(line).collect::<String>()).expect("written");
    for new in [10, 0] {
        let report = server.command(&["import", &file.display().to_string(), "--project", &id]);
        assert_eq!(report["new"], new, "{report}");
        // The second import's duplicates give nothing back either, and a restart counts alike.
        assert_eq!(server.send(&json!({"event_name": "new"})).status, 202);
        server.restart_cleanly();
    }
    assert_eq!(server.send(&json!({"event_name": "new"})).status, 202);
    assert_eq!(server.send(&json!({"event_name": "new"})).status, 429);
}

/// The events of an NDJSON export, without their ids, in any order.
fn without_ids(path: &str) -> Vec<String> {
    let mut events: Vec<String> = sorted_lines(path)
        .iter()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).expect("JSON");
            let fields = event.as_object_mut().expect("an object");
            fields.remove("id");
            event.to_string()
        })
        .collect();
    events.sort();
    events
}

#[test]
fn an_export_has_what_still_waited_in_the_queue() {
    let mut server = Server::start_with(&["--roles", "api"]);
    assert_eq!(server.send(&json!({"event_name": "waits"})).status, 202);
    server.kill();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.ndjson").display().to_string();
    let exported = server.command(&["export", "--project", server.project_id(), "--output", &file]);
    assert_eq!(exported["events"], 1);
    assert!(sorted_lines(&file)[0].contains("waits"));
}

#[test]
fn an_export_that_cannot_be_written_names_its_file_and_leaves_nothing() {
    let place = Place::new();
    place.command(&["generate", "--events", "50"]);
    for name in ["full.ndjson", "full.csv.gz"] {
        let partial = place.folder.path().join(format!("{name}.partial"));
        // A disk without room.
        std::os::unix::fs::symlink("/dev/full", &partial).expect("a link");
        let output = binary()
            .args(["--data-dir", &place.path("data"), "export", "--project", place.id()])
            .args(["--output", &place.path(name)])
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let names_file = told.contains(&format!("cannot write {}", place.path(name)));
        assert!(names_file && !told.contains("standard output"), "{told}");
        assert!(
            !partial.is_symlink() && !Path::new(&place.path(name)).exists(),
            "{name}"
        );
    }
}

#[test]
fn demo_traffic_is_the_same_for_the_same_seed_over_every_way() {
    let server = Server::start_with(&["--trusted-proxies", "127.0.0.1"]);
    let id = server.project_id();
    server.command(&["project", "update", id, "--rate-limit-per-minute", "none"]);
    let plan = ["--events", "200", "--seed", "5", "--until", "2026-01-31T00:00:00Z"];
    let first = server.command(&[&["generate", "--project", id], &plan[..]].concat());
    assert_eq!((&first["new"], &first["refused"]), (&json!(200), &json!(0)), "{first}");
    let again = server.command(&[&["generate", "--project", id], &plan[..]].concat());
    assert_eq!(
        (&again["new"], &again["duplicates"]),
        (&json!(0), &json!(200)),
        "{again}"
    );
    let live = server.command(&["generate", "--project", id, "--rate", "100", "--duration", "1"]);
    assert_eq!(live["new"], 100, "{live}");
    let over_http = [
        &["generate", "--url", &server.url, "--key", server.public_key()],
        &["--events", "50", "--seed", "6"][..],
    ]
    .concat();
    assert_eq!(server.command(&over_http)["accepted"], 50);
    server.wait_for_events(350);
    let wrong_key = binary()
        .args(["generate", "--url", &server.url, "--key", "sa_wrong"])
        .output()
        .expect("runs");
    assert_eq!(wrong_key.status.code(), Some(1));
}

#[test]
fn a_status_without_server_leaves_nothing_behind_that_disturbs_one() {
    let place = Place::new();
    // A socket of a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(place.data_dir().join("admin.sock")).expect("bound"));
    assert_eq!(place.command(&["event-status", "--detailed"])["ready"], true);
    assert!(!place.data_dir().join("admin.sock").exists());
    let server = Server::start_in(&place.data_dir(), &[]);
    assert_eq!(server.command(&["event_status"])["queue"]["consumers"], 1);
    assert_eq!(server.command(&["process_events"])["waiting"], 0);
}
