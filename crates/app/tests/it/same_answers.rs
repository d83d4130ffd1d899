//! The same file imported into the embedded stores and into PostgreSQL: every answer is the same to the byte.

use std::path::Path;

use model::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use testkit::postgres::TestDatabase;

use crate::harness::{Answer, Server, backends, binary_on, request};

/// Lines that stores could read in two ways, and some that nobody may take.
const NASTY: &str = include_str!("same_answers/nasty.ndjson");
/// Endpoints that take filters and pages.
const LISTS: [&str; 5] = [
    "query",
    "aggregations/daily",
    "aggregations/hourly",
    "aggregations/5min",
    "summaries/daily",
];
const DAY_SECONDS: i64 = 86_400;

/// Events around now, for what is told of the last hours and days: `now` may be some seconds ago.
fn recent(now: Timestamp) -> String {
    let seconds_ago = [
        -23 * 3_600,
        -1,
        30,
        600,
        3_500,
        5_000,
        80_000,
        29 * DAY_SECONDS,
        31 * DAY_SECONDS,
    ];
    let mut lines = String::new();
    for (number, ago) in seconds_ago.into_iter().enumerate() {
        for user in ["a", "B", "ä"] {
            let event = json!({
                "event_name": format!("{user} {}", number % 3), "event_source": "now", "user_id": user, "session_id": format!("s{number}"),
                "event_id": format!("recent-{number}-{user}"), "timestamp": now.saturating_add_seconds(-ago).to_string(),
                "received_at": now.saturating_add_seconds(-40 * DAY_SECONDS).to_string(),
            });
            lines.push_str(&format!("{event}\n"));
        }
    }
    lines
}

/// A server on PostgreSQL whose project is that of `other`, its id, its keys and its sources too: what is made of them is the same then.
fn twin_on_postgres(other: &Server, data_dir: &Path) -> Server {
    let database = TestDatabase::create();
    backends::choose(data_dir, vec![("DATABASE_URL", database.url.clone())]);
    let mut twin = Server::start_in(data_dir, &[]);
    assert!(twin.stop().0, "exit code 0");
    let text = |value: &Value| match value.as_str() {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => value.to_string(),
    };
    let fields = ["id", "public_api_key", "private_api_key", "created_at", "updated_at"];
    let changes = fields.map(|name| format!("{name} = {}", text(&other.project[name])));
    database.sql(&format!("update projects set {}", changes.join(", ")));
    let sources = other.command(&["source", "list"]);
    for source in sources.as_array().expect("sources") {
        let fields = ["id", "project_id", "name", "description", "is_active", "created_at"];
        let values = fields.map(|name| text(&source[name]));
        database.sql(&format!(
            "insert into sources ({}) values ({})",
            fields.join(", "),
            values.join(", ")
        ));
    }
    twin.project = other.project.clone();
    twin.restart();
    twin
}

/// Asks as if both servers had one name; their ports must not show.
fn ask(server: &Server, path: &str) -> Answer {
    let bearer = format!("Bearer {}", server.private_key());
    let headers = [("authorization", bearer.as_str()), ("host", "analytics.example")];
    let mut answer = request(&format!("{}{path}", server.url), "GET", &headers, b"").expect("an answer");
    if path == "/api/events/metrics/realtime/" {
        let mut body = answer.json();
        body["last_updated"] = Value::Null;
        answer.text = body.to_string();
    }
    answer
}

/// The answer of both servers.
fn same_answer(servers: &[Server; 2], path: &str) -> Value {
    let [mut one, other] = [0, 1].map(|index| ask(&servers[index], path));
    if one.text != other.text {
        // What is told of now may have become another between the two.
        one = ask(&servers[0], path);
    }
    assert_eq!(one.status, other.status, "{path}: {} {}", one.text, other.text);
    assert!(one.text == other.text, "{path}:\n{}\n{}", one.text, other.text);
    one.json()
}

/// Every page of a list, from both servers; how many rows there are.
fn same_pages(servers: &[Server; 2], path: &str) -> u64 {
    let mut page = same_answer(servers, path);
    let count = page["count"].as_u64().unwrap_or_else(|| panic!("{path}: {page}"));
    while let Some(next) = page["next"].as_str() {
        let next = next.strip_prefix("http://analytics.example").expect("this server");
        page = same_answer(servers, next);
    }
    count
}

fn import(server: &Server, file: &Path) -> Value {
    let mut report = server.command(&[
        "import",
        file.to_str().expect("a path"),
        "--project",
        server.project_id(),
    ]);
    for field in ["elapsed_ms", "events_per_second"] {
        report[field].take();
    }
    report
}

