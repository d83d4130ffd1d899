//! One open database file: its settings and its connections.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use duckdb::{Config, Connection};
use model::limits;

use crate::{failure::Failure, files::Files, options::DuckdbOptions, schema};

/// Version of the file format: texts by a dictionary that is itself compressed, and by zstd where so declared; at the library's default,
/// such text is stored plain. Readable by DuckDB 1.4 and later. Files of an older format are used as they are, and copied into this one by
/// compaction.
pub(crate) const STORAGE_VERSION: &str = "v1.4.0";

/// An open database file. It is closed when the engine and every connection that was taken from it are dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    generation: u64,
    root: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
}

impl Engine {
    /// Opens (or makes) the database of a generation, replays its log and brings its tables up to date. Then nobody, not even a
    /// statement, can change its settings or reach files outside of it.
    pub(crate) fn open(files: &Files, generation: u64, options: &DuckdbOptions) -> Result<Self, Failure> {
        let temp = files.temp().join(generation.to_string());
        let config = config(options, &temp)?
            .with("preserve_insertion_order", "false")?
            .enable_external_access(false)?;
        let connection = Connection::open_with_flags(files.database(generation), config)?;
        schema::migrate(&connection)?;
        connection.execute_batch("SET lock_configuration = true")?;
        Ok(Self {
            generation,
            root: Mutex::new(connection),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Which generation this is.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        // A panic while the lock was held leaves the connection as good as it was.
        Ok(self.root.lock().unwrap_or_else(PoisonError::into_inner).try_clone()?)
    }

    /// A connection for reading: one that was given back, or a new one.
    pub(crate) fn take(&self) -> Result<Connection, Failure> {
        match self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(connection) => Ok(connection),
            None => self.connect(),
        }
    }

    /// Gives a connection back that has no transaction and no statement under way.
    pub(crate) fn give_back(&self, connection: Connection) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }
}

/// Settings that every database instance of the store shares: no extensions from outside, bounded memory and disk.
pub(crate) fn config(options: &DuckdbOptions, temp: &Path) -> Result<Config, Failure> {
    let temp = temp
        .to_str()
        .ok_or_else(|| Failure::Unavailable(format!("{} is not valid UTF-8", temp.display())))?;
    Ok(Config::default()
        .enable_autoload_extension(false)?
        .with("allow_community_extensions", "false")?
        .max_memory(&format!("{}B", options.memory_bytes_max))?
        .threads(i64::try_from(options.threads).unwrap_or(1))?
        .with("temp_directory", temp)?
        .with("max_temp_directory_size", format!("{}B", limits::STORE_TEMP_BYTES_MAX))?
        .with("checkpoint_threshold", format!("{}B", limits::STORE_LOG_BYTES_MAX))?
        .with("storage_compatibility_version", STORAGE_VERSION)?)
}
