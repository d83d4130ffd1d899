//! A production stack: two servers that take events, three workers and a scheduler, each a process with a data directory of its own, over
//! one Redis and one PostgreSQL.

use std::{path::Path, time::Duration};

use tempfile::TempDir;
use testkit::{postgres::PostgresServer, proxy::Proxy, redis_server::RedisServer};

use crate::{
    crash::journal::{self, Journal},
    harness::{Server, backends, wait_for},
};

/// How long anything may take: 20 s of events wait after the longest outage, and machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// What each process does. Those that take events come first.
const ROLES: [&str; 6] = ["api", "api", "worker", "worker", "worker", "scheduler"];
/// Processes that take events.
pub const APIS: usize = 2;

/// See the module.
pub struct Cluster {
    pub processes: Vec<Server>,
    pub redis: RedisServer,
    pub postgres: PostgresServer,
    /// Between the first process and Redis.
    pub network: Proxy,
    _folder: TempDir,
}

impl Cluster {
    /// Starts everything; the project has no rate limit.
    pub fn start() -> Self {
        // A Redis that is killed keeps what it confirmed: with `everysec` it may have put a write off while its disk was slow.
        let redis = RedisServer::start("always");
        let postgres = PostgresServer::start("max_connections = 400", &[]);
        let network = Proxy::to(redis.port());
        let folder = tempfile::tempdir().expect("a folder");
        let mut processes: Vec<Server> = Vec::new();
        for (number, role) in ROLES.iter().enumerate() {
            let data_dir = folder.path().join(format!("{role}-{number}"));
            let port = if number == 0 { network.port() } else { redis.port() };
            let environment = vec![
                ("DATABASE_URL", postgres.url()),
                ("REDIS_URL", format!("redis://127.0.0.1:{port}/")),
            ];
            processes.push(start(&data_dir, environment, role));
            if number == 0 {
                let first = &processes[0];
                let limit = ["--rate-limit-per-minute", "none"];
                first.command(&[&["project", "update", first.project_id()][..], &limit].concat());
            }
        }
        Self {
            processes,
            redis,
            postgres,
            network,
            _folder: folder,
        }
    }

    /// Where events are taken.
    pub fn urls(&self) -> Vec<String> {
        self.processes[..APIS].iter().map(|server| server.url.clone()).collect()
    }

    /// Sees to it that no process has ended by itself.
    pub fn expect_running(&mut self) {
        for (number, process) in self.processes.iter_mut().enumerate() {
            assert!(process.is_running(), "{} {number} ended by itself", ROLES[number]);
        }
    }

    /// Waits until the oldest event that waits anywhere is younger than `lag`.
    pub fn wait_for_lag(&self, lag: Duration) {
        wait_for(PATIENCE, &format!("a lag below {lag:?}"), || {
            let lags: Vec<f64> = self.processes[..APIS].iter().map(oldest_waiting_seconds).collect();
            let is_low = lags.iter().all(|seconds| *seconds < lag.as_secs_f64());
            if is_low { Ok(()) } else { Err(format!("{lags:?} s")) }
        });
    }

    /// Waits until nothing waits anywhere; then what is stored is what `journal` says, and the ledgers agree.
    pub fn expect_exactly(&self, journal: &Journal, sent_again: u64) {
        for server in &self.processes[..APIS] {
            wait_for(PATIENCE, "an empty queue", || {
                let ledger = server.ledger();
                if ledger["waiting"] == 0 {
                    Ok(())
                } else {
                    Err(ledger.to_string())
                }
            });
        }
        let rows = self.postgres.sql("select event_id from events");
        let stored = rows.lines().map(str::to_owned);
        assert_eq!(journal.compare(stored), journal::Differences::default());
        for server in &self.processes[..APIS] {
            let ledger = journal::settled_ledger(server);
            println!("ledger {ledger}, sent more than once {sent_again}");
            assert_eq!(ledger["stored"], journal.len(), "{ledger}");
            assert_eq!(ledger["dead_lettered"], 0, "{ledger}");
            // Refused were only requests that the client then sent again.
            assert!(
                ledger["rejected"].as_u64() <= Some(sent_again),
                "{ledger}, {sent_again}"
            );
        }
        assert_eq!(
            self.postgres.sql("select sum(count) from event_counts").trim(),
            journal.len().to_string()
        );
    }
}

fn start(data_dir: &Path, environment: backends::Environment, role: &str) -> Server {
    backends::choose(data_dir, environment);
    Server::start_in(data_dir, &["--roles", role])
}

/// What a process manager does: starts it again until it stays.
pub fn bring_back(process: &mut Server) {
    wait_for(PATIENCE, "a start", || process.try_restart());
}

fn oldest_waiting_seconds(server: &Server) -> f64 {
    let metrics = server.request("GET", "/metrics", &[], b"").text;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("simple_analytics_queue_oldest_waiting_seconds "));
    line.and_then(|value| value.parse().ok()).unwrap_or(f64::INFINITY)
}
