//! `POST /api/events/batch/`: an array, `{"events": […], "sent_at"?: …}`, or NDJSON (contract, "Ingestion").
//!
//! NDJSON is read as such when the type says so, and also when the type says nothing (`text/plain`, none) and the body is a
//! sequence of objects. A line that is not JSON is that line's fault; in an array it is the whole body's, because nothing
//! tells where the next event begins.

use std::fmt;

use model::{FieldErrors, limits};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{WireFormat, parse};
use crate::{
    Candidate, Endpoint, MediaType, RequestContext, RequestError,
    element::Element,
    event::{self, Check},
};

/// See the module.
pub(super) struct NativeBatch;

impl WireFormat for NativeBatch {
    fn name(&self) -> &'static str {
        "native_batch"
    }

    fn is_at(&self, endpoint: Endpoint) -> bool {
        endpoint == Endpoint::Batch
    }

    fn reads(&self, media_type: MediaType<'_>) -> bool {
        !matches!(media_type, MediaType::Other(_))
    }

    fn supported_media_types(&self) -> &'static str {
        "application/json, application/x-ndjson or text/plain"
    }

    fn body_bytes_max(&self) -> usize {
        limits::BATCH_BODY_BYTES_MAX
    }

    fn decode(
        &self,
        body: &[u8],
        media_type: MediaType<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Vec<Candidate>, RequestError> {
        if media_type == MediaType::Ndjson {
            return lines(body, context);
        }
        let may_be_lines = media_type == MediaType::Unspecified && body.trim_ascii_start().starts_with(b"{");
        match parse::<Batch<'_>>(body) {
            Ok(batch) if batch.events.is_some() || batch.kind.is_some() => document(batch, context),
            Ok(_) if may_be_lines => lines(body, context),
            Ok(_) => Err(missing_events()),
            Err(RequestError::InvalidJson { reason }) if reason.starts_with(SECOND_VALUE) => {
                if may_be_lines {
                    return lines(body, context);
                }
                Err(RequestError::InvalidJson {
                    reason: format!("{reason}; if it is NDJSON, send it as application/x-ndjson"),
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// How serde_json's message begins when a whole value is followed by more; a test holds it to that.
const SECOND_VALUE: &str = "trailing characters";

fn missing_events() -> RequestError {
    RequestError::InvalidFields(FieldErrors::of(
        "events",
        "This field is required: the array of events. A single event goes to the ingest endpoint.",
    ))
}

fn document(batch: Batch<'_>, context: &RequestContext<'_>) -> Result<Vec<Candidate>, RequestError> {
    if let Some(kind) = batch.kind {
        return Err(RequestError::InvalidBody(format!(
            "The body must be an array of events or an object with `events`, but is {kind}."
        )));
    }
    let mut check = Check::default();
    let sent_at = check.time("sent_at", batch.sent_at);
    let events = match batch.events {
        Some(Events::Elements(elements)) => elements,
        Some(Events::TooMany) => {
            return Err(RequestError::TooManyEvents {
                limit: limits::BATCH_EVENTS_MAX,
            });
        }
        Some(Events::Other(kind)) => {
            check.errors.add("events", format!("Must be an array, but is {kind}."));
            Vec::new()
        }
        None => Vec::new(),
    };
    if !check.errors.is_empty() {
        return Err(RequestError::InvalidFields(check.errors));
    }
    if events.is_empty() {
        return Err(RequestError::Empty);
    }
    Ok(events
        .into_iter()
        .map(|element| event::candidate(element, sent_at, context))
        .collect())
}

/// NDJSON; blank lines do not count.
fn lines(body: &[u8], context: &RequestContext<'_>) -> Result<Vec<Candidate>, RequestError> {
    each_line(body, |line| match line {
        Ok(element) => event::candidate(element, None, context),
        Err(fault) => Candidate::Invalid(fault),
    })
}

/// Applies `judge` to every line that is not blank, in order. A line that is not JSON comes as its fault.
pub(crate) fn each_line<T>(
    body: &[u8],
    mut judge: impl FnMut(Result<Element<'_>, FieldErrors>) -> T,
) -> Result<Vec<T>, RequestError> {
    let mut judged = Vec::new();
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() {
            continue;
        }
        if judged.len() == limits::BATCH_EVENTS_MAX {
            return Err(RequestError::TooManyEvents {
                limit: limits::BATCH_EVENTS_MAX,
            });
        }
        judged.push(judge(parse(line).map_err(|error| match error {
            RequestError::InvalidJson { reason } => {
                FieldErrors::of(event::WHOLE_EVENT, format!("Is not valid JSON: {reason}."))
            }
            other => FieldErrors::of(event::WHOLE_EVENT, other.to_string()),
        })));
    }
    if judged.is_empty() {
        return Err(RequestError::Empty);
    }
    Ok(judged)
}

/// A JSON document with events.
#[derive(Default)]
struct Batch<'a> {
    events: Option<Events<'a>>,
    sent_at: Option<&'a RawValue>,
    /// What the document is when it is neither array nor object.
    kind: Option<&'static str>,
}

/// What stands where the array of events should be.
enum Events<'a> {
    Elements(Vec<Element<'a>>),
    TooMany,
    Other(&'static str),
}

impl<'de: 'a, 'a> Deserialize<'de> for Events<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BatchVisitor)
    }
}

/// The visits of scalars, which are the same for both visitors: `$wrap` of what they are.
macro_rules! visit_scalars {
    ($wrap:expr) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($wrap("a string"))
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($wrap("a boolean"))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($wrap("null"))
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($wrap("a number"))
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($wrap("a number"))
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($wrap("a number"))
        }
    };
}

struct EventsVisitor;

impl<'de> Visitor<'de> for EventsVisitor {
    type Value = Events<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() == limits::BATCH_EVENTS_MAX {
                // Read on without keeping anything: millions of tiny elements fit into a body.
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Events::TooMany);
            }
            elements.push(element);
        }
        Ok(Events::Elements(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Events::Other("an object"))
    }

    visit_scalars!(Events::Other);
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a batch of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
        Ok(Batch {
            events: Some(EventsVisitor.visit_seq(sequence)?),
            ..Batch::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut batch = Batch::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match key.as_ref() {
                "events" => batch.events = Some(map.next_value()?),
                "sent_at" => batch.sent_at = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(batch)
    }

    visit_scalars!(|kind| Batch {
        kind: Some(kind),
        ..Batch::default()
    });
}
