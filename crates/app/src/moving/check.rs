//! When nothing is moved: a target that holds something else, a source that others change meanwhile.

use std::collections::BTreeMap;

use anyhow::bail;
use model::{LedgerEntry, Outcome, ProjectId, Timestamp};
use store::{ProjectScope, StoreStatus};

use super::{Move, Stores, metadata, queue_of};

/// What a store shows of every change: each append adds to the ledger, each deletion lowers the number of events, and every change of
/// projects, sources and people moves their version.
#[derive(PartialEq)]
pub struct Mark {
    status: Vec<(ProjectId, u64)>,
    ledger: Vec<LedgerEntry>,
    meta_version: u64,
}

impl Mark {
    /// The mark of a store as it is.
    pub async fn of(stores: &Stores, now: Timestamp) -> anyhow::Result<Self> {
        let StoreStatus { projects, .. } = stores.events.status(now).await?;
        Ok(Self {
            status: projects
                .into_iter()
                .map(|project| (project.project_id, project.events))
                .collect(),
            ledger: stores.events.ledger().await?,
            meta_version: stores.meta.version().await?,
        })
    }

    /// Events of all projects.
    pub fn events(&self) -> u64 {
        self.status.iter().map(|(_, events)| events).sum()
    }

    /// Fails when the store has changed since.
    pub async fn refuse_changes(&self, stores: &Stores, now: Timestamp) -> anyhow::Result<()> {
        if *self != Self::of(stores, now).await? {
            bail!(
                "the source was written to meanwhile: stop every server, worker and command that uses it, and run this again. It goes on where \
                 it was; should it say that the target holds other events, move into an empty one"
            );
        }
        Ok(())
    }
}

/// Fails when the target holds what no earlier call of this move can have left.
pub async fn refuse_unknown_target(moving: &Move<'_>, scopes: &[ProjectScope]) -> anyhow::Result<()> {
    let (from, to) = (moving.from, moving.to);
    if scopes.is_empty() {
        bail!("the source has no projects: there is nothing to move");
    }
    let mut problems = Vec::new();
    for project in to.events.status(moving.clock.now()).await?.projects {
        let id = project.project_id;
        let is_moved = scopes.iter().any(|scope| scope.project_id() == id);
        if !is_moved || to.events.checkpoint(queue_of(id)).await?.is_none() {
            problems.push(format!(
                "{} events of project {id} that were not moved there",
                project.events
            ));
        }
    }
    let metadata = metadata::compare(from, to).await?;
    problems.extend(metadata.other);
    let more = ledger_differences(&to.events.ledger().await?, &from.events.ledger().await?);
    if !missing_counts(&to.events.ledger().await?, &from.events.ledger().await?).is_empty() {
        problems.extend(more);
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "the target is in use: move into an empty one. It has:\n  {}",
        problems.join("\n  ")
    )
}

type Key = (ProjectId, i32, Outcome);

fn by_key(entries: &[LedgerEntry]) -> BTreeMap<Key, u64> {
    let entries = entries.iter();
    entries
        .map(|entry| ((entry.project_id, entry.day, entry.outcome), entry.count))
        .collect()
}

/// What the ledger `there` must be added to count as much as `here`.
pub fn missing_counts(here: &[LedgerEntry], there: &[LedgerEntry]) -> Vec<LedgerEntry> {
    let there = by_key(there);
    let missing = here.iter().filter_map(|entry| {
        let counted = there.get(&(entry.project_id, entry.day, entry.outcome)).copied();
        let count = entry
            .count
            .checked_sub(counted.unwrap_or(0))
            .filter(|count| *count > 0)?;
        Some(LedgerEntry { count, ..entry.clone() })
    });
    missing.collect()
}

/// Where the two ledgers count differently, for people.
pub fn ledger_differences(here: &[LedgerEntry], there: &[LedgerEntry]) -> Vec<String> {
    let (here, there) = (by_key(here), by_key(there));
    let keys: std::collections::BTreeSet<&Key> = here.keys().chain(there.keys()).collect();
    let count = |ledger: &BTreeMap<Key, u64>, key| ledger.get(key).copied().unwrap_or(0);
    keys.into_iter()
        .filter(|key| count(&here, key) != count(&there, key))
        .map(|key| {
            let (project, day, outcome) = key;
            format!(
                "the ledger of project {project} counts {} as {outcome} on {}, in the target {}",
                count(&here, key),
                super::report::date(*day),
                count(&there, key)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use testkit::build::project;

    use super::*;

    fn entry(day: i32, outcome: Outcome, count: u64) -> LedgerEntry {
        LedgerEntry {
            project_id: project(1),
            day,
            outcome,
            count,
        }
    }

    #[test]
    fn a_ledger_is_brought_up_to_another_and_never_down() {
        let here = [
            entry(1, Outcome::Stored, 5),
            entry(1, Outcome::Duplicate, 2),
            entry(2, Outcome::Stored, 1),
        ];
        let there = [entry(1, Outcome::Stored, 3), entry(2, Outcome::Stored, 4)];
        assert_eq!(missing_counts(&here, &[]), here);
        assert_eq!(
            missing_counts(&here, &there),
            [entry(1, Outcome::Stored, 2), entry(1, Outcome::Duplicate, 2)]
        );
        assert_eq!(ledger_differences(&here, &here), Vec::<String>::new());
        let told = ledger_differences(&here, &there);
        assert_eq!(told.len(), 3);
        assert!(
            told[2].contains("counts 1 as stored on 1970-01-03, in the target 4"),
            "{told:?}"
        );
    }
}