fn export(server: &Server) -> Vec<u8> {
    let output = binary_on(&server.data_dir)
        .args([
            "export",
            "--project",
            server.project_id(),
            "--format",
            "ndjson",
            "--data-dir",
        ])
        .arg(&server.data_dir)
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Filters of every kind.
fn filters(servers: &[Server; 2]) -> Vec<String> {
    let sources = same_answer(servers, "/api/events/sources/");
    let source = |name: &str| -> String {
        let sources = sources["event_sources"].as_array().expect("sources").iter();
        let found = sources.clone().find(|source| source["name"] == name);
        found.map_or_else(|| panic!("{name}: {sources:?}"), |source| source["id"].to_string())
    };
    let encoded = |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let mut filters = vec![
        String::new(),
        "event_source_id=00000000-0000-0000-0000-000000000000".to_owned(),
        format!(
            "event_source_id={}&event_name=page_view",
            source("wéb").trim_matches('"')
        ),
    ];
    for name in [
        "page_view",
        "Überraschung 🦀",
        "tie",
        "a",
        "A",
        " padded ",
        "o'clock",
        "time",
        "none",
    ] {
        filters.push(format!("event_name={}", encoded(name)));
    }
    for name in ["web", "Web", "now", "clock"] {
        filters.push(format!("event_source_id={}", source(name).trim_matches('"')));
    }
    for user in ["用户", "u1", " u1 ", "", "B"] {
        filters.push(format!("user_id={}", encoded(user)));
    }
    filters
}

/// Every list over every range, filtered in each of these ways, in pages of several sizes.
fn compare_lists(servers: &[Server; 2], lists: &[&str], filters: &[String], now: Timestamp) {
    let day = |days: i64| now.saturating_add_seconds(days * DAY_SECONDS);
    let around_now = format!("start_date={}&end_date={}", day(-32), day(2));
    let ranges = [
        ("2015-05-17", "2015-05-21"),
        ("2019-01-01", "2020-03-02"),
        ("2019-03-31T00:59:59.999999Z", "2019-10-27T01:30:00Z"),
        ("1969-01-01", "1970-12-31"),
        ("1999-12-31", "2000-01-02"),
        ("0001-01-01", "0001-01-03"),
    ];
    for list in lists {
        for (from, to) in ranges {
            for filter in filters {
                let path = format!("/api/events/{list}/?start_date={from}&end_date={to}&page_size=1000&{filter}");
                same_pages(servers, &path);
            }
        }
        // The last 24 hours, then around now; a next page would tell when it was asked for.
        same_pages(servers, &format!("/api/events/{list}/?page_size=1000"));
        same_pages(servers, &format!("/api/events/{list}/?page_size=5&{around_now}"));
        let nasty = format!("/api/events/{list}/?start_date=2020-02-28&end_date=2020-03-01");
        assert!(same_pages(servers, &format!("{nasty}&page_size=1")) > 1, "{list}");
        same_pages(servers, &format!("{nasty}&page_size=7"));
        for wrong in [
            "page=0",
            "page=99999",
            "page_size=0",
            "start_date=soon",
            "event_source_id=7",
            "end_date=2020-02-01",
        ] {
            same_answer(servers, &format!("{nasty}&{wrong}"));
        }
    }
}

#[test]
fn embedded_and_postgres_give_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = SystemClock.now();
    let embedded_dir = folder.path().join("embedded");
    backends::choose(&embedded_dir, Vec::new());
    let embedded = Server::start_in(&embedded_dir, &[]);
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/access-log-2015.gz");
    assert_eq!(import(&embedded, &log)["new"], 10_000);
    let files = ["log", "nasty", "recent"].map(|name| folder.path().join(name).with_extension("ndjson"));
    std::fs::write(&files[0], export(&embedded)).expect("written");
    std::fs::write(&files[1], NASTY).expect("written");
    std::fs::write(&files[2], recent(now)).expect("written");
    let first: Vec<Value> = files.iter().map(|file| import(&embedded, file)).collect();
    assert!(
        first[1]["new"].as_u64() > Some(50) && first[1]["refused"].as_u64() > Some(10),
        "{first:?}"
    );

    let mut servers = [twin_on_postgres(&embedded, &folder.path().join("postgres")), embedded];
    servers.reverse();
    for (file, expected) in files.iter().zip(&first) {
        let report = import(&servers[1], file);
        let is_log = *file == files[0];
        let new = if is_log { json!(10_000) } else { expected["new"].clone() };
        assert_eq!(report["new"], new, "{report}");
        if !is_log {
            assert_eq!(&report, expected);
        }
    }
    assert!(export(&servers[0]) == export(&servers[1]), "exports differ");
    for path in ["sources", "names", "metrics/realtime"] {
        same_answer(&servers, &format!("/api/events/{path}/"));
    }
    compare_lists(&servers, &LISTS, &filters(&servers), now);
    // Days of 23 and 25 hours, and hours that come twice.
    for zone in ["Europe/Berlin", "Australia/Lord_Howe"] {
        for server in &mut servers {
            server.command(&["project", "update", server.project_id(), "--time-zone", zone]);
            server.restart_cleanly();
        }
        same_answer(&servers, "/api/events/metrics/realtime/");
        compare_lists(&servers, &LISTS[1..], &[String::new()], now);
    }
}
