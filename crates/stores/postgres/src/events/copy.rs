//! Events in the binary form of `COPY`.

use model::EnrichedEvent;
use sqlx::PgConnection;

use crate::types::Instant;

/// Starts every binary copy: signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Ends it.
const TRAILER: [u8; 2] = [0xff, 0xff];
/// Sent at once: the driver holds so much beside the rows.
const CHUNK_BYTES: usize = 256 * 1024;

/// The columns, in the order in which [`Encoded::push`] writes them.
const COLUMNS: [&str; 26] = [
    "id",
    "timestamp",
    "received_at",
    "project_id",
    "uid",
    "event_id",
    "event_source",
    "event_name",
    "user_id",
    "session_id",
    "properties",
    "ip_address",
    "user_agent",
    "path",
    "hostname",
    "referrer_host",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "country",
    "browser",
    "browser_version",
    "os",
    "device",
];

/// Rows, ready to be sent.
#[derive(Default)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Encoded {
    /// Adds a row; `properties` as they can be stored.
    pub(super) fn push(&mut self, event: &EnrichedEvent, properties: &str, project: i32, uid: i32) {
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(&(COLUMNS.len() as i16).to_be_bytes());
        field(bytes, event.id.0.as_bytes());
        field(bytes, &Instant(event.timestamp).to_bytes());
        field(bytes, &Instant(event.received_at).to_bytes());
        field(bytes, &project.to_be_bytes());
        field(bytes, &uid.to_be_bytes());
        optional(bytes, event.client_event_id.as_deref());
        optional(bytes, event.event_source.as_deref());
        field(bytes, event.event_name.as_bytes());
        field(bytes, event.user_id.as_bytes());
        field(bytes, event.session_id.as_bytes());
        field(bytes, properties.as_bytes());
        optional(bytes, event.ip_address.as_deref());
        optional(bytes, event.user_agent.as_deref());
        let derived = &event.derived;
        let keys = [
            &derived.path,
            &derived.hostname,
            &derived.referrer_host,
            &derived.utm_source,
            &derived.utm_medium,
            &derived.utm_campaign,
            &derived.utm_term,
            &derived.utm_content,
            &derived.country,
            &derived.browser,
            &derived.browser_version,
            &derived.os,
            &derived.device,
        ];
        for key in keys {
            optional(bytes, key.as_deref());
        }
        self.ends.push(bytes.len());
    }

    /// Sends the rows for which `is_new` says so. The table is the partitioned one: PostgreSQL finds the partition of each.
    pub(super) async fn send(&self, connection: &mut PgConnection, is_new: &[bool]) -> sqlx::Result<()> {
        if !is_new.contains(&true) {
            return Ok(());
        }
        let statement = format!("copy events ({}) from stdin (format binary)", COLUMNS.join(", "));
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(HEADER).await?;
        for run in self.runs(is_new) {
            for chunk in self.bytes[run].chunks(CHUNK_BYTES) {
                copy.send(chunk).await?;
            }
        }
        copy.send(TRAILER.as_slice()).await?;
        copy.finish().await?;
        Ok(())
    }

    /// Stretches of new rows that lie behind one another.
    fn runs(&self, is_new: &[bool]) -> Vec<std::ops::Range<usize>> {
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        let mut start = 0;
        for (end, is_new) in self.ends.iter().zip(is_new) {
            if *is_new {
                match runs.last_mut() {
                    Some(run) if run.end == start => run.end = *end,
                    _ => runs.push(start..*end),
                }
            }
            start = *end;
        }
        runs
    }
}

fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    // No value is longer than a request.
    let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

fn optional(bytes: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => field(bytes, value.as_bytes()),
        None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_new_neighbours() {
        let encoded = Encoded {
            bytes: Vec::new(),
            ends: vec![10, 25, 30, 50],
        };
        assert_eq!(encoded.runs(&[true, true, false, true]), [0..25, 30..50]);
        assert_eq!(encoded.runs(&[false, true, true, false]), vec![10..30; 1]);
        assert!(encoded.runs(&[false; 4]).is_empty());
    }
}
