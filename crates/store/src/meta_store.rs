//! The port of the metadata store: projects, sources, people and leases. SQLite embedded, or PostgreSQL.

use std::time::Duration;

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

/// Who may do something that one process at a time does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Name of the process.
    pub holder: String,
    /// Grows by one whenever a lease begins anew: with another holder, or with the same one after it had run out.
    pub term: u64,
    /// Time until it runs out unless it is renewed; by the store's clock, so that clocks of several machines do not matter.
    pub expires_in: Duration,
}

/// Keeps projects, sources, people and leases. Safe for several processes at once.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// Changes whenever anything but a lease that this port keeps may have changed, by whatever process. Cheap: polled several times a second.
    async fn version(&self) -> Result<u64, MetaError>;

    /// Every project, oldest first.
    async fn projects(&self) -> Result<Vec<Project>, MetaError>;
    /// One project.
    async fn project(&self, id: ProjectId) -> Result<Project, MetaError>;
    /// Adds a project as it is.
    async fn create_project(&self, project: &Project) -> Result<(), MetaError>;
    /// Adds the first project and the first person, both or neither, and only where there is no project and nobody yet. Returns whether
    /// it did: of several processes that start at the same time one does.
    async fn create_first(&self, project: &Project, person: &Person) -> Result<bool, MetaError>;
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

    /// Takes a lease that nobody has, or renews the one that `holder` has, for `duration` from now. Returns the lease as it then is: another's
    /// when another has it.
    async fn take_lease(&self, name: &str, holder: &str, duration: Duration) -> Result<Lease, MetaError>;
    /// Who has a lease now; `None` = nobody.
    async fn lease(&self, name: &str) -> Result<Option<Lease>, MetaError>;
    /// Ends a lease that `holder` has: the next one need not wait. Does nothing when another has it.
    async fn end_lease(&self, name: &str, holder: &str) -> Result<(), MetaError>;

    /// Closes; later calls fail.
    async fn close(&self);
}
