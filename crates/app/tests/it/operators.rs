//! What operators see: `event_status --detailed` and `doctor`, on real servers that are stopped and started.

use std::{io::Write, path::Path, process::Output};

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::{
    postgres::{OwnPostgres, TestDatabase},
    redis_server::RedisServer,
};

use crate::harness::{Server, binary, is_on_postgres, wait_until};

/// Whether tests with a PostgreSQL of their own are to be left out (`scripts/test.sh` says so), or all servers are told another one by the
/// environment, which goes before a settings file.
fn is_left_out() -> bool {
    is_on_postgres() || std::env::var("POSTGRES_TEST_SKIP").is_ok_and(|skip| skip == "1")
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

/// A server on a Redis and a PostgreSQL of its own.
struct Installation {
    redis: RedisServer,
    postgres: OwnPostgres,
    config: NamedTempFile,
    server: Server,
}

impl Installation {
    fn start() -> Self {
        let (redis, postgres) = (RedisServer::start("always"), OwnPostgres::start());
        let config = settings(&[
            format!("redis_url = {:?}", redis.url()),
            format!("database_url = {:?}", postgres.url()),
        ]);
        let server = Server::start_with(&["--config", name(&config)]);
        Self {
            redis,
            postgres,
            config,
            server,
        }
    }

    fn status(&self) -> (i32, Value) {
        run(&self.config, &self.server.data_dir, &["event_status", "--detailed"])
    }

    /// Waits for a report that is good or bad as a whole, and in which a part says something.
    fn wait_for(&self, exit_code: i32, name: &str, level: &str, words: &str) -> Value {
        wait_until(words, || {
            let (code, status) = self.status();
            if code == exit_code && says(part(&status["inspections"], name), level, words) {
                Ok(status)
            } else {
                Err(format!("{code}: {status}"))
            }
        })
    }
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn event_status_shows_redis_and_postgres_and_who_works() {
    if is_left_out() {
        return;
    }
    let mut installation = Installation::start();
    assert_eq!(installation.server.send(&json!({"event_name": "one"})).status, 202);
    installation.server.wait_for_events(1);
    let healthy = installation.wait_for(0, "redis", "ok", "a worker is alive");
    let (redis, postgres) = (
        part(&healthy["inspections"], "redis"),
        part(&healthy["inspections"], "postgres"),
    );
    for (part, facts) in [
        (
            redis,
            [
                "version",
                "role",
                "memory_used_bytes",
                "stream_length",
                "group",
                "appendfsync",
            ],
        ),
        (
            postgres,
            [
                "version",
                "database_bytes",
                "partitions",
                "connections",
                "fsync",
                "encoding",
            ],
        ),
    ] {
        for fact in facts {
            assert!(
                !part["facts"][fact].is_null() && part["facts"][fact] != "",
                "{fact}: {part}"
            );
        }
    }
    assert_eq!(redis["facts"]["appendfsync"], "always");
    assert_eq!(
        redis["facts"]["processes"][0]["roles"],
        "api,worker,scheduler,dashboard"
    );

    let config = name(&installation.config).to_owned();
    installation
        .server
        .set_arguments(&["--config", &config, "--roles", "api"]);
    installation.server.restart_cleanly();
    let idle = installation.wait_for(1, "redis", "problem", "no worker is alive");
    assert!(
        says(part(&idle["inspections"], "redis"), "warning", "no scheduler is alive"),
        "{idle}"
    );
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn event_status_says_what_is_stopped_and_what_to_do() {
    if is_left_out() {
        return;
    }
    let mut installation = Installation::start();
    assert_eq!(installation.server.send(&json!({"event_name": "one"})).status, 202);
    installation.server.wait_for_events(1);
    installation.redis.kill();
    let stopped = installation.wait_for(1, "redis", "problem", "Redis at 127.0.0.1");
    // The rest is shown all the same.
    assert_eq!(stopped["projects"][0]["events"], 1);
    installation.redis.start_again();
    installation.wait_for(0, "redis", "ok", "a worker is alive");

    installation.postgres.kill();
    installation.wait_for(1, "postgres", "problem", "the database postgres");
    // Also when no server runs.
    installation.server.kill();
    let (code, alone) = installation.status();
    assert_eq!(code, 1);
    assert!(
        says(part(&alone["inspections"], "postgres"), "problem", "PostgreSQL"),
        "{alone}"
    );
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
    let Installation {
        redis: _redis,
        postgres: _postgres,
        config,
        server,
    } = Installation::start();
    let (code, document) = run(&config, &server.data_dir, &["doctor"]);
    assert_eq!(code, 0, "{document}");
    assert_ne!(document["level"], "problem");
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
        ("redis", "problem", "allkeys-lru"),
        ("redis", "problem", "appendonly no"),
        ("redis", "warning", "maxmemory"),
        ("redis", "problem", "0 replicas are connected"),
        ("redis", "problem", "no worker is alive"),
        ("postgres", "problem", "fsync is off"),
        ("postgres", "problem", "full_page_writes is off"),
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
