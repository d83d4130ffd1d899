//! What the server is told at start; `app` fills it from flags, environment, file and defaults.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use ipnet::IpNet;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes events and answers reading requests over HTTP.
    Api,
    /// Moves events from the queue into the store.
    Worker,
    /// Does what is due: retention. Of all processes with this role one acts at a time.
    Scheduler,
    /// Answers reading requests over HTTP, and takes no events.
    Dashboard,
}

impl Role {
    /// Every role: what one process does when nothing else is said.
    pub const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Scheduler, Self::Dashboard];

    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Dashboard => "dashboard",
        }
    }

    /// What a process with this role cannot work without.
    ///
    /// Not the stores for `Api`: keys are in memory and events go into the queue, so that a database which is away costs readings and no event.
    fn needs(self) -> &'static [Dependency] {
        match self {
            Self::Api => &[Dependency::Queue],
            Self::Worker => &[Dependency::Queue, Dependency::EventStore],
            Self::Scheduler | Self::Dashboard => &[Dependency::EventStore, Dependency::MetadataStore],
        }
    }
}

/// What a process may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// The event queue.
    Queue,
    /// The event store.
    EventStore,
    /// The metadata store.
    MetadataStore,
}

impl Dependency {
    /// As people see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::EventStore => "event_store",
            Self::MetadataStore => "metadata_store",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text.trim())
            .ok_or_else(|| {
                format!(
                    "{text:?} is no role; roles are {}",
                    Self::ALL.map(Self::name).join(", ")
                )
            })
    }
}

/// Settings of a server process.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Unix socket for the operator's commands; only the owner of the process may connect.
    pub admin_socket: PathBuf,
    /// What this process does.
    pub roles: Vec<Role>,
    /// Peers whose `X-Forwarded-For`, `X-Real-IP` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests per sliding minute and client address; `None` = no limit.
    pub ip_rate_limit_per_minute: Option<u32>,
    /// Host names that the server answers to (`.example.com` = with subdomains, `*` = all); empty = all.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may call the reading endpoints with a key.
    pub cors_allowed_origins: Vec<String>,
    /// Path prefix of every URL, without trailing slash; empty = none.
    pub base_path: String,
    /// Most time between SIGTERM and exit.
    pub shutdown_budget: Duration,
    /// Time between two runs of retention; above 0.
    pub retention_interval: Duration,
}

impl ServerConfig {
    /// Whether this process has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether this process cannot do what its roles say without a dependency.
    pub fn needs(&self, dependency: Dependency) -> bool {
        self.roles.iter().any(|role| role.needs().contains(&dependency))
    }

    /// Whether this process answers reading requests over HTTP.
    pub fn reads(&self) -> bool {
        self.has(Role::Api) || self.has(Role::Dashboard)
    }
}
