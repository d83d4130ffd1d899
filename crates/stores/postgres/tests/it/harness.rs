//! A store in a database of its own.

use std::sync::Arc;

use async_trait::async_trait;
use store::EventStore;
use store_postgres::PostgresEventStore;
use testkit::{
    clock::FixedClock,
    postgres::TestDatabase,
    suites::store::{Harness, now},
};

pub struct TestStore {
    pub database: TestDatabase,
    clock: Arc<FixedClock>,
}

impl TestStore {
    pub fn new() -> Self {
        Self {
            database: TestDatabase::create(),
            clock: Arc::new(FixedClock::at(now())),
        }
    }

    pub async fn open_another(&self) -> PostgresEventStore {
        PostgresEventStore::open(&self.database.url, None, Arc::clone(&self.clock) as _)
            .await
            .unwrap()
    }
}

#[async_trait]
impl Harness for TestStore {
    async fn open(&self) -> Arc<dyn EventStore> {
        Arc::new(self.open_another().await)
    }

    fn clock(&self) -> &FixedClock {
        &self.clock
    }
}
