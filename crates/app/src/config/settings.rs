//! Settings as values.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use server::config::{Role, ServerConfig};

use super::{ConfigError, Origin, Resolved, parse};
use crate::logging::LogFormat;

/// Every setting of this process, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Path prefix of every URL, without trailing slash; empty = none.
    pub base_path: String,
    /// Where the embedded stores live.
    pub data_dir: PathBuf,
    /// The PostgreSQL that keeps events and metadata; `None` = the embedded stores do.
    pub database_url: Option<String>,
    /// The standby of it that reads go to; `None` = all go to the database itself.
    pub database_replica_url: Option<String>,
    /// What a server process does.
    pub roles: Vec<Role>,
    /// Host names that the server answers to; empty = all.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may call the reading endpoints with a key.
    pub cors_allowed_origins: Vec<String>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests per sliding minute and client address; `None` = no limit.
    pub ip_rate_limit_per_minute: Option<u32>,
    /// Bytes that may wait in the embedded queue.
    pub queue_bytes_max: u64,
    /// The Redis that keeps the queue and the rate limits; `None` = they are embedded.
    pub redis_url: Option<String>,
    /// The certificate of the authority that issued the one of Redis; `None` = those that the system trusts.
    pub redis_ca_file: Option<PathBuf>,
    /// Replicas of Redis that must have an event before it is accepted.
    pub redis_wait_replicas: u32,
    /// What is put before every key in Redis.
    pub redis_prefix: String,
    /// Bytes that may wait in Redis.
    pub redis_queue_bytes_max: u64,
    /// Memory that the embedded store may use.
    pub store_memory_bytes_max: u64,
    /// Most time between SIGTERM and exit.
    pub shutdown_budget: Duration,
    /// Time between two runs of retention.
    pub retention_interval: Duration,
    /// Where the user-agent rules and the country table are; `None` = where the build put them.
    pub runtime_dir: Option<PathBuf>,
    /// Says more in the log.
    pub debug: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`; `None` = as the command likes.
    pub log_level: Option<String>,
    /// Every value as text, with where it came from.
    pub resolved: Vec<Resolved>,
}

/// Turns texts into values and keeps every problem.
struct Reader {
    resolved: Vec<Resolved>,
    problems: Vec<String>,
}

impl Reader {
    /// The text of a setting; `None` when it is not set.
    fn text(&self, key: &str) -> Option<String> {
        self.resolved
            .iter()
            .find(|resolved| resolved.spec.key == key)
            .map(|resolved| resolved.text.clone())
            .filter(|text| !text.is_empty())
    }

    /// The value of a setting; notes the problem and returns `fallback` when it has none.
    fn value<T>(&mut self, key: &str, fallback: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        let text = self.text(key).unwrap_or_default();
        match parse(&text) {
            Ok(value) => value,
            Err(sentence) => {
                let name = self.resolved.iter().find(|resolved| resolved.spec.key == key);
                let name = name.map(Resolved::to_string).unwrap_or_default();
                self.problems.push(format!("{name} {sentence}"));
                fallback
            }
        }
    }
}

impl Settings {
    /// Checks every value.
    pub fn parse(resolved: Vec<Resolved>) -> Result<Self, ConfigError> {
        // A script's variable that is empty must not choose the working directory, or every host.
        let is_blank = |resolved: &&Resolved| resolved.origin == Origin::Flag && resolved.text.is_empty();
        let problems = resolved
            .iter()
            .filter(is_blank)
            .map(|resolved| format!("{resolved} must not be blank"))
            .collect();
        let mut reader = Reader { resolved, problems };
        let settings = Self {
            listen: reader.value("listen", SocketAddr::from(([127, 0, 0, 1], 0)), parse::address),
            base_path: reader.value("base_path", String::new(), parse::base_path),
            data_dir: PathBuf::from(reader.text("data_dir").unwrap_or_default()),
            database_url: reader.value("database_url", None, parse::database_url),
            database_replica_url: reader.value("database_replica_url", None, parse::database_url),
            roles: reader.value("roles", Vec::new(), roles),
            allowed_hosts: parse::list(&reader.text("allowed_hosts").unwrap_or_default()),
            cors_allowed_origins: reader.value("cors_allowed_origins", Vec::new(), parse::origins),
            trusted_proxies: reader.value("trusted_proxies", Vec::new(), parse::networks),
            ip_rate_limit_per_minute: Some(reader.value("ip_rate_limit_per_minute", 0, parse::whole))
                .filter(|limit| *limit > 0),
            queue_bytes_max: reader.value("queue_bytes_max", 0, parse::bytes),
            redis_url: reader.value("redis_url", None, parse::redis_url),
            redis_ca_file: reader.text("redis_ca_file").map(PathBuf::from),
            redis_wait_replicas: reader.value("redis_wait_replicas", 0, parse::whole),
            redis_prefix: reader.text("redis_prefix").unwrap_or_default(),
            redis_queue_bytes_max: reader.value("redis_queue_bytes_max", 0, parse::bytes),
            store_memory_bytes_max: reader.value("store_memory_bytes_max", 0, parse::bytes),
            shutdown_budget: Duration::from_secs(u64::from(reader.value("shutdown_budget_seconds", 0, parse::whole))),
            retention_interval: Duration::from_secs(u64::from(reader.value(
                "retention_interval_seconds",
                1,
                parse::positive,
            ))),
            runtime_dir: reader.text("runtime_dir").map(PathBuf::from),
            debug: reader.value("debug", false, parse::truth),
            log_format: reader.value("log_format", LogFormat::Text, str::parse),
            log_level: reader.text("log_level"),
            resolved: Vec::new(),
        };
        if settings.database_replica_url.is_some() && settings.database_url.is_none() {
            reader.problems.push(
                "DATABASE_REPLICA_URL needs DATABASE_URL: the replica is a standby of that database, and only reads go to it".to_owned(),
            );
        }
        if reader.problems.is_empty() {
            Ok(Self {
                resolved: reader.resolved,
                ..settings
            })
        } else {
            Err(ConfigError(reader.problems))
        }
    }

    /// Fails when the roles of a server process cannot be had with its stores and its queue: what is embedded belongs to one process.
    pub fn check_roles(&self) -> Result<(), ConfigError> {
        let has = |role| self.roles.contains(&role);
        let stores_are_shared = self.database_url.is_some();
        let queue_is_shared = self.redis_url.is_some();
        let missing = match () {
            () if !stores_are_shared && !has(Role::Api) => {
                "has no events to work on: the embedded stores belong to the one process that takes events. Set DATABASE_URL"
            }
            () if !stores_are_shared && queue_is_shared && !has(Role::Worker) => {
                "would see no event: the worker of another process would keep them in embedded stores of its own. Set DATABASE_URL"
            }
            () if !queue_is_shared && has(Role::Worker) && !has(Role::Api) => {
                "would get no event: the embedded queue belongs to the one process that takes events. Set REDIS_URL"
            }
            () => return Ok(()),
        };
        let roles = self.resolved.iter().find(|resolved| resolved.spec.key == "roles");
        let roles = roles.map(Resolved::to_string).unwrap_or_default();
        Err(ConfigError(vec![format!(
            "{roles}: a server with these roles {missing} for it and for its siblings, or let one process have all roles (unset ROLES)"
        )]))
    }

    /// The Unix socket on which a server answers commands.
    pub fn admin_socket(&self) -> PathBuf {
        self.data_dir.join("admin.sock")
    }

    /// What the server is told.
    pub fn server_config(&self) -> ServerConfig {
        ServerConfig {
            listen: self.listen,
            admin_socket: self.admin_socket(),
            roles: self.roles.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            ip_rate_limit_per_minute: self.ip_rate_limit_per_minute,
            allowed_hosts: self.allowed_hosts.clone(),
            cors_allowed_origins: self.cors_allowed_origins.clone(),
            base_path: self.base_path.clone(),
            shutdown_budget: self.shutdown_budget,
            retention_interval: self.retention_interval,
        }
    }
}

fn roles(text: &str) -> Result<Vec<Role>, String> {
    let mut roles = Vec::new();
    for part in parse::list(text) {
        let role: Role = part.parse()?;
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    if roles.is_empty() {
        return Err(format!(
            "must name at least one of {}",
            Role::ALL.map(Role::name).join(", ")
        ));
    }
    Ok(roles)
}
