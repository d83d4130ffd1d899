//! Bodies of the admin socket; also what `--json` prints.

use std::collections::BTreeSet;

use model::{LedgerTotals, ProjectId, Timestamp};
use serde::{Deserialize, Serialize};

/// `GET /status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// `true` when every dependency answers that the roles of this process need.
    pub ready: bool,
    /// What the process that tells this does.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Each dependency: `queue`, `event_store`, `metadata_store`.
    pub dependencies: Vec<DependencyStatus>,
    /// Who does what is due, of all processes; `None` when nobody does.
    #[serde(default)]
    pub scheduler: Option<SchedulerReport>,
    /// The queue.
    pub queue: QueueReport,
    /// Rows in the store now.
    pub events_stored: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
    /// Each project, by name.
    pub projects: Vec<ProjectReport>,
    /// When this was told.
    pub generated_at: Timestamp,
}

/// A dependency's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DependencyStatus {
    /// `queue`, `event_store` or `metadata_store`.
    pub name: String,
    /// Which kind, such as `embedded` or `duckdb`.
    pub kind: String,
    /// Whether it answers.
    pub ready: bool,
    /// Whether the roles of this process need it.
    #[serde(default)]
    pub required: bool,
    /// How long its check took.
    pub latency_ms: f64,
    /// What is wrong, without internals; `None` when ready.
    pub error: Option<String>,
    /// The copy that reads go to, where there is one. Without it the dependency itself is read, and no less ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaReport>,
}

/// A copy that reads go to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Whether reads go to it now.
    pub serves: bool,
    /// How far it is behind; `None` while nobody knows.
    pub lag_seconds: Option<f64>,
    /// Why reads do not go to it; `None` when they do.
    pub error: Option<String>,
}

impl DependencyStatus {
    /// Whether this process can do without it, or has it.
    pub fn is_good(&self) -> bool {
        self.ready || !self.required
    }
}

/// The one scheduler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SchedulerReport {
    /// Name of its process.
    pub holder: String,
    /// Whether that is the process that tells this.
    pub is_this_process: bool,
    /// How often the right to be the scheduler has begun anew, this time included.
    pub term: u64,
    /// When another may take over unless the right is renewed.
    pub expires_in_seconds: f64,
}

/// The queue's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueueReport {
    /// Events accepted and not yet stored.
    pub waiting: u64,
    /// Of those, handed to a worker.
    pub pending: u64,
    /// Workers that take from the queue in this process.
    pub consumers: u64,
    /// Workers of all processes that share the queue, those among them that ended a moment ago; `None` when it is not shared.
    #[serde(default)]
    pub consumers_of_all: Option<u64>,
    /// Age of the oldest waiting event.
    pub oldest_waiting_seconds: Option<f64>,
    /// Events set aside.
    pub dead_letters: u64,
    /// Records that were found damaged on disk since the start; their bytes are kept aside.
    #[serde(default)]
    pub damaged_records: u64,
    /// Bytes of the queue.
    pub bytes: u64,
    /// What else there is to know about it, for people.
    #[serde(default)]
    pub note: Option<String>,
}

/// A project's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProjectReport {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Whether its keys are accepted.
    pub is_active: bool,
    /// Rows now.
    pub events: u64,
    /// Rows with an event time in the last hour.
    pub events_last_hour: u64,
    /// Rows with an event time in the last 24 hours.
    pub events_last_day: u64,
    /// Latest event time.
    pub latest_event: Option<Timestamp>,
    /// Where all its events ended.
    pub ledger: LedgerTotals,
}

/// Answer of `POST /import?project=ID`. The request's body is NDJSON as [`ingest::decode_import`] reads it, at most
/// [`model::limits::BATCH_EVENTS_MAX`] lines and [`model::limits::BATCH_BODY_BYTES_MAX`] bytes; limits, origins and sampling do not apply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Durable in the queue now.
    pub accepted: u64,
    /// Refused, by index of the line in the body.
    pub rejected: Vec<ImportRejection>,
}

/// A line of an import that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportRejection {
    /// Index in the body, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub error: String,
}

/// Body of `POST /process`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProcessRequest {
    /// Events of one batch; `None` = [`model::limits::STORE_BATCH_EVENTS_MAX`].
    pub batch_size: Option<usize>,
    /// Stop after so many batches; `None` = when the queue is empty.
    pub max_batches: Option<u64>,
}

/// Answer of `POST /process`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProcessReport {
    /// Batches stored.
    pub batches: u64,
    /// New rows.
    pub stored: u64,
    /// Accepted again.
    pub duplicate: u64,
    /// Set aside.
    pub dead_lettered: u64,
    /// Left in the queue.
    pub waiting: u64,
    /// Time it took.
    pub elapsed_ms: u64,
}

/// Body of `POST /cleanup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CleanupRequest {
    /// Keep so many days instead of the project's own `retention_days`.
    pub days: Option<u32>,
    /// Only this project.
    pub project: Option<ProjectId>,
    /// Count, delete nothing.
    pub dry_run: bool,
}

/// Answer of `POST /cleanup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CleanupReport {
    /// Each project that has a retention.
    pub projects: Vec<CleanupProject>,
    /// Bytes of the store before.
    pub bytes_before: u64,
    /// Bytes of the store after.
    pub bytes_after: u64,
    /// Nothing was deleted.
    pub dry_run: bool,
    /// Why the space of deleted events was not given back; the next cleanup tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_error: Option<String>,
}

/// What a cleanup did in one project.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CleanupProject {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Events before this time are (or would be) deleted.
    pub before: Timestamp,
    /// How many.
    pub deleted: u64,
}

/// Answer of `GET /dead_letters?from=POSITION&limit=N`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLettersReport {
    /// In the order of their positions.
    pub letters: Vec<DeadLetterReport>,
    /// How many there are, damaged ones and those that are not listed included.
    pub total: u64,
}

/// A record that was set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterReport {
    /// Where it stood in the queue: its name.
    pub position: u64,
    /// Whose.
    pub project_id: ProjectId,
    /// When the server took it.
    pub received_at: Timestamp,
    /// When it was set aside.
    pub dead_at: Timestamp,
    /// How often it had been delivered.
    pub attempts: u32,
    /// Why it was set aside.
    pub reason: String,
    /// The event; `None` when this build cannot read it.
    pub event: Option<serde_json::Value>,
    /// The record's bytes in hexadecimal, where there is no event.
    pub payload: Option<String>,
}

/// Body of `POST /dead_letters/retry` and `POST /dead_letters/discard`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLettersRequest {
    /// Which; `None` = all (to retry only).
    pub positions: Option<BTreeSet<u64>>,
}

/// Their answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLettersDone {
    /// Retried or discarded.
    pub done: u64,
    /// Positions without a dead letter that can be read.
    pub missing: Vec<u64>,
    /// Dead letters that are left.
    pub left: u64,
}

/// An error of the admin socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdminError {
    /// What went wrong and what to do.
    pub error: String,
}
