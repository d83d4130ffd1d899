//! A store in a temporary directory.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use store::{EventStore, StoreError};
use store_duckdb::{DuckdbOptions, DuckdbStore};
use tempfile::TempDir;
use testkit::{
    clock::FixedClock,
    suites::store::{Harness, now},
};

/// Opens a store whose directory somebody else looks after.
pub fn open_at(directory: &Path) -> Result<DuckdbStore, StoreError> {
    DuckdbStore::open(directory, options(), Arc::new(FixedClock::at(now())))
}

fn options() -> DuckdbOptions {
    DuckdbOptions {
        memory_bytes_max: 128 << 20,
        ..DuckdbOptions::default()
    }
}

pub struct TestStore {
    directory: TempDir,
    pub options: DuckdbOptions,
    clock: Arc<FixedClock>,
}

impl TestStore {
    pub fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            options: options(),
            clock: Arc::new(FixedClock::at(now())),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn try_open(&self) -> Result<DuckdbStore, StoreError> {
        DuckdbStore::open(self.path(), self.options.clone(), Arc::clone(&self.clock) as _)
    }
}

#[async_trait]
impl Harness for TestStore {
    async fn open(&self) -> Arc<dyn EventStore> {
        // The one opened before may still be closing on another thread of the test.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            match self.try_open() {
                Ok(store) => return Arc::new(store),
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    fn clock(&self) -> &FixedClock {
        &self.clock
    }
}
