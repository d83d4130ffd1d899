//! What operators see: `event_status --detailed` and `doctor`, on real servers that are stopped and started.

use std::{io::Write, path::Path, process::Output};

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::{
    postgres::{PostgresServer, TestDatabase},
    redis_server::RedisServer,
};

use crate::harness::{Server, binary, wait_until};

/// What a PostgreSQL needs that keeps whatever it has confirmed.
const DURABLE: &str = "fsync = on";

/// Whether tests with a PostgreSQL of their own are to be left out (`scripts/test.sh` says so).
fn is_left_out() -> bool {
    std::env::var("POSTGRES_TEST_SKIP").is_ok_and(|skip| skip == "1")
}

/// A settings file.
fn settings(lines: &[String]) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".toml").expect("a file");
    writeln!(file, "{}", lines.join("\n")).expect("written");
    file
}

fn name(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a name")
}

/// Runs a command with a settings file on a data directory; returns its exit code and its document.
fn run(config: &NamedTempFile, data_dir: &Path, arguments: &[&str]) -> (i32, Value) {
    let Output { status, stdout, stderr } = binary()
        .args(["--json", "--config", name(config), "--data-dir"])
        .arg(data_dir)
        .args(arguments)
        .output()
        .expect("runs");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let document = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}{err}"));
    (status.code().expect("an exit code"), document)
}

/// A part of a list of inspections.
fn part<'a>(parts: &'a Value, name: &str) -> &'a Value {
    let mut parts = parts.as_array().expect("parts").iter();
    parts.find(|part| part["part"] == name).unwrap_or(&Value::Null)
}

/// Whether a part has a finding of this level with these words, and says what to do about it.
fn says(part: &Value, level: &str, words: &str) -> bool {
    let mut findings = part["findings"].as_array().into_iter().flatten();
    findings.any(|finding| {
        let text = finding["text"].as_str().unwrap_or_default();
        finding["level"] == level && text.contains(words) && (level == "ok" || finding["remedy"] != "")
    })
}

