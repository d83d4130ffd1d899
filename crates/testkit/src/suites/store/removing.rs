//! Deleting events, giving their space back, and telling what is there.

use std::sync::Arc;

use model::{EnrichedEvent, Outcome, ProjectId};
use store::{
    AppendOutcome::{Duplicate, Stored},
    Value,
    event_store::ProjectStatus,
};

use super::{Harness, append, column, count, imported_event, ledger, named_event, now};
use crate::build::{enriched_event, instant, project};

/// One event per day, `days` before [`super::NOW`].
fn aged(project: ProjectId, number: u128, days: i64) -> EnrichedEvent {
    EnrichedEvent {
        timestamp: now().saturating_add_seconds(-days * 86_400),
        ..named_event(project, number)
    }
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn deleting_before_a_time_keeps_the_rest(harness: &dyn Harness) {
    let store = harness.open().await;
    let events = (0..10_u32).map(|number| aged(project(1), number.into(), number.into()));
    append(&*store, 1, events).await;
    append(&*store, 11, [aged(project(2), 1, 9)]).await;
    let before = now().saturating_add_seconds(-6 * 86_400);
    assert_eq!(store.delete(project(1), Some(before), false).await.expect("delete"), 3);
    assert_eq!(store.delete(project(1), Some(before), false).await.expect("delete"), 0);
    drop(store);
    let store = harness.open().await;
    let times = column(&*store, project(1), "timestamp").await;
    assert_eq!(times.len(), 7);
    assert_eq!(times[0], Value::Instant(before), "the edge itself is kept");
    assert_eq!(count(&*store, project(2)).await, 1);
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, 10);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_dry_run_deletes_nothing(harness: &dyn Harness) {
    let store = harness.open().await;
    append(
        &*store,
        1,
        (0..4_u32).map(|number| aged(project(1), number.into(), number.into())),
    )
    .await;
    let before = now().saturating_add_seconds(-86_400);
    assert_eq!(store.delete(project(1), Some(before), true).await.expect("delete"), 2);
    assert_eq!(store.delete(project(1), None, true).await.expect("delete"), 4);
    assert_eq!(store.delete(project(9), None, true).await.expect("delete"), 0);
    assert_eq!(count(&*store, project(1)).await, 4);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn deleting_a_project_keeps_the_others_and_the_ledger(harness: &dyn Harness) {
    let store = harness.open().await;
    let events = (0..30).map(|number| enriched_event(project(1 + number % 3), number));
    append(&*store, 1, events).await;
    assert_eq!(store.delete(project(1), None, false).await.expect("delete"), 10);
    drop(store);
    let store = harness.open().await;
    assert_eq!(count(&*store, project(1)).await, 0);
    assert_eq!(count(&*store, project(2)).await, 10);
    assert_eq!(count(&*store, project(3)).await, 10);
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, 10);
    let status = store.status(now()).await.expect("status");
    assert_eq!(status.events, 20);
    assert!(status.projects.iter().all(|status| status.project_id != project(1)));
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn events_may_come_again_after_their_deletion(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, [imported_event(project(1), 1), named_event(project(1), 2)]).await;
    store.delete(project(1), None, false).await.expect("delete");
    // What was imported may be imported again; a late retry of a client is still a retry.
    let again = append(&*store, 3, [imported_event(project(1), 1), named_event(project(1), 2)]).await;
    assert_eq!(again, [Stored, Duplicate]);
    let third = EnrichedEvent {
        user_id: "somebody else".to_owned(),
        ..named_event(project(1), 3)
    };
    append(&*store, 5, [third]).await;
    let numbers = column(&*store, project(1), "uid").await;
    assert_ne!(numbers[0], numbers[1], "two users, two numbers");
}

/// Events that compress badly, so that they fill a file.
fn bulky(project: ProjectId, numbers: std::ops::Range<u64>) -> impl Iterator<Item = EnrichedEvent> {
    numbers.map(move |number| {
        let noise: String = (0..40_u64)
            .map(|part| {
                let mixed = (number * 40 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("{:016x}", mixed ^ (mixed >> 29))
            })
            .collect();
        EnrichedEvent {
            timestamp: now().saturating_add_seconds(number as i64),
            properties: format!(r#"{{"noise":"{noise}"}}"#),
            ..imported_event(project, number.into())
        }
    })
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn reclaiming_gives_disk_back_and_keeps_everything(harness: &dyn Harness) {
    const EVENTS: u64 = 20_000;
    let store = harness.open().await;
    append(&*store, 1, bulky(project(1), 0..EVENTS)).await;
    append(
        &*store,
        EVENTS + 1,
        [named_event(project(2), 1), named_event(project(2), 2)],
    )
    .await;
    store.reclaim(false).await.expect("reclaim");
    let full = store.status(now()).await.expect("status");
    let before = now().saturating_add_seconds(18_000);
    assert_eq!(
        store.delete(project(1), Some(before), false).await.expect("delete"),
        18_000
    );

    let reclaimed = store.reclaim(true).await.expect("reclaim");
    assert!(reclaimed.bytes_after < reclaimed.bytes_before / 2, "{reclaimed:?}");
    let status = store.status(now()).await.expect("status");
    assert!(
        status.bytes < full.bytes - (full.bytes / 4),
        "{} of {}",
        status.bytes,
        full.bytes
    );
    assert_eq!(status.events, 2_002);

    for round in 0..2 {
        let store = if round == 0 {
            Arc::clone(&store)
        } else {
            harness.open().await
        };
        assert_eq!(count(&*store, project(1)).await, 2_000);
        assert_eq!(column(&*store, project(2), "event_id").await.len(), 2);
        assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, EVENTS);
        assert_eq!(
            store.checkpoint(super::QUEUE).await.expect("checkpoint"),
            Some(EVENTS + 2 + round)
        );
        let outcome = append(&*store, EVENTS + 3 + round, [named_event(project(2), 1)]).await;
        assert_eq!(outcome, [Duplicate], "what was known is known");
        if round == 0 {
            store.close().await.expect("close");
        }
    }
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn reclaiming_nothing_changes_nothing(harness: &dyn Harness) {
    let store = harness.open().await;
    store.reclaim(false).await.expect("reclaim");
    store.reclaim(true).await.expect("reclaim");
    append(&*store, 1, [named_event(project(1), 1)]).await;
    store.reclaim(true).await.expect("reclaim");
    store.reclaim(true).await.expect("reclaim");
    assert_eq!(count(&*store, project(1)).await, 1);
    assert_eq!(append(&*store, 2, [named_event(project(1), 1)]).await, [Duplicate]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn reads_and_appends_go_on_beside_reclaiming(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, bulky(project(1), 0..5_000)).await;
    let reclaiming = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..3 {
                store.reclaim(true).await.expect("reclaim");
            }
        })
    };
    let (mut position, mut stored) = (5_000, 5_000);
    while !reclaiming.is_finished() {
        assert_eq!(count(&*store, project(1)).await, stored);
        position += 1;
        let outcome = append(
            &*store,
            position,
            [imported_event(project(1), u128::from(position) + 10_000)],
        )
        .await;
        assert_eq!(outcome, [Stored]);
        stored += 1;
    }
    reclaiming.await.expect("reclaiming");
    drop(store);
    let store = harness.open().await;
    assert_eq!(count(&*store, project(1)).await, stored);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn the_status_counts_by_project(harness: &dyn Harness) {
    let store = harness.open().await;
    let empty = store.status(now()).await.expect("status");
    let at = |project_number, number, text: &str| EnrichedEvent {
        timestamp: instant(text),
        ..enriched_event(project(project_number), number)
    };
    let events = [
        at(1, 1, "2026-01-15T11:30:00Z"),
        at(1, 2, "2026-01-15T12:00:02Z"),
        at(1, 3, "2026-01-15T01:00:00Z"),
        at(1, 4, "2026-01-10T00:00:00Z"),
        at(1, 5, "2026-01-15T12:10:00Z"),
        at(2, 6, "2026-01-14T11:00:00Z"),
    ];
    append(&*store, 1, events).await;
    let status = store.status(now()).await.expect("status");
    assert_eq!(status.events, 6);
    assert!(status.bytes > 0 && status.bytes >= empty.bytes);
    let mut projects = status.projects;
    projects.sort_by_key(|project| project.project_id);
    let expected = [
        ProjectStatus {
            project_id: project(1),
            events: 5,
            events_last_hour: 2,
            events_last_day: 3,
            latest: Some(instant("2026-01-15T12:10:00Z")),
        },
        ProjectStatus {
            project_id: project(2),
            events: 1,
            events_last_hour: 0,
            events_last_day: 0,
            latest: Some(instant("2026-01-14T11:00:00Z")),
        },
    ];
    assert_eq!(projects, expected);
}
