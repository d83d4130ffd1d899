//! User and session of an event that does not name them (contract, "Filled in by the worker").
//!
//! The texts that are hashed are part of the data: changing one splits every user and session in two.

use model::{AcceptedEvent, limits};
use sha2::{Digest, Sha256};

/// The user of an event, the first that there is of:
/// 1. the client's `user_id`,
/// 2. the browser's `anonymous_id`,
/// 3. `hash_` and 16 hex digits of SHA-256 over `address|user agent|project id`, where the address is known (a missing
///    user agent is the empty text, the project id is hyphenated). The address alone is not required to be a person's, but a user
///    agent alone would make one user of everybody with the same browser,
/// 4. `anonymous_` and 12 hex digits of SHA-256 over the event's id: one user per event, the same at each replay.
pub(super) fn user_id(event: &AcceptedEvent) -> String {
    if let Some(user_id) = event.user_id.as_ref().or(event.anonymous_id.as_ref()) {
        return user_id.clone();
    }
    match event.ip_address {
        Some(address) => {
            let agent = event.user_agent.as_deref().unwrap_or_default();
            let text = format!("{address}|{agent}|{}", event.project_id);
            hashed("hash_", &text, 16)
        }
        None => hashed("anonymous_", &event.id.to_string(), 12),
    }
}

/// The session of an event: the client's, else `session_` and 16 hex digits of SHA-256 over `project id|user|window`,
/// where window counts the 60-minute windows from the Unix epoch to the event's time.
pub(super) fn session_id(event: &AcceptedEvent, user_id: &str) -> String {
    const WINDOW_MICROS: i64 = limits::SESSION_WINDOW_MINUTES * 60_000_000;
    if let Some(session_id) = &event.session_id {
        return session_id.clone();
    }
    let window = event.timestamp.as_micros().div_euclid(WINDOW_MICROS);
    hashed("session_", &format!("{}|{user_id}|{window}", event.project_id), 16)
}

/// `prefix` and the first `digits` hex digits of SHA-256(`text`).
fn hashed(prefix: &str, text: &str, digits: usize) -> String {
    let hash = Sha256::digest(text);
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let mut id = String::with_capacity(prefix.len() + digits);
    id.push_str(prefix);
    id.extend(
        nibbles
            .take(digits)
            .filter_map(|nibble| char::from_digit(nibble.into(), 16)),
    );
    id
}
