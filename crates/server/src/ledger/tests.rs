use model::ProjectId;
use uuid::Uuid;

use super::*;

const PROJECT: ProjectId = ProjectId(Uuid::from_u128(1));

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// How many events the month has had.
fn used(ledger: &Ledger, now: Timestamp) -> u64 {
    ledger.reserve(PROJECT, 1_000_000, Some(0), now).expect_err("over it")
}

fn balanced(ledger: &Ledger) -> LedgerTotals {
    let totals = ledger.totals(PROJECT);
    assert_eq!(totals.received, totals.accounted(), "{totals:?}");
    totals
}

#[test]
fn holds_after_every_step_in_any_order() {
    let now = at("2026-03-01T00:00:00Z");
    let ledger = Ledger::default();
    ledger.accepted(PROJECT, 5);
    assert_eq!(balanced(&ledger).waiting, 5);
    ledger.ended(PROJECT, Outcome::Rejected(Rejection::InvalidEvent), 2, now);
    ledger.ended(PROJECT, Outcome::SampledOut, 3, now);
    balanced(&ledger);
    ledger.finished(PROJECT, Some(Outcome::Stored), 4, now);
    ledger.finished(PROJECT, Some(Outcome::Duplicate), 1, now);
    let expected = LedgerTotals {
        received: 10,
        stored: 4,
        duplicate: 1,
        sampled_out: 3,
        rejected: 2,
        dead_lettered: 0,
        waiting: 0,
    };
    assert_eq!(balanced(&ledger), expected);
}

#[test]
fn holds_while_the_worker_is_ahead_of_the_http_side() {
    let now = at("2026-03-01T00:00:00Z");
    let ledger = Ledger::default();
    ledger.finished(PROJECT, Some(Outcome::Stored), 2, now);
    assert_eq!(balanced(&ledger).received, 2);
    ledger.accepted(PROJECT, 2);
    assert_eq!(balanced(&ledger).received, 2);
    assert_eq!(ledger.waiting(), 0);
}

#[test]
fn starts_from_store_and_queue_and_does_not_count_redelivered_events_twice() {
    let now = at("2026-03-02T00:00:00Z");
    let entry = |outcome, count| LedgerEntry {
        project_id: PROJECT,
        day: utc_day(now),
        outcome,
        count,
    };
    let queue = QueueStatus {
        waiting: 3,
        waiting_by_project: [(PROJECT, 3)].into(),
        ..QueueStatus::default()
    };
    let entries = vec![
        entry(Outcome::Stored, 10),
        entry(Outcome::Rejected(Rejection::RateLimited), 1),
    ];
    let ledger = Ledger::load(entries, &queue, now);
    assert_eq!(balanced(&ledger).received, 14);
    // Two of the three had been stored before the crash: their acknowledgement was lost.
    ledger.finished(PROJECT, None, 2, now);
    ledger.finished(PROJECT, Some(Outcome::Stored), 1, now);
    let totals = balanced(&ledger);
    assert_eq!((totals.received, totals.stored, totals.waiting), (12, 11, 0));
    assert_eq!(used(&ledger, now), 11);
}

#[test]
fn the_quota_counts_a_calendar_month_and_no_duplicates() {
    let (january, february) = (at("2026-01-31T23:59:59Z"), at("2026-02-01T00:00:00Z"));
    let ledger = Ledger::default();
    assert_eq!(ledger.reserve(PROJECT, 7, Some(7), january), Ok(()));
    assert_eq!(ledger.reserve(PROJECT, 1, Some(7), january), Err(7));
    assert_eq!(ledger.reserve(PROJECT, 2, None, february), Ok(()));
    ledger.finished(PROJECT, Some(Outcome::Duplicate), 1, january);
    assert_eq!((used(&ledger, january), used(&ledger, february)), (6, 2));
    // What could not be queued does not count.
    assert_eq!(ledger.reserve(PROJECT, 1, Some(7), january), Ok(()));
    ledger.release(PROJECT, 1, january);
    assert_eq!(used(&ledger, january), 6);
}

#[test]
fn unsent_outcomes_are_handed_over_once_and_can_be_given_back() {
    let now = at("2026-03-01T00:00:00Z");
    let ledger = Ledger::default();
    ledger.ended(PROJECT, Outcome::Rejected(Rejection::InvalidEvent), 2, now);
    ledger.ended(PROJECT, Outcome::SampledOut, 3, now);
    let taken = ledger.take_unsent();
    let expected = Tally {
        project_id: PROJECT,
        received_at: now,
        sampled_out: 3,
        rejected: vec![(Rejection::InvalidEvent, 2)],
    };
    assert_eq!(taken, std::slice::from_ref(&expected));
    assert!(ledger.take_unsent().is_empty());
    ledger.restore(taken);
    ledger.ended(PROJECT, Outcome::SampledOut, 1, now);
    assert_eq!(
        ledger.take_unsent(),
        [Tally {
            sampled_out: 4,
            ..expected
        }]
    );
}
