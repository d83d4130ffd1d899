//! User numbers: dense per project, in order of first sight, never given twice.

use std::collections::HashMap;

use super::{Changes, Index, number_of};
use crate::failure::Failure;

/// What memory knows of the numbers: all next ones, and those of recently seen users.
pub(super) struct Numbers {
    next: HashMap<u32, u32>,
    /// Two generations: a full `recent` becomes `older`, and the older one is forgotten. Users seen again move to `recent`.
    recent: HashMap<u32, HashMap<Box<str>, u32>>,
    older: HashMap<u32, HashMap<Box<str>, u32>>,
    recent_len: usize,
}

impl Numbers {
    pub(super) fn new(next: HashMap<u32, u32>) -> Self {
        Self {
            next,
            recent: HashMap::new(),
            older: HashMap::new(),
            recent_len: 0,
        }
    }

    /// The number that the next new user of `project` gets.
    pub(super) fn next(&self, project: u32) -> u32 {
        self.next.get(&project).copied().unwrap_or(0)
    }

    /// Keeps memory within `entries_max`, give or take one batch.
    pub(super) fn trim(&mut self, entries_max: usize) {
        if self.recent_len >= entries_max / 2 {
            self.older = std::mem::take(&mut self.recent);
            self.recent_len = 0;
        }
    }

    fn get(&mut self, project: u32, user_id: &str) -> Option<u32> {
        if let Some(number) = self.recent.get(&project).and_then(|users| users.get(user_id)) {
            return Some(*number);
        }
        let number = *self.older.get(&project)?.get(user_id)?;
        self.remember(project, user_id, number);
        Some(number)
    }

    fn remember(&mut self, project: u32, user_id: &str, number: u32) {
        self.recent.entry(project).or_default().insert(user_id.into(), number);
        self.recent_len += 1;
    }

    fn forget(&mut self, project: u32) {
        self.recent.remove(&project);
        self.older.remove(&project);
        self.recent_len = self.recent.values().map(HashMap::len).sum();
    }
}

/// The key of a user: project number, big-endian so that a project's users lie together, then the user id.
pub(super) fn key(project: u32, user_id: &str) -> Vec<u8> {
    [&project.to_be_bytes(), user_id.as_bytes()].concat()
}

impl Index {
    /// The number of a user, a new one at first sight.
    pub(crate) fn number(&mut self, changes: &mut Changes, project: u32, user_id: &str) -> Result<u32, Failure> {
        if let Some(number) = self.numbers.get(project, user_id) {
            return Ok(number);
        }
        let key = key(project, user_id);
        if let Some(number) = self.users.get(&key)? {
            let number = number_of(&number)?;
            self.numbers.remember(project, user_id, number);
            return Ok(number);
        }
        let number = self.numbers.next(project);
        let next = number.checked_add(1).ok_or_else(|| {
            Failure::Refused("the project has four billion users, more than can be numbered".to_owned())
        })?;
        self.numbers.next.insert(project, next);
        changes.numbered.insert(project, next);
        changes.insert(&self.users, key, number.to_le_bytes());
        self.numbers.remember(project, user_id, number);
        Ok(number)
    }

    /// Forgets the users of a project, durably: their ids are somebody's. Their numbers are not given again.
    pub(crate) fn forget_users(&mut self, project: u32) -> Result<(), Failure> {
        self.numbers.forget(project);
        loop {
            let mut batch = self.durable_batch();
            for entry in self.users.prefix(project.to_be_bytes()).take(super::REBUILD_BATCH) {
                batch.remove(&self.users, entry.key()?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit()?;
        }
    }
}
