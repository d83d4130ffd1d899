//! The embedded metadata store: projects, sources, people and leases in SQLite.
//!
//! What must stay true:
//! - Several processes use the file at once (commands beside a live server): every write is one `BEGIN IMMEDIATE`
//!   transaction, so that it waits for its turn at the start and never fails half-way for want of the lock.
//! - A call that returned is on disk: write-ahead log with `synchronous = FULL`.
//! - The file is readable by its owner alone: it holds keys and password hashes.
//! - Migrations only go forward; a file of a newer build is refused, not guessed at.

mod connect;
mod error;
mod leases;
mod people;
mod projects;
mod row;
mod sources;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use model::{Person, PersonId, Project, ProjectChanges, ProjectId, Source, SourceChanges, SourceId, Timestamp};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use store::{Lease, MetaError, MetaStore};

use crate::error::unavailable;

/// Projects, sources, people and leases in one SQLite file. Cheap to share: calls run side by side.
#[derive(Debug)]
pub struct SqliteMetaStore {
    pool: SqlitePool,
}

impl SqliteMetaStore {
    /// Opens the file, making it (mode 0600) when it is missing, and brings its schema up to date. The directory must exist.
    ///
    /// Safe when several processes do it at once. Fails with [`MetaError::Unavailable`] when the file cannot be read or
    /// written, stays locked for 5 seconds, or comes from a newer build.
    pub async fn open(path: &Path) -> Result<Self, MetaError> {
        connect::open(path).await.map(|pool| Self { pool })
    }

    /// A transaction that holds the write lock from its start; rolled back when dropped.
    async fn begin_write(&self) -> Result<Transaction<'static, Sqlite>, MetaError> {
        self.pool.begin_with("begin immediate").await.map_err(unavailable)
    }
}

/// Whether there is no project and nobody.
async fn is_empty(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select not exists (select 1 from projects) and not exists (select 1 from people)")
        .fetch_one(connection)
        .await
}

#[async_trait]
impl MetaStore for SqliteMetaStore {
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
        transaction.commit().await.map_err(unavailable)
    }

    async fn create_first(&self, project: &Project, person: &Person) -> Result<bool, MetaError> {
        let mut transaction = self.begin_write().await?;
        if !is_empty(&mut transaction).await.map_err(unavailable)? {
            return Ok(false);
        }
        people::create(&mut transaction, person).await?;
        projects::create(&mut transaction, project).await?;
        transaction.commit().await.map_err(unavailable)?;
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
        transaction.commit().await.map_err(unavailable)?;
        Ok(project)
    }

    async fn delete_project(&self, id: ProjectId) -> Result<(), MetaError> {
        projects::delete(&self.pool, id).await
    }

    async fn sources(&self) -> Result<Vec<Source>, MetaError> {
        sources::list(&self.pool).await
    }

    async fn ensure_sources(&self, sources: &[Source]) -> Result<u64, MetaError> {
        let mut transaction = self.begin_write().await?;
        let added = sources::ensure(&mut transaction, sources).await?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(added)
    }

    async fn update_source(&self, id: SourceId, changes: &SourceChanges) -> Result<Source, MetaError> {
        let mut transaction = self.begin_write().await?;
        let source = sources::update(&mut transaction, id, changes).await?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(source)
    }

    async fn people(&self) -> Result<Vec<Person>, MetaError> {
        people::list(&self.pool).await
    }

    async fn create_person(&self, person: &Person) -> Result<(), MetaError> {
        let mut transaction = self.begin_write().await?;
        people::create(&mut transaction, person).await?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn set_password_hash(&self, id: PersonId, password_hash: &str) -> Result<(), MetaError> {
        people::set_password_hash(&self.pool, id, password_hash).await
    }

    async fn delete_person(&self, id: PersonId) -> Result<(), MetaError> {
        people::delete(&self.pool, id).await
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
