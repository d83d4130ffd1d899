//! Projects, sources, people and leases.
//!
//! What must stay true: every write but that of a lease first locks the one row of `changes`, as `BEGIN IMMEDIATE` does in the embedded store, so that writers
//! come one after the other, none reads what another is about to change, and none can deadlock with another.

mod error;
mod leases;
mod people;
mod projects;
mod row;
mod sources;

use std::time::Duration;

use async_trait::async_trait;
use model::{Person, PersonId, Project, ProjectChanges, ProjectId, Source, SourceChanges, SourceId, Timestamp, limits};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use store::{Lease, MetaError, MetaStore};

use self::error::unavailable;
use crate::connect::{Database, Session};

/// Projects, sources, people and leases in PostgreSQL. Cheap to share: calls run side by side.
#[derive(Debug)]
pub struct PostgresMetaStore {
    pool: PgPool,
}

impl PostgresMetaStore {
    /// Connects to the database of a `postgres://` URL and brings its schema up to date.
    ///
    /// Safe when several processes do it at once. Fails with [`MetaError::Unavailable`] when the database cannot be reached, is older than
    /// PostgreSQL 14, or its schema comes from a newer build.
    pub async fn open(url: &str) -> Result<Self, MetaError> {
        let database = Database::parse(url).map_err(MetaError::Unavailable)?;
        database.migrate().await.map_err(MetaError::Unavailable)?;
        Ok(Self {
            pool: database.pool(Session::Meta, limits::POSTGRES_META_CONNECTIONS_MAX),
        })
    }

    /// A transaction that holds the lock of writers from its start; rolled back when dropped.
    async fn begin_write(&self) -> Result<Transaction<'static, Postgres>, MetaError> {
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        sqlx::query("select count from changes for update")
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        Ok(transaction)
    }
}

async fn commit(transaction: Transaction<'static, Postgres>) -> Result<(), MetaError> {
    transaction.commit().await.map_err(unavailable)
}

/// Whether there is no project and nobody.
async fn is_empty(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select not exists (select from projects) and not exists (select from people)")
        .fetch_one(connection)
        .await
}

#[async_trait]
impl MetaStore for PostgresMetaStore {
    async fn version(&self) -> Result<u64, MetaError> {
        let count: i64 = sqlx::query_scalar("select count from changes")
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(count.unsigned_abs())
    }

    async fn projects(&self) -> Result<Vec<Project>, MetaError> {
        projects::list(&self.pool).await
    }

    async fn project(&self, id: ProjectId) -> Result<Project, MetaError> {
        let mut connection = self.pool.acquire().await.map_err(unavailable)?;
        projects::get(&mut connection, id).await
    }

    async fn create_project(&self, project: &Project) -> Result<(), MetaError> {
        let mut transaction = self.begin_write().await?;
        projects::create(&mut transaction, project).await?;
        commit(transaction).await
    }

    async fn create_first(&self, project: &Project, person: &Person) -> Result<bool, MetaError> {
        let mut transaction = self.begin_write().await?;
        if !is_empty(&mut transaction).await.map_err(unavailable)? {
            return Ok(false);
        }
        people::create(&mut transaction, person).await?;
        projects::create(&mut transaction, project).await?;
        commit(transaction).await?;
        Ok(true)
    }

    async fn update_project(
        &self,
        id: ProjectId,
        changes: &ProjectChanges,
        now: Timestamp,
    ) -> Result<Project, MetaError> {
        let mut transaction = self.begin_write().await?;
        let project = projects::update(&mut transaction, id, changes, now).await?;
        commit(transaction).await?;
        Ok(project)
    }

    async fn delete_project(&self, id: ProjectId) -> Result<(), MetaError> {
        let mut transaction = self.begin_write().await?;
        projects::delete(&mut transaction, id).await?;
        commit(transaction).await
    }

    async fn sources(&self) -> Result<Vec<Source>, MetaError> {
        sources::list(&self.pool).await
    }

    async fn ensure_sources(&self, sources: &[Source]) -> Result<u64, MetaError> {
        let mut transaction = self.begin_write().await?;
        let added = sources::ensure(&mut transaction, sources).await?;
        commit(transaction).await?;
        Ok(added)
    }

    async fn update_source(&self, id: SourceId, changes: &SourceChanges) -> Result<Source, MetaError> {
        let mut transaction = self.begin_write().await?;
        let source = sources::update(&mut transaction, id, changes).await?;
        commit(transaction).await?;
        Ok(source)
    }

    async fn people(&self) -> Result<Vec<Person>, MetaError> {
        people::list(&self.pool).await
    }

    async fn create_person(&self, person: &Person) -> Result<(), MetaError> {
        let mut transaction = self.begin_write().await?;
        people::create(&mut transaction, person).await?;
        commit(transaction).await
    }

    async fn set_password_hash(&self, id: PersonId, password_hash: &str) -> Result<(), MetaError> {
        let mut transaction = self.begin_write().await?;
        people::set_password_hash(&mut transaction, id, password_hash).await?;
        commit(transaction).await
    }

    async fn delete_person(&self, id: PersonId) -> Result<(), MetaError> {
        let mut transaction = self.begin_write().await?;
        people::delete(&mut transaction, id).await?;
        commit(transaction).await
    }

    async fn take_lease(&self, name: &str, holder: &str, duration: Duration) -> Result<Lease, MetaError> {
        leases::take(&self.pool, name, holder, duration).await
    }

    async fn lease(&self, name: &str) -> Result<Option<Lease>, MetaError> {
        leases::get(&self.pool, name).await
    }

    async fn end_lease(&self, name: &str, holder: &str) -> Result<(), MetaError> {
        leases::end(&self.pool, name, holder).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
