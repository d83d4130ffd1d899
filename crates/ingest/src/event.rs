//! The rules of an event's fields (contract, "Ingestion"), every broken one named at once.
//!
//! Where the contract leaves room: `null` is the same as absent everywhere; ids that are blank are absent, others are kept to
//! the letter; a number is not a string (`42` and `"42"` would be two spellings of one user); lengths count characters.

use std::{borrow::Cow, net::IpAddr};

use model::{AcceptedEvent, Deduplication, EventId, FieldErrors, ProjectId, Timestamp, limits};
use serde_json::value::RawValue;

use crate::{Candidate, RequestContext, Warning, element::Element, element::Fields, json};

const REQUIRED: &str = "This field is required.";
const NOT_A_TIME: &str = "Must be an RFC 3339 time such as 2026-01-31T12:00:00Z.";

/// The field under which faults of the event as a whole are told.
pub(crate) const WHOLE_EVENT: &str = "event";

/// Judges one element of a body. `batch_sent_at` counts where the event has no `sent_at` of its own.
pub(crate) fn candidate(
    element: Element<'_>,
    batch_sent_at: Option<Timestamp>,
    context: &RequestContext<'_>,
) -> Candidate {
    let fields = match element {
        Element::Event(fields) => fields,
        Element::Other(kind) => return Candidate::Invalid(not_an_object(kind)),
    };
    let mut check = Check::default();
    let common = check.common(&fields);
    let own_anonymous_id = check.id("anonymous_id", fields.anonymous_id);
    let client_time = check.time("timestamp", fields.timestamp);
    let sent_at = check.time("sent_at", fields.sent_at).or(batch_sent_at);
    if !check.errors.is_empty() {
        return Candidate::Invalid(check.errors);
    }
    let (timestamp, warning) = event_time(client_time, sent_at, context.received_at);
    let from_cookie = || {
        let cookie = context.cookie_anonymous_id.filter(|id| !is_blank(id))?;
        fits(cookie).then(|| cookie.to_owned())
    };
    let (id, deduplication) = match &common.event_id {
        Some(event_id) => (
            EventId::from_client(context.project_id, event_id),
            Deduplication::Window,
        ),
        None => (EventId::generate(context.received_at), Deduplication::Redelivery),
    };
    let event = AcceptedEvent {
        id,
        anonymous_id: own_anonymous_id.map(Cow::into_owned).or_else(from_cookie),
        timestamp,
        ip_address: context.address.map(|address| address.to_canonical()),
        user_agent: context.user_agent.and_then(kept_user_agent),
        deduplication,
        ..common.into_event(context.project_id, context.received_at)
    };
    Candidate::Valid {
        event: Box::new(event),
        warnings: warning.into_iter().collect(),
    }
}

/// Judges one line of an import: as an event of the contract, but an id and a time are required, the time stands
/// uncorrected, and address, user agent and, where the line tells one, the time of receipt are those of the line.
pub(crate) fn imported(
    element: Element<'_>,
    project_id: ProjectId,
    received_at: Timestamp,
) -> Result<AcceptedEvent, FieldErrors> {
    let fields = match element {
        Element::Event(fields) => fields,
        Element::Other(kind) => return Err(not_an_object(kind)),
    };
    let mut check = Check::default();
    let common = check.common(&fields);
    let anonymous_id = check.id("anonymous_id", fields.anonymous_id);
    let id = match &common.event_id {
        Some(event_id) => Some(EventId::from_client(project_id, event_id)),
        // Exported events whose client gave no id carry the one that the server gave.
        None => check.event_id("id", fields.id),
    };
    if id.is_none() {
        check.require("event_id");
    }
    let timestamp = check.time("timestamp", fields.timestamp);
    match timestamp {
        None => check.require("timestamp"),
        Some(timestamp) if timestamp > latest_credible(received_at) => {
            let hours = limits::FUTURE_TOLERANCE_HOURS;
            check.fail(
                "timestamp",
                format!("Must not be more than {hours} hours in the future."),
            );
        }
        Some(_) => {}
    }
    // What an exporting server took then; never later than now.
    let taken_at = check.time("received_at", fields.received_at).unwrap_or(received_at);
    let ip_address = check.address("ip_address", fields.ip_address);
    let user_agent = check.text("user_agent", fields.user_agent);
    let (Some(id), Some(timestamp), true) = (id, timestamp, check.errors.is_empty()) else {
        return Err(check.errors);
    };
    Ok(AcceptedEvent {
        id,
        anonymous_id: anonymous_id.map(Cow::into_owned),
        timestamp,
        ip_address,
        user_agent: user_agent.as_deref().and_then(kept_user_agent),
        deduplication: Deduplication::History,
        ..common.into_event(project_id, taken_at.min(received_at))
    })
}

