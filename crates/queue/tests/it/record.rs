//! Payloads as bytes.

use model::{Rejection, Tally};
use queue::{Payload, RecordError};
use testkit::{
    build::{accepted_event, instant, project},
    suites::queue::{event_record, tally_record},
};

#[test]
fn a_payload_comes_back_as_it_was() {
    let event = accepted_event(project(1), 7);
    let record = event_record(&event);
    assert_eq!(
        (record.project_id, record.received_at, record.events),
        (project(1), event.received_at, 1)
    );
    assert_eq!(record.decode().unwrap(), Payload::Event(event));

    let tally = Tally {
        project_id: project(2),
        received_at: instant("2026-01-15T12:00:00Z"),
        sampled_out: 3,
        rejected: vec![(Rejection::RateLimited, 4)],
    };
    let record = tally_record(&tally);
    assert_eq!(
        (record.project_id, record.received_at, record.events),
        (project(2), tally.received_at, 0)
    );
    assert_eq!(record.decode().unwrap(), Payload::Tally(tally));
}

#[test]
fn bytes_that_are_no_payload_are_refused_each_with_its_reason() {
    let mut record = event_record(&accepted_event(project(1), 7));
    let sound = record.payload.clone();
    record.payload = sound.slice(..sound.len() / 2);
    assert!(matches!(record.decode(), Err(RecordError::Malformed(_))));
    record.payload = [&[9], &sound[1..]].concat().into();
    assert!(matches!(record.decode(), Err(RecordError::Version { found: 9 })));
    record.payload = sound.slice(..0);
    assert!(matches!(record.decode(), Err(RecordError::Empty)));
}
