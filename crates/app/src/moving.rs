//! Moving everything from one store to another: projects, sources, people, events, ledger, and how far each queue is stored.
//!
//! A move is a queue: a project's events in the order of time are its records, numbered from 1, and the store that they go to keeps how far it
//! has come in the transaction of the rows, as it does for every queue. So a move that was killed goes on behind the last row that is there,
//! and no row comes twice. Before it goes on it looks whether what is there is what it brought. Metadata comes last: a target without
//! projects is one that nobody can use yet.

mod check;
mod copy;
mod digest;
mod metadata;
mod report;

use std::{fmt, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use indicatif::ProgressBar;
use model::{Clock, ProjectId, limits::TRANSFER_DAYS_SHOWN_MAX};
use store::{Checkpoint, Directory, EventStore, MetaStore, ProjectScope};
use uuid::Uuid;

use self::{check::Mark, digest::Digests};
pub use self::{
    digest::DayDigest,
    report::{ProjectPart, Report},
};

/// What the ids of moves are made of, with the project's.
const NAMESPACE: Uuid = Uuid::from_u128(0x3d1f_6c52_7f0a_4b7e_9a5c_2e61_b0c4_8d13);

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The embedded stores of a data directory.
    Embedded(PathBuf),
    /// A PostgreSQL database, by URL.
    Postgres(String),
}

impl fmt::Display for Place {
    /// Without what a URL keeps secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(directory) => write!(formatter, "{}", directory.display()),
            Self::Postgres(text) => match url::Url::parse(text) {
                Ok(url) => write!(
                    formatter,
                    "postgres://{}{}",
                    url.host_str().unwrap_or_default(),
                    url.path()
                ),
                Err(_) => formatter.write_str("PostgreSQL"),
            },
        }
    }
}

/// The stores of a place, open.
pub struct Stores {
    /// Events.
    pub events: Arc<dyn EventStore>,
    /// Projects, sources and people.
    pub meta: Arc<dyn MetaStore>,
    /// Events that wait in the place's own queue; `None`: it has none.
    pub waiting_events: Option<u64>,
}

impl Stores {
    /// Closes both.
    pub async fn close(self) -> anyhow::Result<()> {
        self.meta.close().await;
        Ok(self.events.close().await?)
    }
}

/// A move between two places.
pub struct Move<'a> {
    /// Where everything comes from.
    pub from: &'a Stores,
    /// Where it goes.
    pub to: &'a Stores,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How far it is.
    pub bar: &'a ProgressBar,
}

/// The queue whose positions count a project's moved events.
fn queue_of(project: ProjectId) -> Uuid {
    Uuid::new_v5(&NAMESPACE, project.0.as_bytes())
}

/// The queue whose positions count how often the ledger was brought up to date.
fn queue_of_ledger() -> Uuid {
    Uuid::new_v5(&NAMESPACE, b"ledger")
}