/// `semantics.md`, "Time": corrected by the client's own clock where the client says when it sent, and never more than
/// 24 hours ahead.
fn event_time(
    client_time: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
) -> (Timestamp, Option<Warning>) {
    let claimed = match (client_time, sent_at) {
        (None, _) => received_at,
        (Some(client_time), None) => client_time,
        (Some(client_time), Some(sent_at)) => received_at.saturating_add_micros(client_time.micros_since(sent_at)),
    };
    if claimed > latest_credible(received_at) {
        return (received_at, Some(Warning::FutureTimestamp { claimed }));
    }
    (claimed, None)
}

fn latest_credible(received_at: Timestamp) -> Timestamp {
    received_at.saturating_add_seconds(limits::FUTURE_TOLERANCE_HOURS * 3_600)
}

fn not_an_object(kind: &str) -> FieldErrors {
    FieldErrors::of(WHOLE_EVENT, format!("Must be an object, but is {kind}."))
}

/// What a client's and an imported event have in common, checked.
struct Common<'a> {
    event_name: Cow<'a, str>,
    event_source: Option<Cow<'a, str>>,
    user_id: Option<Cow<'a, str>>,
    session_id: Option<Cow<'a, str>>,
    event_id: Option<Cow<'a, str>>,
    properties: Cow<'a, str>,
}

impl Common<'_> {
    /// The event with these fields; what they do not tell is left empty for the caller.
    fn into_event(self, project_id: ProjectId, received_at: Timestamp) -> AcceptedEvent {
        AcceptedEvent {
            id: EventId(project_id.0),
            project_id,
            client_event_id: self.event_id.map(Cow::into_owned),
            event_name: self.event_name.into_owned(),
            event_source: self.event_source.map(Cow::into_owned),
            user_id: self.user_id.map(Cow::into_owned),
            anonymous_id: None,
            session_id: self.session_id.map(Cow::into_owned),
            properties: self.properties.into_owned(),
            timestamp: received_at,
            received_at,
            ip_address: None,
            user_agent: None,
            deduplication: Deduplication::Redelivery,
        }
    }
}

/// Reads fields and collects what is wrong with them.
#[derive(Default)]
pub(crate) struct Check {
    pub errors: FieldErrors,
}

