//! Projects, sources and people.

use std::{collections::HashMap, fmt::Display, hash::Hash};

use super::Stores;

/// How two metadata stores differ, for people.
#[derive(Default)]
pub struct Comparison {
    /// Rows of the source.
    pub rows: usize,
    /// What the target lacks.
    pub missing: Vec<String>,
    /// What the target has otherwise, or has and the source has not.
    pub other: Vec<String>,
}

impl Comparison {
    fn add<T: PartialEq, K: Eq + Hash + Display>(
        &mut self,
        what: &str,
        here: &[T],
        there: &[T],
        key: impl Fn(&T) -> K,
    ) {
        self.rows += here.len();
        let mut left: HashMap<K, &T> = there.iter().map(|row| (key(row), row)).collect();
        for row in here {
            match left.remove(&key(row)) {
                None => self
                    .missing
                    .push(format!("{what} {} is missing in the target", key(row))),
                Some(other) if other != row => {
                    self.other.push(format!("{what} {} is another in the target", key(row)));
                }
                Some(_) => {}
            }
        }
        self.other.extend(
            left.into_keys()
                .map(|key| format!("{what} {key} is in the target alone")),
        );
    }
}

/// Compares every field of every row.
pub async fn compare(from: &Stores, to: &Stores) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    let (here, there) = (from.meta.projects().await?, to.meta.projects().await?);
    comparison.add("project", &here, &there, |project| project.id);
    let (here, there) = (from.meta.sources().await?, to.meta.sources().await?);
    comparison.add("source", &here, &there, |source| source.id);
    let (here, there) = (from.meta.people().await?, to.meta.people().await?);
    comparison.add("person", &here, &there, |person| person.id);
    Ok(comparison)
}

/// Adds what the target lacks. What it has otherwise was refused before.
pub async fn copy(from: &Stores, to: &Stores) -> anyhow::Result<()> {
    // People first: a server that starts between would else make an administrator of its own.
    let there = to.meta.people().await?;
    for person in from.meta.people().await? {
        if !there.iter().any(|other| other.id == person.id) {
            to.meta.create_person(&person).await?;
        }
    }
    let there = to.meta.projects().await?;
    for project in from.meta.projects().await? {
        if !there.iter().any(|other| other.id == project.id) {
            to.meta.create_project(&project).await?;
        }
    }
    to.meta.ensure_sources(&from.meta.sources().await?).await?;
    Ok(())
}
