//! Exactly once, and counted once.

use model::{Deduplication, EnrichedEvent, LedgerEntry, Outcome, Rejection, ledger::utc_day};
use store::{AppendOutcome, Checkpoint, StoreError, Value};
use uuid::Uuid;

use super::{
    AppendBatch, Harness, QUEUE, append, batch, column, count, imported_event, ledger, named_event, now, read,
};
use crate::build::{enriched_event, instant, project};

use AppendOutcome::{AlreadyApplied, Duplicate, Stored};

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_redelivered_batch_is_applied_once(harness: &dyn Harness) {
    let events = || {
        [
            named_event(project(1), 1),
            enriched_event(project(1), 2),
            imported_event(project(1), 3),
        ]
    };
    let store = harness.open().await;
    assert_eq!(append(&*store, 1, events()).await, [Stored; 3]);
    assert_eq!(append(&*store, 1, events()).await, [AlreadyApplied; 3]);
    drop(store);
    let store = harness.open().await;
    assert_eq!(append(&*store, 1, events()).await, [AlreadyApplied; 3]);
    assert_eq!(count(&*store, project(1)).await, 3);
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, 3);
    assert_eq!(ledger(&*store, project(1), Outcome::Duplicate).await, 0);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_redelivery_that_overlaps_stores_the_rest(harness: &dyn Harness) {
    let store = harness.open().await;
    let events = |numbers: std::ops::RangeInclusive<u128>| numbers.map(|number| named_event(project(1), number));
    append(&*store, 1, events(1..=2)).await;
    let again = append(&*store, 1, events(1..=4)).await;
    assert_eq!(again, [AlreadyApplied, AlreadyApplied, Stored, Stored]);
    assert_eq!(store.checkpoint(QUEUE).await.expect("checkpoint"), Some(4));
    assert_eq!(count(&*store, project(1)).await, 4);
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, 4);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn positions_of_another_queue_are_new(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 5, [enriched_event(project(1), 1)]).await;
    let other = Uuid::from_u128(99);
    let mut second = batch(3, [enriched_event(project(1), 2)]);
    second.checkpoint = Some(Checkpoint {
        queue: other,
        position: 3,
    });
    assert_eq!(store.append(second).await.expect("append").outcomes, [Stored]);
    assert_eq!(store.checkpoint(QUEUE).await.expect("checkpoint"), Some(5));
    assert_eq!(store.checkpoint(other).await.expect("checkpoint"), Some(3));
    assert_eq!(store.checkpoint(Uuid::from_u128(98)).await.expect("checkpoint"), None);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_checkpoint_moves_without_events_and_never_back(harness: &dyn Harness) {
    let store = harness.open().await;
    let to = |position| AppendBatch {
        checkpoint: Some(Checkpoint { queue: QUEUE, position }),
        ..AppendBatch::default()
    };
    store.append(to(7)).await.expect("append");
    store.append(to(4)).await.expect("append");
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.checkpoint(QUEUE).await.expect("checkpoint"), Some(7));
    assert_eq!(
        append(&*store, 7, [enriched_event(project(1), 1)]).await,
        [AlreadyApplied]
    );
    assert_eq!(append(&*store, 8, [enriched_event(project(1), 1)]).await, [Stored]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_client_retry_is_a_duplicate_across_restarts(harness: &dyn Harness) {
    let store = harness.open().await;
    let event = named_event(project(1), 1);
    assert_eq!(append(&*store, 1, [event.clone()]).await, [Stored]);
    // Between retries clients correct the time; the id alone counts.
    let retry = EnrichedEvent {
        timestamp: event.timestamp.saturating_add_micros(3),
        received_at: event.received_at.saturating_add_seconds(9),
        ..event
    };
    assert_eq!(append(&*store, 2, [retry.clone()]).await, [Duplicate]);
    drop(store);
    let store = harness.open().await;
    assert_eq!(append(&*store, 3, [retry]).await, [Duplicate]);
    assert_eq!(
        append(&*store, 4, [named_event(project(2), 1)]).await,
        [Stored],
        "another project's"
    );
    assert_eq!(count(&*store, project(1)).await, 1);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_client_retry_is_a_duplicate_for_seven_days(harness: &dyn Harness) {
    let store = harness.open().await;
    let at = |number: u128, day: i64| EnrichedEvent {
        received_at: now().saturating_add_seconds(day * 86_400),
        ..named_event(project(1), number)
    };
    // One event of every day of three weeks, and each day the retry of the one seven days before.
    for day in 0..21_u32 {
        let (number, day_number) = (u128::from(day), i64::from(day));
        let position = u64::from(day) * 2 + 1;
        assert_eq!(append(&*store, position, [at(number, day_number)]).await, [Stored]);
        if let Some(week_ago) = number.checked_sub(7) {
            assert_eq!(
                append(&*store, position + 1, [at(week_ago, day_number)]).await,
                [Duplicate],
                "day {day}"
            );
        }
        harness.clock().advance_seconds(86_400);
    }
    assert_eq!(count(&*store, project(1)).await, 21);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_event_twice_in_a_batch_is_stored_once(harness: &dyn Harness) {
    let store = harness.open().await;
    let (named, imported) = (named_event(project(1), 1), imported_event(project(1), 2));
    let events = [named.clone(), imported.clone(), named, imported];
    assert_eq!(append(&*store, 1, events).await, [Stored, Stored, Duplicate, Duplicate]);
    assert_eq!(count(&*store, project(1)).await, 2);
    assert_eq!(ledger(&*store, project(1), Outcome::Duplicate).await, 2);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_import_is_a_duplicate_at_any_time(harness: &dyn Harness) {
    let events = || {
        (0..300).map(|number| EnrichedEvent {
            timestamp: instant("2019-03-01T00:00:00Z").saturating_add_seconds(number * 60),
            ..imported_event(project(1), number.unsigned_abs().into())
        })
    };
    let store = harness.open().await;
    assert_eq!(append(&*store, 1, events()).await, [Stored; 300]);
    harness.clock().advance_seconds(90 * 86_400);
    drop(store);
    let store = harness.open().await;
    // Again in other batches than before, mixed with one that is new.
    let mut again: Vec<_> = events().skip(100).collect();
    again.push(imported_event(project(1), 1_000));
    let outcomes = append(&*store, 301, again).await;
    assert_eq!(outcomes[..200], [Duplicate; 200]);
    assert_eq!(outcomes[200..], [Stored]);
    assert_eq!(count(&*store, project(1)).await, 301);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_import_is_a_duplicate_only_in_its_project(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = imported_event(project(1), 1);
    let second = EnrichedEvent {
        project_id: project(2),
        ..first.clone()
    };
    assert_eq!(append(&*store, 1, [first.clone()]).await, [Stored]);
    assert_eq!(append(&*store, 2, [second.clone()]).await, [Stored]);
    assert_eq!(append(&*store, 3, [second, first]).await, [Duplicate, Duplicate]);
    // The same file into several projects at once: what one of them exported carries the ids that the server gave.
    let exported = |number| EnrichedEvent {
        project_id: project(number),
        ..imported_event(project(1), 2)
    };
    let both = append(&*store, 5, [exported(1), exported(2), exported(1)]).await;
    assert_eq!(both, [Stored, Stored, Duplicate]);
    assert_eq!(
        append(&*store, 8, [exported(2), exported(3)]).await,
        [Duplicate, Stored]
    );
    assert_eq!(count(&*store, project(3)).await, 1);
}

/// An event whose client named it, as a file brings it that tells other times than the request.
fn backfilled(number: u128) -> EnrichedEvent {
    let event = named_event(project(1), number);
    EnrichedEvent {
        timestamp: instant("2019-03-01T00:00:00Z").saturating_add_seconds(number as i64),
        received_at: instant("2019-03-01T00:00:02Z"),
        deduplication: Deduplication::History,
        ..event
    }
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_import_and_a_request_with_the_same_event_id_are_one_event(harness: &dyn Harness) {
    let store = harness.open().await;
    let live = |number: u128, day: i64| EnrichedEvent {
        received_at: now().saturating_add_seconds(day * 86_400),
        ..named_event(project(1), number)
    };
    assert_eq!(append(&*store, 1, [backfilled(1), live(2, 0)]).await, [Stored; 2]);
    assert_eq!(append(&*store, 3, [live(1, 0), backfilled(2)]).await, [Duplicate; 2]);
    let both = [backfilled(3), live(3, 0), live(4, 0), backfilled(4)];
    assert_eq!(
        append(&*store, 5, both).await,
        [Stored, Duplicate, Stored, Duplicate],
        "in one batch"
    );
    // A week later, by a store that was opened again.
    harness.clock().advance_seconds(7 * 86_400);
    drop(store);
    let store = harness.open().await;
    let late = [live(1, 7), backfilled(2), live(3, 7), backfilled(4)];
    assert_eq!(append(&*store, 9, late).await, [Duplicate; 4]);
    assert_eq!(count(&*store, project(1)).await, 4);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_import_with_corrected_times_adds_nothing(harness: &dyn Harness) {
    let store = harness.open().await;
    assert_eq!(append(&*store, 1, (0..50).map(backfilled)).await, [Stored; 50]);
    let corrected = (0..50).map(|number| EnrichedEvent {
        timestamp: instant("2021-01-01T00:00:00Z"),
        ..backfilled(number)
    });
    assert_eq!(append(&*store, 51, corrected).await, [Duplicate; 50]);
    assert_eq!(count(&*store, project(1)).await, 50);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_refused_import_gives_up_no_claim_of_others(harness: &dyn Harness) {
    let store = harness.open().await;
    let broken = EnrichedEvent {
        properties: "no object".to_owned(),
        ..named_event(project(1), 3)
    };
    assert_eq!(append(&*store, 1, [named_event(project(1), 1)]).await, [Stored]);
    let imports = [backfilled(1), backfilled(2), broken];
    store.append(batch(2, imports)).await.expect_err("refused");
    let retries = [named_event(project(1), 1), named_event(project(1), 2)];
    assert_eq!(append(&*store, 2, retries).await, [Duplicate, Stored]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn batches_without_a_queue_are_each_new(harness: &dyn Harness) {
    let alone = |number| AppendBatch {
        checkpoint: None,
        ..batch(1, [enriched_event(project(1), number), named_event(project(1), 1)])
    };
    let store = harness.open().await;
    assert_eq!(store.append(alone(1)).await.expect("append").outcomes, [Stored, Stored]);
    assert_eq!(
        store.append(alone(2)).await.expect("append").outcomes,
        [Stored, Duplicate]
    );
    drop(store);
    let store = harness.open().await;
    assert_eq!(
        store.append(alone(3)).await.expect("append").outcomes,
        [Stored, Duplicate]
    );
    assert_eq!(count(&*store, project(1)).await, 4);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn the_ledger_counts_every_outcome_once(harness: &dyn Harness) {
    let day = utc_day(now());
    let entry = |number, outcome, count| LedgerEntry {
        project_id: project(number),
        day,
        outcome,
        count,
    };
    let delivered = || {
        let mut batch = batch(
            1,
            [
                named_event(project(1), 1),
                named_event(project(1), 1),
                named_event(project(2), 2),
            ],
        );
        batch.counts = vec![
            (4, entry(1, Outcome::SampledOut, 5)),
            (4, entry(1, Outcome::Rejected(Rejection::RateLimited), 6)),
            (5, entry(2, Outcome::DeadLettered, 1)),
            (5, entry(2, Outcome::Rejected(Rejection::InvalidEvent), 0)),
        ];
        batch.checkpoint = Some(Checkpoint {
            queue: QUEUE,
            position: 5,
        });
        batch
    };
    let store = harness.open().await;
    store.append(delivered()).await.expect("append");
    // The same again, then more behind it.
    store.append(delivered()).await.expect("append");
    let mut more = delivered();
    more.counts.push((6, entry(1, Outcome::SampledOut, 10)));
    more.checkpoint = Some(Checkpoint {
        queue: QUEUE,
        position: 6,
    });
    store.append(more).await.expect("append");
    drop(store);
    let store = harness.open().await;
    let mut found = store.ledger().await.expect("ledger");
    found.sort_by_key(|entry| (entry.project_id, entry.outcome));
    let expected = [
        entry(1, Outcome::Stored, 1),
        entry(1, Outcome::Duplicate, 1),
        entry(1, Outcome::SampledOut, 15),
        entry(1, Outcome::Rejected(Rejection::RateLimited), 6),
        entry(2, Outcome::Stored, 1),
        entry(2, Outcome::DeadLettered, 1),
    ];
    assert_eq!(found, expected);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn the_ledger_counts_by_day_of_receipt(harness: &dyn Harness) {
    let store = harness.open().await;
    let received = |number, text: &str| EnrichedEvent {
        received_at: instant(text),
        ..enriched_event(project(1), number)
    };
    let events = [
        received(1, "2026-01-14T23:59:59.999999Z"),
        received(2, "2026-01-15T00:00:00Z"),
        received(3, "2026-01-15T23:59:59Z"),
    ];
    append(&*store, 1, events).await;
    let days: Vec<(i32, u64)> = store
        .ledger()
        .await
        .expect("ledger")
        .iter()
        .map(|entry| (entry.day, entry.count))
        .collect();
    assert_eq!(days, [(20_467, 1), (20_468, 2)]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_refused_event_leaves_nothing_behind(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, [enriched_event(project(1), 1)]).await;
    for poison in ["", "{\"broken\"", "[1]", "null", "\"text\""] {
        let broken = EnrichedEvent {
            properties: poison.to_owned(),
            ..named_event(project(1), 3)
        };
        let refused = store.append(batch(2, [named_event(project(1), 2), broken])).await;
        let Err(StoreError::Refused(message)) = refused else {
            panic!("{poison:?} must be refused: {refused:?}");
        };
        assert!(message.contains("position 3"), "{message}");
    }
    assert_eq!(count(&*store, project(1)).await, 1);
    assert_eq!(store.checkpoint(QUEUE).await.expect("checkpoint"), Some(1));
    assert_eq!(ledger(&*store, project(1), Outcome::Stored).await, 1);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_refused_event_may_come_again(harness: &dyn Harness) {
    let store = harness.open().await;
    let broken = EnrichedEvent {
        properties: "no object".to_owned(),
        ..named_event(project(1), 1)
    };
    store
        .append(batch(1, [broken, named_event(project(1), 2)]))
        .await
        .expect_err("refused");
    // The worker finds the culprit, sets it aside and counts it; the other is stored.
    let mut rest = batch(2, [named_event(project(1), 2)]);
    let set_aside = LedgerEntry {
        project_id: project(1),
        day: utc_day(now()),
        outcome: Outcome::DeadLettered,
        count: 1,
    };
    rest.counts = vec![(1, set_aside)];
    assert_eq!(store.append(rest).await.expect("append").outcomes, [Stored]);
    // A repaired one comes under the same id: the store has no event of that id.
    assert_eq!(append(&*store, 3, [named_event(project(1), 1)]).await, [Stored]);
    assert_eq!(append(&*store, 4, [named_event(project(1), 1)]).await, [Duplicate]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn users_are_numbered_by_project(harness: &dyn Harness) {
    let by = |project_number, number, user: &str| EnrichedEvent {
        user_id: user.to_owned(),
        ..enriched_event(project(project_number), number)
    };
    let store = harness.open().await;
    append(
        &*store,
        1,
        [by(1, 1, "ann"), by(1, 2, "bob"), by(2, 3, "bob"), by(1, 4, "ann")],
    )
    .await;
    let refused = EnrichedEvent {
        properties: String::new(),
        ..by(1, 5, "eve")
    };
    store
        .append(batch(5, [by(1, 6, "eve"), refused]))
        .await
        .expect_err("refused");
    drop(store);
    let store = harness.open().await;
    append(&*store, 5, [by(1, 7, "cid"), by(1, 8, "ann"), by(1, 9, "")]).await;
    let rows = read(&*store, project(1), |events, _| {
        format!(
            "select user_id, count(distinct uid), min(uid), count(*) from {events} group by user_id order by user_id"
        )
    })
    .await;
    let numbers: Vec<i64> = rows.rows.iter().filter_map(|row| row[2].as_integer()).collect();
    for (row, expected) in rows.rows.iter().zip([("", 1), ("ann", 3), ("bob", 1), ("cid", 1)]) {
        let (user, events) = expected;
        assert_eq!(row[0], Value::Text(user.to_owned()));
        assert_eq!(
            (&row[1], &row[3]),
            (&Value::Integer(1), &Value::Integer(events)),
            "{user}"
        );
    }
    let mut dense = numbers.clone();
    dense.sort_unstable();
    assert_eq!(dense, [0, 1, 2, 3], "{numbers:?}");
    assert_eq!(column(&*store, project(2), "uid").await, [Value::Integer(0)]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn halves_of_surrogate_pairs_do_not_fail_reads(harness: &dyn Harness) {
    let store = harness.open().await;
    let with = |number, properties: &str| EnrichedEvent {
        properties: properties.to_owned(),
        deduplication: Deduplication::Redelivery,
        ..enriched_event(project(1), number)
    };
    append(
        &*store,
        1,
        [
            with(1, r#"{"a":"cut \ud83d"}"#),
            with(2, r#"{"a":"whole \ud83d\ude00"}"#),
        ],
    )
    .await;
    let rows = read(&*store, project(1), |events, _| {
        format!("select properties->>'a' from {events} order by id")
    })
    .await;
    let texts: Vec<_> = rows.rows.iter().map(|row| row[0].as_text()).collect();
    assert_eq!(texts, [Some("cut \u{fffd}"), Some("whole 😀")]);
}
