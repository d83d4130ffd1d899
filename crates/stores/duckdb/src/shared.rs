//! What the writer thread and the readers share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use model::ProjectId;
use uuid::Uuid;

use crate::{announced::Announced, engine::Engine, failure::Failure, files::Files};

/// Written by the writer thread; read by everybody. No lock is held while a statement runs.
pub(crate) struct Shared {
    pub(crate) files: Files,
    pub(crate) announced: Announced,
    engine: RwLock<Option<Arc<Engine>>>,
    positions: RwLock<HashMap<Uuid, u64>>,
    projects: RwLock<HashMap<ProjectId, u32>>,
    trouble: Mutex<Option<String>>,
    broken: AtomicBool,
    recovery_asked: AtomicBool,
}

impl Shared {
    pub(crate) fn new(files: Files) -> Self {
        Self {
            files,
            announced: Announced::default(),
            engine: RwLock::default(),
            positions: RwLock::default(),
            projects: RwLock::default(),
            trouble: Mutex::default(),
            broken: AtomicBool::new(false),
            recovery_asked: AtomicBool::new(false),
        }
    }

    /// The database that counts now.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Failure> {
        self.engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| {
                Failure::Unavailable(match self.trouble() {
                    Some(trouble) => format!("the database is closed: {trouble}"),
                    None => "the store is closed".to_owned(),
                })
            })
    }

    /// Puts another database in place and returns the one before. Reads under way finish on theirs.
    pub(crate) fn replace_engine(&self, engine: Option<Arc<Engine>>) -> Option<Arc<Engine>> {
        std::mem::replace(
            &mut *self.engine.write().unwrap_or_else(PoisonError::into_inner),
            engine,
        )
    }

    /// How far a queue has been stored.
    pub(crate) fn position(&self, queue: Uuid) -> Option<u64> {
        let positions = self.positions.read().unwrap_or_else(PoisonError::into_inner);
        positions.get(&queue).copied()
    }

    /// How far every queue has been stored.
    pub(crate) fn positions(&self) -> HashMap<Uuid, u64> {
        self.positions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_position(&self, queue: Uuid, position: u64) {
        let mut positions = self.positions.write().unwrap_or_else(PoisonError::into_inner);
        positions.insert(queue, position);
    }

    pub(crate) fn replace_positions(&self, positions: HashMap<Uuid, u64>) {
        *self.positions.write().unwrap_or_else(PoisonError::into_inner) = positions;
    }

    /// The number of a project; `None`: it has no events.
    pub(crate) fn project(&self, id: ProjectId) -> Option<u32> {
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner);
        projects.get(&id).copied()
    }

    /// The number that the next new project gets.
    pub(crate) fn next_project(&self) -> u32 {
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner);
        projects.values().max().map_or(0, |number| number + 1)
    }

    pub(crate) fn add_projects(&self, new: impl IntoIterator<Item = (ProjectId, u32)>) {
        let mut projects = self.projects.write().unwrap_or_else(PoisonError::into_inner);
        projects.extend(new);
    }

    pub(crate) fn replace_projects(&self, projects: HashMap<ProjectId, u32>) {
        *self.projects.write().unwrap_or_else(PoisonError::into_inner) = projects;
    }

    /// Why events cannot be stored at present; `None` while they can. Set by appends and whenever the database or its index is given up;
    /// cleared by an append, and when both are open again.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// A reader saw that the database has given up: the writer opens it anew before its next work.
    pub(crate) fn report_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Whether the writer has yet to see [`Self::report_broken`].
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether [`Self::report_broken`] was called since the last time.
    pub(crate) fn take_broken(&self) -> bool {
        self.broken.swap(false, Ordering::Relaxed)
    }

    /// Asks for a recovery. False: one has been asked for that the writer has not come to yet.
    pub(crate) fn ask_for_recovery(&self) -> bool {
        !self.recovery_asked.swap(true, Ordering::Relaxed)
    }

    /// The writer comes to the recovery, or there was no room to ask it.
    pub(crate) fn take_recovery_asked(&self) {
        self.recovery_asked.store(false, Ordering::Relaxed);
    }
}
