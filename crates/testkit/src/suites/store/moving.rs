//! What an event is that comes from another store, and what another store must be told.

use model::{Deduplication, EnrichedEvent, LedgerEntry, Outcome, Timestamp, ledger::utc_day};
use store::{AppendBatch, AppendOutcome::*, Checkpoint, EventStore, Value};
use uuid::Uuid;

use super::{Harness, QUEUE, append, batch, column, count, imported_event, ledger, named_event, now};
use crate::build::{enriched_event, project};

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days of the periods in which stores keep claims, at most.
const PERIOD_DAYS: i64 = 8;

fn moved(event: EnrichedEvent, claimed_at: Option<Timestamp>) -> EnrichedEvent {
    EnrichedEvent {
        deduplication: Deduplication::Moved { claimed_at },
        ..event
    }
}

fn received(event: EnrichedEvent, days_ago: i64) -> EnrichedEvent {
    EnrichedEvent {
        received_at: now().saturating_add_seconds(-days_ago * DAY),
        ..event
    }
}

async fn claim(store: &dyn EventStore, event: &EnrichedEvent) -> Option<Timestamp> {
    let claims = store.claims(event.project_id, vec![event.id]).await.expect("claims");
    assert_eq!(claims.len(), 1);
    claims[0]
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_moved_event_is_stored_once_and_not_counted(harness: &dyn Harness) {
    let store = harness.open().await;
    let events = || (1..=3).map(|number| moved(named_event(project(1), number), Some(now())));
    assert_eq!(append(&*store, 1, events()).await, [Stored; 3]);
    assert_eq!(append(&*store, 1, events()).await, [AlreadyApplied; 3]);
    let last = moved(enriched_event(project(1), 4), None);
    assert_eq!(append(&*store, 4, [last]).await, [Stored]);
    assert_eq!(count(&*store, project(1)).await, 4);
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, 0);
    let status = store.status(now()).await.expect("status");
    assert_eq!(status.events, 4);
    // What was counted where it comes from is counted by itself, as often as it comes.
    let entry = LedgerEntry {
        project_id: project(1),
        day: utc_day(now()),
        outcome: Outcome::Stored,
        count: 7,
    };
    for _ in 0..2 {
        let counted = AppendBatch {
            counts: vec![(5, entry.clone())],
            checkpoint: Some(Checkpoint {
                queue: QUEUE,
                position: 5,
            }),
            ..AppendBatch::default()
        };
        store.append(counted).await.expect("append");
    }
    assert_eq!(store.ledger().await.expect("ledger"), [entry]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_moved_event_is_stored_whatever_is_known_of_its_id(harness: &dyn Harness) {
    let store = harness.open().await;
    // A client's retry after weeks is a second event, and both are moved with the claim of the second.
    let event = named_event(project(1), 1);
    let both = [
        moved(received(event.clone(), 20), Some(now())),
        moved(event.clone(), Some(now())),
    ];
    assert_eq!(append(&*store, 1, both).await, [Stored; 2]);
    assert_eq!(append(&*store, 3, [moved(event.clone(), None)]).await, [Stored]);
    assert_eq!(append(&*store, 4, [event]).await, [Duplicate]);
    let ids = column(&*store, project(1), "id").await;
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| matches!(id, Value::Id(_))), "{ids:?}");
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_client_retry_of_a_moved_event_is_a_duplicate(harness: &dyn Harness) {
    let store = harness.open().await;
    let live = |number: u128, days_ago: i64| received(named_event(project(1), number), days_ago);
    let claimed = |days_ago: i64| Some(now().saturating_add_seconds(-days_ago * DAY));
    let events = [
        moved(live(1, 0), claimed(0)),
        moved(live(2, 6), claimed(6)),
        // Imported two days ago, with a time of receipt of years before.
        moved(live(3, 2_000), claimed(2)),
        // Nobody may retry it: what its client brings again is new.
        moved(live(4, 30), None),
    ];
    assert_eq!(append(&*store, 1, events).await, [Stored; 4]);
    let retries = || (1..=4).map(|number| live(number, 0));
    drop(store);
    let store = harness.open().await;
    assert_eq!(
        append(&*store, 5, retries()).await,
        [Duplicate, Duplicate, Duplicate, Stored]
    );
    assert_eq!(append(&*store, 9, retries()).await, [Duplicate; 4]);
    assert_eq!(count(&*store, project(1)).await, 5);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn claims_are_told_to_whoever_asks(harness: &dyn Harness) {
    let store = harness.open().await;
    let live = named_event(project(1), 1);
    let earlier = received(named_event(project(1), 2), 9);
    let imported = EnrichedEvent {
        client_event_id: Some("event-3".to_owned()),
        ..received(imported_event(project(1), 3), 2_000)
    };
    let unnamed = received(imported_event(project(1), 4), 2_000);
    let events = [live.clone(), earlier.clone(), imported.clone(), unnamed.clone()];
    assert_eq!(append(&*store, 1, events).await, [Stored; 4]);
    let period = PERIOD_DAYS * DAY * 1_000_000;
    for (event, claimed_at) in [(&live, now()), (&earlier, earlier.received_at), (&imported, now())] {
        let told = claim(&*store, event).await.expect("a claim");
        let micros_before = claimed_at.micros_since(told);
        assert!((0..period).contains(&micros_before), "{told} for {claimed_at}");
    }
    assert_eq!(claim(&*store, &unnamed).await, None);
    assert_eq!(claim(&*store, &named_event(project(1), 5)).await, None);
    assert_eq!(claim(&*store, &named_event(project(2), 1)).await, None);
    let ids = vec![unnamed.id, live.id, imported.id];
    let claims = store.claims(project(1), ids).await.expect("claims");
    assert_eq!(
        claims.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true, true]
    );
    // What is told is all that another store needs to tell the same.
    let told = claim(&*store, &imported).await;
    let again = received(named_event(project(3), 3), 2_000);
    append(&*store, 5, [moved(again.clone(), told)]).await;
    assert_eq!(claim(&*store, &again).await, told);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn checkpoints_of_all_queues_are_told(harness: &dyn Harness) {
    let store = harness.open().await;
    assert_eq!(store.checkpoints().await.expect("checkpoints"), []);
    append(
        &*store,
        1,
        [enriched_event(project(1), 1), enriched_event(project(1), 2)],
    )
    .await;
    let without_queue = AppendBatch {
        checkpoint: None,
        ..batch(1, [enriched_event(project(1), 3)])
    };
    store.append(without_queue).await.expect("append");
    let other = Checkpoint {
        queue: Uuid::from_u128(0x8000_0000_0000_0000_0000_0000_0000_0001),
        position: 9,
    };
    let empty = AppendBatch {
        checkpoint: Some(other),
        ..AppendBatch::default()
    };
    store.append(empty).await.expect("append");
    drop(store);
    let store = harness.open().await;
    let mut told = store.checkpoints().await.expect("checkpoints");
    told.sort_by_key(|checkpoint| checkpoint.queue);
    let first = Checkpoint {
        queue: QUEUE,
        position: 2,
    };
    assert_eq!(told, [first, other]);
}
