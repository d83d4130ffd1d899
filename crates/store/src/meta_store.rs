//! The port of the metadata store: projects, sources and people. SQLite embedded, PostgreSQL later.

use async_trait::async_trait;
use model::{Person, PersonId, Project, ProjectChanges, ProjectId, Source, SourceChanges, SourceId, Timestamp};

/// What can go wrong in a metadata store.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// There is nothing with this id.
    #[error("there is no {what} {id}")]
    NotFound {
        /// `project`, `source` or `person`.
        what: &'static str,
        /// As asked for.
        id: String,
    },
    /// It is there already.
    #[error("{0}")]
    Conflict(String),
    /// The store is away or failed.
    #[error("the metadata store is unavailable: {0}")]
    Unavailable(String),
}

/// Keeps projects, sources and people. Safe for several processes at once.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// Changes whenever anything that this port keeps may have changed, by whatever process. Cheap: polled several times a second.
    async fn version(&self) -> Result<u64, MetaError>;

    /// Every project, oldest first.
    async fn projects(&self) -> Result<Vec<Project>, MetaError>;
    /// One project.
    async fn project(&self, id: ProjectId) -> Result<Project, MetaError>;
    /// Adds a project as it is.
    async fn create_project(&self, project: &Project) -> Result<(), MetaError>;
    /// Changes a project, sets `updated_at` to `now` and returns the result.
    async fn update_project(
        &self,
        id: ProjectId,
        changes: &ProjectChanges,
        now: Timestamp,
    ) -> Result<Project, MetaError>;
    /// Removes a project and its sources. Its events are the event store's to remove.
    async fn delete_project(&self, id: ProjectId) -> Result<(), MetaError>;

    /// Every source of every project, by project and name.
    async fn sources(&self) -> Result<Vec<Source>, MetaError>;
    /// Adds the sources whose (project, name) is new and returns how many were; idempotent. Sources of a project that is gone are left out.
    async fn ensure_sources(&self, sources: &[Source]) -> Result<u64, MetaError>;
    /// Changes a source and returns the result.
    async fn update_source(&self, id: SourceId, changes: &SourceChanges) -> Result<Source, MetaError>;

    /// Everybody, by e-mail.
    async fn people(&self) -> Result<Vec<Person>, MetaError>;
    /// Adds a person; [`MetaError::Conflict`] when the e-mail is taken.
    async fn create_person(&self, person: &Person) -> Result<(), MetaError>;
    /// Replaces a password hash.
    async fn set_password_hash(&self, id: PersonId, password_hash: &str) -> Result<(), MetaError>;
    /// Removes a person.
    async fn delete_person(&self, id: PersonId) -> Result<(), MetaError>;

    /// Closes; later calls fail.
    async fn close(&self);
}
