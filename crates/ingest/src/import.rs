//! Lines of an import: events with their own times (contract, command `import`).

use model::{AcceptedEvent, FieldErrors, ProjectId, Timestamp, limits};

use crate::{
    RequestError, event,
    formats::{each_line, parse},
    json,
};

/// Reads NDJSON of import lines: the contract's fields with `timestamp` and one of `event_id` and `id` (a UUID: the server's own,
/// of an exported event whose client gave none) required, and `ip_address`, `user_agent` and `received_at` (when an exporting server took
/// it; `received_at` of the call where the line has none, or a later one) from the line. One result per line that is not blank, in order;
/// the same line gives the same event always. At most [`limits::BATCH_EVENTS_MAX`] lines and [`limits::BATCH_BODY_BYTES_MAX`] bytes.
pub fn decode_import(
    body: &[u8],
    project_id: ProjectId,
    received_at: Timestamp,
) -> Result<Vec<Result<AcceptedEvent, FieldErrors>>, RequestError> {
    if body.len() > limits::BATCH_BODY_BYTES_MAX {
        return Err(RequestError::TooLarge {
            limit: limits::BATCH_BODY_BYTES_MAX,
        });
    }
    let body = json::storable(body.into());
    each_line(&body, |line| event::imported(line?, project_id, received_at))
}

/// Reads one import line; see [`decode_import`].
pub fn decode_import_line(
    line: &[u8],
    project_id: ProjectId,
    received_at: Timestamp,
) -> Result<AcceptedEvent, FieldErrors> {
    let line = json::storable(line.into());
    let element = parse(&line).map_err(|error| FieldErrors::of(event::WHOLE_EVENT, error.to_string()))?;
    event::imported(element, project_id, received_at)
}

#[cfg(test)]
mod tests;
