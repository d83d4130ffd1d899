//! A directory of projects without a store behind it: the way to a scope in tests.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{Person, PersonId, Project, ProjectChanges, ProjectId, Source, SourceChanges, SourceId, Timestamp};
use store::{Directory, Lease, MetaError, MetaStore, ProjectScope};

/// The directory that these projects and sources make.
pub async fn directory(projects: Vec<Project>, sources: Vec<Source>) -> Arc<Directory> {
    let directory = Directory::default();
    let refreshed = directory.refresh(&Fixed { projects, sources }).await;
    assert!(matches!(refreshed, Ok(true)), "{refreshed:?}");
    Arc::new(directory)
}

/// The scope of one project with these sources.
///
/// # Panics
/// Never: the project is in its own directory.
pub async fn scope(project: Project, sources: Vec<Source>) -> ProjectScope {
    let id = project.id;
    let scope = directory(vec![project], sources).await.operator(id);
    scope.unwrap_or_else(|| panic!("{id} is not in its own directory"))
}

/// A store of these projects and sources that is only read.
pub fn meta_store(projects: Vec<Project>, sources: Vec<Source>) -> Arc<dyn MetaStore> {
    Arc::new(Fixed { projects, sources })
}

/// Projects and sources that nobody changes.
struct Fixed {
    projects: Vec<Project>,
    sources: Vec<Source>,
}

fn read_only<T>() -> Result<T, MetaError> {
    Err(MetaError::Unavailable("this store of a test is only read".to_owned()))
}

#[async_trait]
impl MetaStore for Fixed {
    async fn version(&self) -> Result<u64, MetaError> {
        Ok(0)
    }
    async fn projects(&self) -> Result<Vec<Project>, MetaError> {
        Ok(self.projects.clone())
    }
    async fn project(&self, _: ProjectId) -> Result<Project, MetaError> {
        read_only()
    }
    async fn create_project(&self, _: &Project) -> Result<(), MetaError> {
        read_only()
    }
    async fn create_first(&self, _: &Project, _: &Person) -> Result<bool, MetaError> {
        read_only()
    }
    async fn update_project(&self, _: ProjectId, _: &ProjectChanges, _: Timestamp) -> Result<Project, MetaError> {
        read_only()
    }
    async fn delete_project(&self, _: ProjectId) -> Result<(), MetaError> {
        read_only()
    }
    async fn sources(&self) -> Result<Vec<Source>, MetaError> {
        Ok(self.sources.clone())
    }
    async fn ensure_sources(&self, _: &[Source]) -> Result<u64, MetaError> {
        read_only()
    }
    async fn update_source(&self, _: SourceId, _: &SourceChanges) -> Result<Source, MetaError> {
        read_only()
    }
    async fn people(&self) -> Result<Vec<Person>, MetaError> {
        Ok(Vec::new())
    }
    async fn create_person(&self, _: &Person) -> Result<(), MetaError> {
        read_only()
    }
    async fn set_password_hash(&self, _: PersonId, _: &str) -> Result<(), MetaError> {
        read_only()
    }
    async fn delete_person(&self, _: PersonId) -> Result<(), MetaError> {
        read_only()
    }
    async fn take_lease(&self, _: &str, _: &str, _: Duration) -> Result<Lease, MetaError> {
        read_only()
    }
    async fn lease(&self, _: &str) -> Result<Option<Lease>, MetaError> {
        Ok(None)
    }
    async fn end_lease(&self, _: &str, _: &str) -> Result<(), MetaError> {
        read_only()
    }
    async fn close(&self) {}
}
