//! Builders of valid values, to be changed field by field.

use model::{AcceptedEvent, Deduplication, DerivedKeys, EnrichedEvent, EventId, ProjectId, Timestamp};
use uuid::Uuid;

/// An instant from its RFC 3339 text.
///
/// # Panics
/// When the text is none.
pub fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A project id that is the same in every run.
pub fn project(number: u128) -> ProjectId {
    ProjectId(Uuid::from_u128(0x5000_0000_0000_0000_0000_0000_0000_0000 + number))
}

/// An accepted `page_view` of a project, with an id of its own.
pub fn accepted_event(project_id: ProjectId, number: u128) -> AcceptedEvent {
    AcceptedEvent {
        id: EventId(Uuid::from_u128(number)),
        project_id,
        client_event_id: None,
        event_name: "page_view".to_owned(),
        event_source: Some("web".to_owned()),
        user_id: Some(format!("user-{}", number % 10)),
        anonymous_id: None,
        session_id: Some(format!("session-{}", number % 20)),
        properties: format!(r#"{{"number":{number}}}"#),
        timestamp: instant("2026-01-15T12:00:00Z"),
        received_at: instant("2026-01-15T12:00:01Z"),
        ip_address: Some([192, 0, 2, 1].into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0".to_owned()),
        deduplication: Deduplication::Redelivery,
    }
}

/// An enriched `page_view` of a project, with an id of its own.
pub fn enriched_event(project_id: ProjectId, number: u128) -> EnrichedEvent {
    let event = accepted_event(project_id, number);
    EnrichedEvent {
        id: event.id,
        project_id,
        client_event_id: event.client_event_id,
        event_name: event.event_name,
        event_source: event.event_source,
        user_id: event.user_id.unwrap_or_default(),
        session_id: event.session_id.unwrap_or_default(),
        properties: event.properties,
        timestamp: event.timestamp,
        received_at: event.received_at,
        ip_address: Some("192.0.2.1".to_owned()),
        user_agent: event.user_agent,
        derived: DerivedKeys {
            path: Some("/".to_owned()),
            browser: Some("Firefox".to_owned()),
            ..DerivedKeys::default()
        },
        deduplication: event.deduplication,
    }
}
