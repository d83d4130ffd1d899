//! An event on its way: as accepted (in the queue), then as enriched (in the store).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{EventId, ProjectId, Timestamp};

/// An event that passed validation: what the queue keeps. Everything that the worker needs is inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedEvent {
    /// Fixed here; a retry with the same `client_event_id` has the same.
    pub id: EventId,
    /// Its project.
    pub project_id: ProjectId,
    /// `event_id` as the client sent it.
    pub client_event_id: Option<String>,
    /// 1 to 255 characters.
    pub event_name: String,
    /// 1 to 255 characters.
    pub event_source: Option<String>,
    /// As the client sent it; never blank.
    pub user_id: Option<String>,
    /// The browser's own persistent identifier: `anonymous_id` of the body, or the `sa_uid` cookie.
    pub anonymous_id: Option<String>,
    /// As the client sent it; never blank.
    pub session_id: Option<String>,
    /// A JSON object as text; numbers and key order as the client wrote them.
    pub properties: String,
    /// Corrected event time.
    pub timestamp: Timestamp,
    /// When the server took it.
    pub received_at: Timestamp,
    /// The client's address.
    pub ip_address: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// How the store finds out that it has this event already.
    pub deduplication: Deduplication,
}

/// How far back the store must look to know that it has an event already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deduplication {
    /// The server made the id: only redelivery by the queue can repeat it.
    Redelivery,
    /// The client made the id: it may retry for [`crate::limits::IDEMPOTENCY_WINDOW_DAYS`].
    Window,
    /// Imported, with an id that is the line's own or derived from its content: the same event may come again at any time, also with
    /// another `timestamp`, and where its client named it by request too. The store looks among all events.
    History,
    /// Moved here from another store, as it stood there: its position in the move is all that can repeat it, and it becomes a row whatever is
    /// known of its id. The ledger does not count it, because the ledger moves too.
    Moved {
        /// As of when its id stays claimed, for its client may retry; `None`: it is not claimed.
        claimed_at: Option<Timestamp>,
    },
}

impl Deduplication {
    /// Whether the event was moved here from another store.
    pub fn is_moved(self) -> bool {
        matches!(self, Self::Moved { .. })
    }
}

/// An event with everything filled in: a row of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrichedEvent {
    /// See [`AcceptedEvent::id`].
    pub id: EventId,
    /// Its project.
    pub project_id: ProjectId,
    /// `event_id` as the client sent it.
    pub client_event_id: Option<String>,
    /// 1 to 255 characters.
    pub event_name: String,
    /// 1 to 255 characters.
    pub event_source: Option<String>,
    /// The client's, the browser's, or derived (contract, "Filled in by the worker").
    pub user_id: String,
    /// The client's, or derived from user and 60-minute window.
    pub session_id: String,
    /// A JSON object as text.
    pub properties: String,
    /// Corrected event time.
    pub timestamp: Timestamp,
    /// When the server took it.
    pub received_at: Timestamp,
    /// The client's address as text.
    pub ip_address: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// Keys computed from address, user agent and URL.
    pub derived: DerivedKeys,
    /// How the store finds out that it has this event already.
    pub deduplication: Deduplication,
}

/// Keys computed from address, user agent and URL (`query-api.md`, "Common parts"); `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the query key of the same name")]
pub struct DerivedKeys {
    pub path: Option<String>,
    pub hostname: Option<String>,
    pub referrer_host: Option<String>,
    pub utm_source: Option<String>,
    pub utm_medium: Option<String>,
    pub utm_campaign: Option<String>,
    pub utm_term: Option<String>,
    pub utm_content: Option<String>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<String>,
    pub browser: Option<String>,
    pub browser_version: Option<String>,
    pub os: Option<String>,
    /// `desktop`, `mobile`, `tablet`, `bot` or another family of the user-agent rules, lower case.
    pub device: Option<String>,
}