/// What `event_status --detailed` tells of a Redis and a PostgreSQL that are well.
fn both_are_described(inspections: &Value) {
    let (of_redis, of_postgres) = (part(inspections, "redis"), part(inspections, "postgres"));
    let redis_facts = [
        "version",
        "role",
        "memory_used_bytes",
        "stream_length",
        "group",
        "appendfsync",
    ];
    let postgres_facts = [
        "version",
        "database_bytes",
        "partitions",
        "connections",
        "fsync",
        "encoding",
    ];
    for (part, facts) in [(of_redis, redis_facts), (of_postgres, postgres_facts)] {
        for fact in facts {
            let told = &part["facts"][fact];
            assert!(!told.is_null() && told != "", "{fact}: {part}");
        }
    }
    assert_eq!(of_redis["facts"]["appendfsync"], "always");
    assert_eq!(
        of_redis["facts"]["processes"][0]["roles"],
        "api,worker,scheduler,dashboard"
    );
    assert!(says(of_redis, "ok", "a worker is alive"), "{of_redis}");
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn event_status_shows_redis_and_postgres_and_what_is_wrong_when_one_of_them_is_stopped() {
    if is_left_out() {
        return;
    }
    let (redis, postgres) = (RedisServer::start("always"), PostgresServer::start(DURABLE, &[]));
    let config = settings(&[
        format!("redis_url = {:?}", redis.url()),
        format!("database_url = {:?}", postgres.url()),
    ]);
    let mut server = Server::start_with(&["--config", name(&config)]);
    let data_dir = server.data_dir.clone();
    let status = || run(&config, &data_dir, &["event_status", "--detailed"]);
    assert_eq!(server.send(&json!({"event_name": "one"})).status, 202);
    let healthy = wait_until("a stored event", || {
        let (code, status) = status();
        let stored = status["projects"][0]["ledger"]["stored"] == 1;
        if code == 0 && stored {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    });
    both_are_described(&healthy["inspections"]);

    redis.kill();
    let stopped = wait_until("a report without Redis", || {
        let (code, status) = status();
        if code == 0 || !says(part(&status["inspections"], "redis"), "problem", "Redis at 127.0.0.1") {
            return Err(status.to_string());
        }
        Ok(status)
    });
    // The rest is shown all the same.
    assert_eq!(stopped["projects"][0]["events"], 1);
    redis.start_again();
    wait_until("Redis again", || {
        if status().0 == 0 {
            Ok(())
        } else {
            Err("not ready".to_owned())
        }
    });

    postgres.kill();
    wait_until("a report without PostgreSQL", || {
        let (code, status) = status();
        if code == 0
            || !says(
                part(&status["inspections"], "postgres"),
                "problem",
                "the database postgres",
            )
        {
            return Err(status.to_string());
        }
        Ok(())
    });
    // Also when no server runs.
    server.kill();
    let (code, alone) = status();
    assert_eq!(code, 1);
    assert!(
        says(part(&alone["inspections"], "postgres"), "problem", "PostgreSQL"),
        "{alone}"
    );
    postgres.start_again();

    server.set_arguments(&["--config", name(&config), "--roles", "api"]);
    server.restart();
    wait_until("nobody who works", || {
        let (_, status) = status();
        let redis = part(&status["inspections"], "redis");
        let both = says(redis, "problem", "no worker is alive") && says(redis, "warning", "no scheduler is alive");
        if both { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn event_status_says_that_no_server_runs() {
    let mut server = Server::start();
    let config = settings(&[]);
    let data_dir = server.data_dir.clone();
    let status = || run(&config, &data_dir, &["event_status", "--detailed"]).1;
    let of_server = part(&status()["inspections"], "this server").clone();
    assert_eq!(of_server["findings"], json!([]), "{of_server}");
    server.kill();
    let of_server = part(&status()["inspections"], "this server").clone();
    assert!(says(&of_server, "problem", "no server runs"), "{of_server}");
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn the_doctor_finds_nothing_wrong_beside_a_healthy_server() {
    if is_left_out() {
        return;
    }
    let (redis, postgres) = (RedisServer::start("always"), PostgresServer::start(DURABLE, &[]));
    let config = settings(&[
        format!("redis_url = {:?}", redis.url()),
        format!("database_url = {:?}", postgres.url()),
    ]);
    let server = Server::start_with(&["--config", name(&config)]);
    let (code, document) = run(&config, &server.data_dir, &["doctor"]);
    assert_eq!(code, 0, "{document}");
    assert!(
        document["level"] == "ok" || document["level"] == "warning",
        "{document}"
    );
    for (name, words) in [
        ("configuration", "every setting"),
        ("machine", "can be written"),
        ("redis", "appendfsync always"),
        ("postgres", "answers"),
    ] {
        assert!(says(part(&document["parts"], name), "ok", words), "{words}: {document}");
    }
    // It joins nobody.
    let processes = &part(&document["parts"], "redis")["facts"]["processes"];
    assert_eq!(processes.as_array().map(Vec::len), Some(1), "{processes}");
    let (_, again) = run(&config, &server.data_dir, &["doctor"]);
    assert_eq!(
        part(&again["parts"], "redis")["facts"]["processes"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn the_doctor_names_every_problem_with_its_remedy() {
    if is_left_out() {
        return;
    }
    // The database of all tests flushes nothing, which no installation should do.
    let (redis, database) = (RedisServer::start("no"), TestDatabase::create());
    for setting in ["maxmemory-policy allkeys-lru", "maxmemory 2mb", "appendonly no"] {
        assert!(
            redis.command(&format!("CONFIG SET {setting}")).starts_with("+OK"),
            "{setting}"
        );
    }
    let config = settings(&[
        format!("redis_url = {:?}", redis.url()),
        format!("database_url = {:?}", database.url),
        "redis_wait_replicas = 2".to_owned(),
        "listen = \"0.0.0.0:8000\"".to_owned(),
        "secret_key = \"short\"".to_owned(),
        "trusted_proxies = [\"0.0.0.0/0\"]".to_owned(),
        "allowed_hosts = [\"https://analytics.example.com\"]".to_owned(),
        "runtime_dir = \"/nonexistent\"".to_owned(),
        "debug = true".to_owned(),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let (code, document) = run(&config, &folder.path().join("missing"), &["doctor"]);
    assert_eq!((code, &document["level"]), (1, &json!("problem")));
    for (name, level, words) in [
        ("configuration", "warning", "SECRET_KEY"),
        ("configuration", "problem", "ALLOWED_HOSTS"),
        ("configuration", "problem", "TRUSTED_PROXIES"),
        ("configuration", "warning", "DEBUG"),
        ("machine", "warning", "does not exist yet"),
        ("machine", "warning", "countries.mmdb"),
        ("redis", "risk", "allkeys-lru"),
        ("redis", "risk", "appendonly no"),
        ("redis", "warning", "maxmemory"),
        ("redis", "problem", "0 replicas are connected"),
        ("redis", "problem", "no worker is alive"),
        ("postgres", "risk", "fsync is off"),
        ("postgres", "risk", "full_page_writes is off"),
    ] {
        assert!(
            says(part(&document["parts"], name), level, words),
            "{words}: {document}"
        );
    }
    // Servers that are not there.
    redis.kill();
    let config = settings(&[
        format!("redis_url = {:?}", redis.url()),
        "database_url = \"postgres://nobody@127.0.0.1:1/none\"".to_owned(),
    ]);
    let (code, document) = run(&config, folder.path(), &["doctor"]);
    assert_eq!(code, 1);
    for (name, words) in [("redis", "Redis at 127.0.0.1"), ("postgres", "the database none")] {
        assert!(
            says(part(&document["parts"], name), "problem", words),
            "{words}: {document}"
        );
    }
    // People read it too.
    let text = binary()
        .args(["--config", name(&config), "doctor"])
        .current_dir(folder.path())
        .output();
    let text = String::from_utf8_lossy(&text.expect("runs").stdout).into_owned();
    assert!(
        text.contains("problem  Redis at 127.0.0.1") && text.contains("→ start it"),
        "{text}"
    );
}