impl Move<'_> {
    /// Copies what the target lacks, then compares. Goes on where an earlier call was interrupted; what is complete is compared only.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let mark = Mark::of(self.from, self.clock.now()).await?;
        let scopes = self.scopes().await?;
        check::refuse_unknown_target(self, &scopes).await?;
        self.bar.set_length(mark.events());
        self.bar.set_message("copying");
        let mut report = Report::default();
        let mut copied = Vec::new();
        for scope in &scopes {
            let copy = copy::project(self, scope)
                .await
                .with_context(|| format!("project {}", scope.project_id()))?;
            report.copied_events += copy.copied_events;
            report.found_events += copy.found_events;
            copied.push(copy);
        }
        report.copying_took(self.bar.elapsed());
        self.copy_ledger().await?;
        self.copy_checkpoints(&scopes).await?;
        metadata::copy(self.from, self.to).await?;
        self.bar.set_position(0);
        self.bar.set_message("verifying");
        for (scope, copy) in scopes.iter().zip(copied) {
            let there = match copy.target {
                Some(there) => there,
                None => digest::of_project(&self.to.events, scope, self.bar).await?,
            };
            report.projects.push(ProjectPart::new(scope, &copy.source, &there));
        }
        mark.refuse_changes(self.from, self.clock.now()).await?;
        self.compare_rest(&scopes, &mut report).await?;
        Ok(report)
    }

    /// Compares, and changes nothing.
    pub async fn verify(&self) -> anyhow::Result<Report> {
        let mark = Mark::of(self.from, self.clock.now()).await?;
        let scopes = self.scopes().await?;
        self.bar.set_length(mark.events() * 2);
        self.bar.set_message("verifying");
        let mut report = Report::default();
        for scope in &scopes {
            let (source, target) = tokio::try_join!(
                digest::of_project(&self.from.events, scope, self.bar),
                digest::of_project(&self.to.events, scope, self.bar)
            )?;
            report.projects.push(ProjectPart::new(scope, &source, &target));
        }
        mark.refuse_changes(self.from, self.clock.now()).await?;
        self.compare_rest(&scopes, &mut report).await?;
        Ok(report)
    }

    /// The scope of every project, oldest first.
    async fn scopes(&self) -> anyhow::Result<Vec<ProjectScope>> {
        let directory = Directory::default();
        directory.refresh(&*self.from.meta).await?;
        let projects = self.from.meta.projects().await?;
        let scopes = projects.iter().filter_map(|project| directory.operator(project.id));
        Ok(scopes.collect())
    }

    /// Brings the target's ledger to the source's, in one transaction.
    async fn copy_ledger(&self) -> anyhow::Result<()> {
        let queue = queue_of_ledger();
        let position = self.to.events.checkpoint(queue).await?.unwrap_or(0) + 1;
        let missing = check::missing_counts(&self.from.events.ledger().await?, &self.to.events.ledger().await?);
        if missing.is_empty() {
            return Ok(());
        }
        let batch = store::AppendBatch {
            counts: missing.into_iter().map(|entry| (position, entry)).collect(),
            checkpoint: Some(Checkpoint { queue, position }),
            ..Default::default()
        };
        self.to.events.append(batch).await?;
        Ok(())
    }

    /// What is delivered again by a queue after the move must be known as stored, there as here.
    async fn copy_checkpoints(&self, scopes: &[ProjectScope]) -> anyhow::Result<()> {
        for checkpoint in self.queues(scopes).await? {
            let batch = store::AppendBatch {
                checkpoint: Some(checkpoint),
                ..Default::default()
            };
            self.to.events.append(batch).await?;
        }
        Ok(())
    }

    /// How far the source has stored its queues. Earlier moves are none of them: theirs count rows of another store.
    async fn queues(&self, scopes: &[ProjectScope]) -> anyhow::Result<Vec<Checkpoint>> {
        let mut queues = self.from.events.checkpoints().await?;
        queues.retain(|checkpoint| {
            checkpoint.queue != queue_of_ledger()
                && scopes
                    .iter()
                    .all(|scope| checkpoint.queue != queue_of(scope.project_id()))
        });
        Ok(queues)
    }

    /// All but the events of the source's projects.
    async fn compare_rest(&self, scopes: &[ProjectScope], report: &mut Report) -> anyhow::Result<()> {
        report.waiting_events = self.from.waiting_events;
        let now = self.clock.now();
        let is_known = |id: ProjectId| scopes.iter().any(|scope| scope.project_id() == id);
        let events_of_unknown = |status: store::StoreStatus| {
            let unknown = status
                .projects
                .into_iter()
                .filter(|project| !is_known(project.project_id));
            unknown.map(|project| project.events).sum::<u64>()
        };
        report.left_events = events_of_unknown(self.from.events.status(now).await?);
        let strange = events_of_unknown(self.to.events.status(now).await?);
        if strange > 0 {
            report.differences.push(format!(
                "the target has {strange} events of projects that the source has not"
            ));
        }
        let (ledger, there) = (self.from.events.ledger().await?, self.to.events.ledger().await?);
        report.ledger_entries = ledger.len();
        report.differences.extend(check::ledger_differences(&ledger, &there));
        let queues = self.queues(scopes).await?;
        report.queues = queues.len();
        for Checkpoint { queue, position } in queues {
            let there = self.to.events.checkpoint(queue).await?;
            if there.is_none_or(|there| there < position) {
                report.differences.push(format!(
                    "queue {queue} is stored up to {position}, in the target up to {}",
                    there.unwrap_or(0)
                ));
            }
        }
        let metadata = metadata::compare(self.from, self.to).await?;
        report.metadata_rows = metadata.rows;
        report.differences.extend(metadata.missing);
        report.differences.extend(metadata.other);
        Ok(())
    }
}

/// Days that differ, for people.
fn told_days(source: &Digests, target: &Digests) -> String {
    let days = report::differing_days(source, target);
    let shown: Vec<String> = days
        .iter()
        .take(TRANSFER_DAYS_SHOWN_MAX)
        .map(|day| format!("{} ({} events here, {} there)", day.day, day.from.events, day.to.events))
        .collect();
    let more = days.len().saturating_sub(shown.len());
    let rest = if more > 0 {
        format!(", and {more} more days")
    } else {
        String::new()
    };
    format!("{}{rest}", shown.join(", "))
}
