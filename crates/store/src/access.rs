//! Who may do what: keys to projects, projects to scopes.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use model::{KeyKind, Project, ProjectId, Source, SourceId};

use crate::{MetaError, MetaStore};

/// The right to read one project's events. Made only by [`Directory`].
#[derive(Clone, Debug)]
pub struct ProjectScope {
    entry: Arc<ProjectEntry>,
}

/// The right to send events to one project. Made only by [`Directory`].
#[derive(Clone, Debug)]
pub struct IngestScope {
    entry: Arc<ProjectEntry>,
}

/// A project with its sources.
#[derive(Debug)]
struct ProjectEntry {
    project: Project,
    sources_by_name: HashMap<String, Arc<Source>>,
}

macro_rules! scope_accessors {
    ($scope:ty) => {
        impl $scope {
            /// The project's id.
            pub fn project_id(&self) -> ProjectId {
                self.entry.project.id
            }

            /// The project's settings, as of the last [`Directory::refresh`].
            pub fn project(&self) -> &Project {
                &self.entry.project
            }

            /// The project's source of this name.
            pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
                self.entry.sources_by_name.get(name)
            }

            /// The project's sources, in no order.
            pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
                self.entry.sources_by_name.values()
            }
        }
    };
}
scope_accessors!(ProjectScope);
scope_accessors!(IngestScope);

impl ProjectScope {
    /// The project's source with this id: a source of another project is not found.
    pub fn source_by_id(&self, id: SourceId) -> Option<&Arc<Source>> {
        self.entry.sources_by_name.values().find(|source| source.id == id)
    }
}

#[derive(Debug, Default)]
struct Snapshot {
    version: Option<u64>,
    by_id: HashMap<ProjectId, Arc<ProjectEntry>>,
    by_public_key: HashMap<String, Arc<ProjectEntry>>,
    by_private_key: HashMap<String, Arc<ProjectEntry>>,
}

/// Every project and source in memory, as of the last refresh. Looking up takes no lock.
#[derive(Debug, Default)]
pub struct Directory {
    snapshot: ArcSwap<Snapshot>,
}

impl Directory {
    /// Reads everything anew if the store has changed since the last refresh. Returns whether it had.
    pub async fn refresh(&self, store: &dyn MetaStore) -> Result<bool, MetaError> {
        let version = store.version().await?;
        if self.snapshot.load().version == Some(version) {
            return Ok(false);
        }
        let mut sources: HashMap<ProjectId, HashMap<String, Arc<Source>>> = HashMap::new();
        for source in store.sources().await? {
            sources
                .entry(source.project_id)
                .or_default()
                .insert(source.name.clone(), Arc::new(source));
        }
        let mut snapshot = Snapshot {
            version: Some(version),
            ..Snapshot::default()
        };
        for project in store.projects().await? {
            let sources_by_name = sources.remove(&project.id).unwrap_or_default();
            let entry = Arc::new(ProjectEntry {
                project,
                sources_by_name,
            });
            snapshot.by_id.insert(entry.project.id, Arc::clone(&entry));
            if entry.project.is_active {
                snapshot
                    .by_public_key
                    .insert(entry.project.public_api_key.expose().to_owned(), Arc::clone(&entry));
                snapshot
                    .by_private_key
                    .insert(entry.project.private_api_key.expose().to_owned(), entry);
            }
        }
        self.snapshot.store(Arc::new(snapshot));
        Ok(true)
    }

    /// The scope that a private key opens: `None` for every other text, public keys and keys of inactive projects among them.
    pub fn reader(&self, key: &str) -> Option<ProjectScope> {
        (KeyKind::of(key)? == KeyKind::Private)
            .then(|| self.snapshot.load().by_private_key.get(key).cloned())
            .flatten()
            .map(|entry| ProjectScope { entry })
    }

    /// The scope that a public key opens: `None` for every other text, private keys and keys of inactive projects among them.
    pub fn sender(&self, key: &str) -> Option<IngestScope> {
        (KeyKind::of(key)? == KeyKind::Public)
            .then(|| self.snapshot.load().by_public_key.get(key).cloned())
            .flatten()
            .map(|entry| IngestScope { entry })
    }

    /// The scope of a project for the operator of this machine (command line, admin socket), who may read every project.
    pub fn operator(&self, id: ProjectId) -> Option<ProjectScope> {
        self.snapshot
            .load()
            .by_id
            .get(&id)
            .cloned()
            .map(|entry| ProjectScope { entry })
    }

    /// The sending scope of a project for the operator of this machine.
    pub fn operator_sender(&self, id: ProjectId) -> Option<IngestScope> {
        self.snapshot
            .load()
            .by_id
            .get(&id)
            .cloned()
            .map(|entry| IngestScope { entry })
    }

    /// Every project, in no order: for the scheduler and the status commands.
    pub fn projects(&self) -> Vec<Project> {
        self.snapshot
            .load()
            .by_id
            .values()
            .map(|entry| entry.project.clone())
            .collect()
    }
}
