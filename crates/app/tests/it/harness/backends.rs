//! Where a server's queue and stores are: embedded in its data directory, or in Redis and PostgreSQL.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use testkit::{postgres::TestDatabase, redis_server::SharedRedis};

/// Where events wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Embedded,
    Redis,
}

/// Where events and projects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Embedded,
    Postgres,
}

/// What a server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backends {
    pub queue: Queue,
    pub store: Store,
}

/// Environment variables.
pub type Environment = Vec<(&'static str, String)>;

/// The environment of each data directory's server and commands.
static CHOSEN: Mutex<BTreeMap<PathBuf, Environment>> = Mutex::new(BTreeMap::new());

impl Backends {
    /// What this run is told by `CONTRACT_QUEUE` (`embedded`, `redis`) and `CONTRACT_STORE` (`embedded`, `postgres`).
    pub fn of_the_run() -> Self {
        let told = |name: &str| std::env::var(name).unwrap_or_default();
        let queue = match told("CONTRACT_QUEUE").as_str() {
            "" | "embedded" => Queue::Embedded,
            "redis" => Queue::Redis,
            other => panic!("CONTRACT_QUEUE is {other:?}; it can be embedded or redis"),
        };
        let store = match told("CONTRACT_STORE").as_str() {
            "" | "embedded" => Store::Embedded,
            "postgres" => Store::Postgres,
            other => panic!("CONTRACT_STORE is {other:?}; it can be embedded or postgres"),
        };
        Self { queue, store }
    }

    /// What the binary is told: of an empty database and an empty part of Redis that nobody else has.
    fn environment(self) -> Environment {
        let mut environment = Environment::new();
        if self.queue == Queue::Redis {
            let SharedRedis { url, prefix } = SharedRedis::create();
            environment.extend([("REDIS_URL", url), ("REDIS_PREFIX", prefix)]);
        }
        if self.store == Store::Postgres {
            environment.push(("DATABASE_URL", TestDatabase::create().url));
        }
        environment
    }
}

fn chosen() -> MutexGuard<'static, BTreeMap<PathBuf, Environment>> {
    CHOSEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on everything that runs on `data_dir` has this environment.
pub fn choose(data_dir: &Path, environment: Environment) {
    chosen().insert(data_dir.to_owned(), environment);
}

/// The environment of `data_dir`: the one that was chosen, else one of the run's backends, which it keeps.
pub fn environment_of(data_dir: &Path) -> Environment {
    let mut chosen = chosen();
    let made = chosen
        .entry(data_dir.to_owned())
        .or_insert_with(|| Backends::of_the_run().environment());
    made.clone()
}
