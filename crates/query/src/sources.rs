//! `GET /api/events/sources/`: where events come from.

use std::sync::Arc;

use model::{Source, SourceId, Timestamp};
use serde::Serialize;
use store::ProjectScope;
use utoipa::ToSchema;

/// The sources of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventSources {
    /// The active ones, by name.
    pub event_sources: Vec<EventSource>,
    /// How many.
    #[schema(example = 1)]
    pub count: usize,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventSource {
    /// Its id: the value of the filter `event_source_id`.
    #[schema(value_type = String, format = Uuid, example = "01980d3c-7b5a-7c3e-9c1d-3f2a8b6e4d10")]
    pub id: SourceId,
    /// As events name it.
    #[schema(example = "web")]
    pub name: String,
    /// For people.
    #[schema(example = "Auto-created source: web")]
    pub description: String,
    /// When it was first seen.
    #[schema(value_type = String, format = DateTime, example = "2026-01-15T12:00:00Z")]
    pub created_at: Timestamp,
}

/// The active sources as of the directory's last refresh.
pub fn list_event_sources(scope: &ProjectScope) -> EventSources {
    let event_sources: Vec<EventSource> = active_sources(scope)
        .map(|source| EventSource {
            id: source.id,
            name: source.name.clone(),
            description: source.description.clone(),
            created_at: source.created_at,
        })
        .collect();
    EventSources {
        count: event_sources.len(),
        event_sources,
    }
}

/// The active sources, by name.
pub(crate) fn active_sources(scope: &ProjectScope) -> impl Iterator<Item = &Arc<Source>> {
    let mut sources: Vec<_> = scope.sources().filter(|source| source.is_active).collect();
    sources.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    sources.into_iter()
}
