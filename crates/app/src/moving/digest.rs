//! What the events of a day are, in one number: the same on every store, whatever the order of their rows.

use std::{collections::BTreeMap, sync::Arc};

use indicatif::ProgressBar;
use model::{DerivedKeys, EnrichedEvent, ledger::utc_day};
use query::transfer::StoredEvents;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use store::{EventStore, ProjectScope};

/// The events of one project and one UTC day of event time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayDigest {
    /// How many.
    pub events: u64,
    /// The sum of their hashes, modulo 2^128: a sum knows no order, and unlike an exclusive or it notices a row that is there twice.
    #[serde(serialize_with = "hexadecimal")]
    pub checksum: u128,
}

fn hexadecimal<S: Serializer>(checksum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{checksum:032x}"))
}

/// By days since 1970-01-01, UTC.
pub type Digests = BTreeMap<i32, DayDigest>;

impl DayDigest {
    fn add(&mut self, event: &EnrichedEvent) {
        self.events += 1;
        self.checksum = self.checksum.wrapping_add(hash(event));
    }
}

/// Adds an event to its day.
pub fn add(digests: &mut Digests, event: &EnrichedEvent) {
    digests.entry(utc_day(event.timestamp)).or_default().add(event);
}

/// Reads all events of a project.
pub async fn of_project(
    store: &Arc<dyn EventStore>,
    scope: &ProjectScope,
    bar: &ProgressBar,
) -> anyhow::Result<Digests> {
    let mut stored = StoredEvents::new(Arc::clone(store), scope.clone());
    // On a task of its own, so that one page is read while another one is summed up.
    let (sender, mut pages) = tokio::sync::mpsc::channel::<Vec<EnrichedEvent>>(1);
    let reading = tokio::spawn(async move {
        while let Some(events) = stored.next().await? {
            if sender.send(events).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });
    let mut digests = Digests::new();
    while let Some(events) = pages.recv().await {
        for event in &events {
            add(&mut digests, event);
        }
        bar.inc(events.len() as u64);
    }
    reading.await??;
    Ok(digests)
}

/// All that a row says. The user's number is not part of it: it is each store's own.
fn hash(event: &EnrichedEvent) -> u128 {
    // Taken apart in full, so that a new field cannot be forgotten here.
    let EnrichedEvent {
        id,
        project_id,
        client_event_id,
        event_name,
        event_source,
        user_id,
        session_id,
        properties,
        timestamp,
        received_at,
        ip_address,
        user_agent,
        derived,
        deduplication: _,
    } = event;
    let DerivedKeys {
        path,
        hostname,
        referrer_host,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content,
        country,
        browser,
        browser_version,
        os,
        device,
    } = derived;
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(id.0.as_bytes());
    bytes.extend_from_slice(project_id.0.as_bytes());
    bytes.extend_from_slice(&timestamp.as_micros().to_le_bytes());
    bytes.extend_from_slice(&received_at.as_micros().to_le_bytes());
    for text in [event_name, user_id, session_id, properties] {
        push(&mut bytes, Some(text));
    }
    let optional = [client_event_id, event_source, ip_address, user_agent];
    let keys = [
        path,
        hostname,
        referrer_host,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content,
        country,
        browser,
        browser_version,
        os,
        device,
    ];
    for text in optional.into_iter().chain(keys) {
        push(&mut bytes, text.as_deref());
    }
    let hash = Sha256::digest(&bytes);
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(half)
}

/// Its length first, so that no two rows have the same bytes; absent is another length than empty.
fn push(bytes: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(u64::MAX, |text| text.len() as u64);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use testkit::build::{enriched_event, project};

    use super::*;

    fn digests(events: &[EnrichedEvent]) -> Digests {
        let mut digests = Digests::new();
        for event in events {
            add(&mut digests, event);
        }
        digests
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_their_number_does() {
        let event = |number| enriched_event(project(1), number);
        let all = digests(&[event(1), event(2), event(3)]);
        assert_eq!(all, digests(&[event(3), event(1), event(2)]));
        assert_ne!(all, digests(&[event(1), event(2)]));
        assert_ne!(all, digests(&[event(1), event(2), event(4)]));
        let twice = digests(&[event(1), event(1), event(2), event(2)]);
        assert_ne!(twice, digests(&[event(3), event(3), event(4), event(4)]));
    }

    #[test]
    fn every_field_is_looked_at() {
        type Change = fn(&mut EnrichedEvent);
        fn text() -> Option<String> {
            Some("changed".to_owned())
        }
        let changes: [Change; 26] = [
            |event| event.id.0 = uuid::Uuid::from_u128(99),
            |event| event.project_id = project(2),
            |event| event.timestamp = Timestamp::default(),
            |event| event.received_at = Timestamp::default(),
            |event| event.client_event_id = text(),
            |event| event.event_source = None,
            |event| event.event_source = Some(String::new()),
            |event| event.event_name = "changed".to_owned(),
            |event| event.user_id = "changed".to_owned(),
            |event| event.session_id = "changed".to_owned(),
            |event| event.properties.push(' '),
            |event| event.ip_address = None,
            |event| event.user_agent = None,
            |event| event.derived.path = text(),
            |event| event.derived.hostname = text(),
            |event| event.derived.referrer_host = text(),
            |event| event.derived.utm_source = text(),
            |event| event.derived.utm_medium = text(),
            |event| event.derived.utm_campaign = text(),
            |event| event.derived.utm_term = text(),
            |event| event.derived.utm_content = text(),
            |event| event.derived.country = text(),
            |event| event.derived.browser = text(),
            |event| event.derived.browser_version = text(),
            |event| event.derived.os = text(),
            |event| event.derived.device = text(),
        ];
        let event = enriched_event(project(1), 1);
        let mut hashes = std::collections::HashSet::from([hash(&event)]);
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = event.clone();
            change(&mut changed);
            assert!(hashes.insert(hash(&changed)), "change {number}");
        }
    }
}
