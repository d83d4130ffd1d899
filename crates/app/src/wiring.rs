//! The one place that knows every backend.

mod inspect;
mod moving;
mod redis;

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use ingest::Enricher;
use model::{Clock, SystemClock};
use queue::{AbsentQueue, EmbeddedOptions, EmbeddedQueue, EventQueue};
use server::{
    Backends, Engine, Role,
    limit::{LocalRateLimiter, RateLimiter},
};
pub use server::{Mode as EngineMode, Running as RunningEngine};
use store::{EventStore, MetaStore};
use store_duckdb::{DuckdbOptions, DuckdbStore};
use store_postgres::{PostgresEventStore, PostgresMetaStore};
use store_sqlite::SqliteMetaStore;

pub use self::{inspect::inspect, moving::open_place};
use crate::config::Settings;

/// Rules for user agents, and countries of addresses.
const TABLES: [&str; 2] = ["user-agents.yaml", "countries.mmdb"];

/// Opens the stores, and starts what `mode` and the settings say. The admin socket answers when this returns.
pub async fn start_engine(settings: &Settings, mode: EngineMode) -> anyhow::Result<RunningEngine> {
    let meta = open_meta_store(settings).await?;
    let engine = load_engine(settings, mode, meta).await?;
    Ok(server::start(engine, mode).await?)
}

/// Opens the stores and loads what the roles share. Whatever the roles of a server do not need is not made in the data directory.
pub async fn load_engine(
    settings: &Settings,
    mode: EngineMode,
    meta: Arc<dyn MetaStore>,
) -> anyhow::Result<Arc<Engine>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let limiter: Arc<dyn RateLimiter> = match &settings.redis_url {
        Some(url) => redis::limiter(settings, &redis::address(settings, url)?).await,
        None => Arc::new(LocalRateLimiter::default()),
    };
    let is_postgres = settings.database_url.is_some();
    let store = open_event_store(settings, Arc::clone(&clock)).await?;
    let backends = Backends {
        queue: open_queue(settings, mode, &*store.0, Arc::clone(&clock)).await?,
        store,
        meta: (meta, if is_postgres { "postgres" } else { "sqlite" }),
        limiter,
        enricher: Arc::new(enricher(settings)?),
        clock,
    };
    Ok(Engine::load(settings.server_config(), backends).await?)
}

/// Opens the queue, and says of which kind it is.
async fn open_queue(
    settings: &Settings,
    mode: EngineMode,
    store: &dyn EventStore,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Arc<dyn EventQueue>, &'static str)> {
    // A command may do anything.
    let has = |role| mode == EngineMode::Command || settings.roles.contains(&role);
    let takes_part = has(Role::Api) || has(Role::Worker);
    let directory = settings.data_dir.join("queue");
    // Events wait on the local disk where they are taken. What an earlier process with other roles left there is not forgotten.
    let is_local = has(Role::Api) || (has(Role::Worker) && settings.redis_url.is_none()) || directory.exists();
    let local = is_local
        .then(|| {
            let options = EmbeddedOptions {
                bytes_max: settings.queue_bytes_max,
                ..EmbeddedOptions::default()
            };
            EmbeddedQueue::open(&directory, options, Arc::clone(&clock))
                .with_context(|| format!("cannot open the queue in {}", directory.display()))
        })
        .transpose()?;
    Ok(match (&settings.redis_url, local) {
        (Some(url), local) => {
            if let Some(local) = &local {
                // It may have been the only queue until now: what of it is stored must not be copied and stored once more.
                server::acknowledge_applied(local, store.checkpoint(local.id()).await?).await?;
            }
            let address = redis::address(settings, url)?;
            let queue = redis::queue(settings, &address, mode, takes_part, local, clock).await?;
            (queue, "redis")
        }
        (None, Some(local)) => (Arc::new(local), "embedded"),
        (None, None) => (Arc::new(AbsentQueue), "none"),
    })
}

/// Opens the event store, and says of which kind it is.
async fn open_event_store(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Arc<dyn EventStore>, &'static str)> {
    if let Some(url) = &settings.database_url {
        let replica_url = settings.database_replica_url.as_deref();
        let store = PostgresEventStore::open(url, replica_url, clock).await?;
        return Ok((Arc::new(store), "postgres"));
    }
    let directory = settings.data_dir.join("events");
    let options = DuckdbOptions {
        memory_bytes_max: settings.store_memory_bytes_max,
        ..DuckdbOptions::default()
    };
    let store = DuckdbStore::open(&directory, options, clock)
        .with_context(|| format!("cannot open the event store in {}", directory.display()))?;
    Ok((Arc::new(store), "duckdb"))
}

/// Opens the metadata store; beside a running server too.
pub async fn open_meta_store(settings: &Settings) -> anyhow::Result<Arc<dyn MetaStore>> {
    let directory = &settings.data_dir;
    // Keys and password hashes are inside: nobody else may look.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot create the data directory {}", directory.display()))?;
    if let Some(url) = &settings.database_url {
        return Ok(Arc::new(PostgresMetaStore::open(url).await?));
    }
    let file = directory.join("metadata.sqlite3");
    let store = SqliteMetaStore::open(&file)
        .await
        .with_context(|| format!("cannot open {}", file.display()))?;
    Ok(Arc::new(store))
}

/// The enricher, with the tables that are there. Without them the keys that need them stay absent.
fn enricher(settings: &Settings) -> anyhow::Result<Enricher> {
    let agents = read_table(settings, TABLES[0])?;
    let countries = read_table(settings, TABLES[1])?;
    Enricher::new(agents.as_deref(), countries)
        .context("cannot use the run-time tables; fetch them again, or unset RUNTIME_DIR")
}

fn read_table(settings: &Settings, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(file) = find_table(settings, name) else {
        tracing::warn!(
            table = name,
            "a run-time table is missing: the keys that are read from it stay empty"
        );
        return Ok(None);
    };
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(bytes))
}

fn find_table(settings: &Settings, name: &str) -> Option<PathBuf> {
    let mut files = table_directories(settings)
        .into_iter()
        .map(|directory| directory.join(name));
    files.find(|file| file.exists())
}

/// Names of the run-time tables that are not there.
pub fn missing_tables(settings: &Settings) -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().filter(|name| find_table(settings, name).is_none())
}

/// Where run-time tables may be: as told, beside the binary as it is shipped, where it was built.
fn table_directories(settings: &Settings) -> Vec<PathBuf> {
    if let Some(directory) = &settings.runtime_dir {
        return vec![directory.clone()];
    }
    let mut directories = Vec::new();
    if let Some(binary) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        directories.push(binary.join("../share/simple-analytics"));
        directories.push(binary.join("share"));
    }
    directories.extend(option_env!("SIMPLE_ANALYTICS_SHARE_DIR").map(PathBuf::from));
    directories
}
