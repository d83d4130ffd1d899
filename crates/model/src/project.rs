//! Projects, their sources and their settings (contract, "Keys and scope", "Ingestion" and the `project` commands).

use serde::{Deserialize, Serialize};

use crate::{PrivateKey, ProjectId, PublicKey, SourceId, Timestamp};

/// A tenant with its settings. Serializes as the contract's JSON of a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Fixed for life.
    pub id: ProjectId,
    /// Shown to people; need not be unique.
    pub name: String,
    /// Sends events.
    pub public_api_key: PublicKey,
    /// Reads.
    pub private_api_key: PrivateKey,
    /// An inactive project's keys are refused.
    pub is_active: bool,
    /// Events per sliding minute; `None` = no limit.
    pub rate_limit_per_minute: Option<u32>,
    /// Events per calendar month, UTC; `None` = no quota.
    pub monthly_event_quota: Option<u64>,
    /// Days that raw events are kept; `None` = for ever.
    pub retention_days: Option<u32>,
    /// Days that rollups are kept; `None` = for ever.
    pub aggregation_retention_days: Option<u32>,
    /// Exact origins, `https://*.example.com`, or `*`.
    pub cors_allowed_origins: Vec<String>,
    /// Whether sampling is on.
    pub sampling_enabled: bool,
    /// Share of events kept, 0 to 1.
    pub sampling_rate: f64,
    /// How the share is chosen.
    pub sampling_strategy: SamplingStrategy,
    /// IANA name, such as `Europe/Berlin`.
    pub time_zone: String,
    /// The ingest endpoint gives browsers a `sa_uid` cookie to tell visitors apart.
    pub cookie_identification: bool,
    /// When the project was made.
    pub created_at: Timestamp,
    /// When its settings last changed.
    pub updated_at: Timestamp,
}

impl Project {
    /// A project with the contract's defaults and fresh keys.
    pub fn new(name: String, now: Timestamp) -> Self {
        Self {
            id: ProjectId::generate(now),
            name,
            public_api_key: PublicKey::generate(),
            private_api_key: PrivateKey::generate(),
            is_active: true,
            rate_limit_per_minute: Some(crate::limits::PROJECT_EVENTS_PER_MINUTE_DEFAULT),
            monthly_event_quota: None,
            // Nothing is deleted that nobody asked to delete.
            retention_days: None,
            aggregation_retention_days: None,
            cors_allowed_origins: Vec::new(),
            sampling_enabled: false,
            sampling_rate: 1.0,
            sampling_strategy: SamplingStrategy::Random,
            time_zone: "UTC".to_owned(),
            cookie_identification: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// The first instant whose events are kept; `None` = all are. 0 days, which no command sets, deletes nothing: whoever wrote it
    /// meant "no limit" more likely than "delete everything".
    pub fn keeps_from(&self, now: Timestamp) -> Option<Timestamp> {
        let days = self.retention_days.filter(|days| *days > 0)?;
        Some(now.days_before(days))
    }
}

/// How a sampled share of events is chosen (contract, "Sampling").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingStrategy {
    /// Each event by itself.
    #[default]
    Random,
    /// By a stable hash of user and project: a user is always in or always out.
    Deterministic,
    /// The first share of each minute.
    TimeWindow,
}

/// The sampling in force for an event: the project's, overridden field by field by its source's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Off: everything is kept.
    pub enabled: bool,
    /// Share kept; ≥ 1 keeps all, ≤ 0 none.
    pub rate: f64,
    /// How the share is chosen.
    pub strategy: SamplingStrategy,
}

impl Sampling {
    /// The project's settings with each field that `source` sets replaced.
    pub fn in_force(project: &Project, source: Option<&Source>) -> Self {
        Self {
            enabled: source
                .and_then(|source| source.sampling_enabled)
                .unwrap_or(project.sampling_enabled),
            rate: source
                .and_then(|source| source.sampling_rate)
                .unwrap_or(project.sampling_rate),
            strategy: source
                .and_then(|source| source.sampling_strategy)
                .unwrap_or(project.sampling_strategy),
        }
    }
}

/// A named origin of events inside a project; made on first sight. The name is unique in the project and never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Fixed for life.
    pub id: SourceId,
    /// Its project.
    pub project_id: ProjectId,
    /// As events name it.
    pub name: String,
    /// Shown to people.
    pub description: String,
    /// An inactive source's events are refused.
    pub is_active: bool,
    /// Events per sliding minute; `None` = only the project's limit.
    pub rate_limit_per_minute: Option<u32>,
    /// Overrides the project's; `None` = as the project.
    pub sampling_enabled: Option<bool>,
    /// Overrides the project's; `None` = as the project.
    pub sampling_rate: Option<f64>,
    /// Overrides the project's; `None` = as the project.
    pub sampling_strategy: Option<SamplingStrategy>,
    /// When it was first seen.
    pub created_at: Timestamp,
}

impl Source {
    /// The source that an event with an unknown source name brings into being.
    pub fn auto_created(project_id: ProjectId, name: &str, now: Timestamp) -> Self {
        Self {
            id: SourceId::generate(now),
            project_id,
            name: name.to_owned(),
            description: format!("Auto-created source: {name}"),
            is_active: true,
            rate_limit_per_minute: None,
            sampling_enabled: None,
            sampling_rate: None,
            sampling_strategy: None,
            created_at: now,
        }
    }
}

/// What an update of a project changes; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is the one of `Project` with the same name")]
pub struct ProjectChanges {
    pub name: Option<String>,
    pub public_api_key: Option<PublicKey>,
    pub private_api_key: Option<PrivateKey>,
    pub is_active: Option<bool>,
    pub rate_limit_per_minute: Option<Option<u32>>,
    pub monthly_event_quota: Option<Option<u64>>,
    pub retention_days: Option<Option<u32>>,
    pub aggregation_retention_days: Option<Option<u32>>,
    pub cors_allowed_origins: Option<Vec<String>>,
    pub sampling_enabled: Option<bool>,
    pub sampling_rate: Option<f64>,
    pub sampling_strategy: Option<SamplingStrategy>,
    pub time_zone: Option<String>,
    pub cookie_identification: Option<bool>,
}

/// What an update of a source changes; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is the one of `Source` with the same name")]
pub struct SourceChanges {
    pub description: Option<String>,
    pub is_active: Option<bool>,
    pub rate_limit_per_minute: Option<Option<u32>>,
    pub sampling_enabled: Option<Option<bool>>,
    pub sampling_rate: Option<Option<f64>>,
    pub sampling_strategy: Option<Option<SamplingStrategy>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_of_no_days_deletes_nothing() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let mut project = Project::new("Shop".to_owned(), now);
        assert_eq!(project.keeps_from(now), None);
        project.retention_days = Some(0);
        assert_eq!(project.keeps_from(now), None);
        project.retention_days = Some(1);
        assert_eq!(project.keeps_from(now), Some("2026-02-28T00:00:00Z".parse().unwrap()));
    }
}