impl Check {
    fn common<'a>(&mut self, fields: &Fields<'a>) -> Common<'a> {
        Common {
            event_name: self.event_name(fields.event_name),
            event_source: self.event_source(fields.event_source),
            user_id: self.id("user_id", fields.user_id),
            session_id: self.id("session_id", fields.session_id),
            event_id: self.id("event_id", fields.event_id),
            properties: self.properties(fields.properties),
        }
    }

    fn fail(&mut self, field: &'static str, sentence: impl Into<String>) {
        self.errors.add(field, sentence);
    }

    /// Says that a field is missing, unless something else is known to be wrong with it.
    fn require(&mut self, field: &'static str) {
        if self.errors.iter().all(|(name, _)| name != field) {
            self.fail(field, REQUIRED);
        }
    }

    /// A string or nothing. Escapes are resolved; everything else is the client's bytes.
    fn text<'a>(&mut self, field: &'static str, raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
        let raw = raw?.get();
        // By bytes: a comparison with a `char` is a call, and this is asked of every field of every event.
        let quoted = matches!(raw.as_bytes(), [b'"', .., b'"']).then(|| &raw[1..raw.len() - 1]);
        match quoted {
            Some(text) if memchr::memchr(b'\\', text.as_bytes()).is_none() => Some(Cow::Borrowed(text)),
            Some(_) => match serde_json::from_str(raw) {
                Ok(text) => Some(Cow::Owned(text)),
                Err(_) => {
                    self.fail(field, "Must be valid text.");
                    None
                }
            },
            None if raw == "null" => None,
            None => {
                self.fail(field, format!("Must be a string, but is {}.", json::kind(raw)));
                None
            }
        }
    }

    fn short_text<'a>(&mut self, field: &'static str, text: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if fits(&text) {
            return Some(text);
        }
        let limit = limits::NAME_CHARS_MAX;
        let length = text.chars().count();
        self.fail(field, format!("Must be at most {limit} characters, but has {length}."));
        None
    }

    fn event_name<'a>(&mut self, raw: Option<&'a RawValue>) -> Cow<'a, str> {
        const FIELD: &str = "event_name";
        match self.text(FIELD, raw).map(trimmed) {
            Some(name) if name.is_empty() => self.fail(FIELD, "Must not be blank."),
            Some(name) => return self.short_text(FIELD, name).unwrap_or_default(),
            None => self.require(FIELD),
        }
        Cow::Borrowed("")
    }

    fn event_source<'a>(&mut self, raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
        const FIELD: &str = "event_source";
        let source = self.text(FIELD, raw).map(trimmed).filter(|source| !source.is_empty())?;
        self.short_text(FIELD, source)
    }

    fn id<'a>(&mut self, field: &'static str, raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
        let id = self.text(field, raw).filter(|id| !is_blank(id))?;
        self.short_text(field, id)
    }

    fn properties<'a>(&mut self, raw: Option<&'a RawValue>) -> Cow<'a, str> {
        const NONE: Cow<'_, str> = Cow::Borrowed("{}");
        match raw.map(RawValue::get) {
            None | Some("null") => NONE,
            Some(raw) => json::properties(raw).unwrap_or_else(|sentence| {
                self.fail("properties", sentence);
                NONE
            }),
        }
    }

    /// An instant or nothing.
    pub fn time(&mut self, field: &'static str, raw: Option<&RawValue>) -> Option<Timestamp> {
        let text = self.text(field, raw)?;
        let time = text.parse().ok();
        if time.is_none() {
            self.fail(field, NOT_A_TIME);
        }
        time
    }

    fn event_id(&mut self, field: &'static str, raw: Option<&RawValue>) -> Option<EventId> {
        let text = self.text(field, raw).filter(|text| !is_blank(text))?;
        let id = text.trim().parse().ok();
        if id.is_none() {
            self.fail(field, "Must be a UUID.");
        }
        id
    }

    fn address(&mut self, field: &'static str, raw: Option<&RawValue>) -> Option<IpAddr> {
        let text = self.text(field, raw).filter(|text| !is_blank(text))?;
        let address = text.trim().parse::<IpAddr>().ok();
        if address.is_none() {
            self.fail(field, "Must be an IP address.");
        }
        address.map(|address| address.to_canonical())
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim_start().is_empty()
}

/// At most the contract's 255 characters; bytes are looked at first, they are free to count.
fn fits(text: &str) -> bool {
    text.len() <= limits::NAME_CHARS_MAX || text.chars().nth(limits::NAME_CHARS_MAX).is_none()
}

/// The user agent as it is stored: nothing when blank, cut at its limit.
fn kept_user_agent(text: &str) -> Option<String> {
    let text = text.trim();
    let end = text.floor_char_boundary(limits::USER_AGENT_BYTES_MAX);
    (!text.is_empty()).then(|| text[..end].to_owned())
}

#[cfg(test)]
mod tests;
