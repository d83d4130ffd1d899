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
    ledger.finished(PROJECT, Outcome::Stored, 4, now);
    ledger.finished(PROJECT, Outcome::Duplicate, 1, now);
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
    ledger.finished(PROJECT, Outcome::Stored, 2, now);
    assert_eq!(balanced(&ledger).received, 2);
    ledger.accepted(PROJECT, 2);
    assert_eq!(balanced(&ledger).received, 2);
    assert_eq!(ledger.waiting(), 0);
}

#[test]
fn starts_from_store_and_queue_and_counts_what_it_was_not_told() {
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
    let ledger = Ledger::load(entries, Some(7), &queue, now);
    assert_eq!(balanced(&ledger).received, 14);
    assert!(ledger.is_counted(7) && !ledger.is_counted(8));
    // One of two is in the store, whose answer was lost; its ledger says that the other was a duplicate.
    let told = [entry(Outcome::Stored, 11), entry(Outcome::Duplicate, 1)];
    assert_eq!(ledger.finished_unseen(PROJECT, 2, &told, now), (1, 1));
    ledger.finished(PROJECT, Outcome::Stored, 1, now);
    ledger.counted_up_to(10);
    ledger.counted_up_to(9);
    assert!(ledger.is_counted(10));
    let totals = balanced(&ledger);
    assert_eq!(
        (totals.received, totals.stored, totals.duplicate, totals.waiting),
        (14, 12, 1, 0)
    );
    assert_eq!(used(&ledger, now), 12);
}

#[test]
fn outcomes_of_tallies_count_once_whichever_clock_they_tell() {
    let now = at("2026-03-02T00:00:00Z");
    let queue = QueueStatus {
        end: queue::Position(5),
        ..QueueStatus::default()
    };
    let ledger = Ledger::load(Vec::new(), None, &queue, now);
    let entry = LedgerEntry {
        project_id: PROJECT,
        day: utc_day(at("2026-03-09T00:00:00Z")),
        outcome: Outcome::SampledOut,
        count: 3,
    };
    ledger.counted_without_event(4, &entry, now);
    // This one is of this process, which counted it when it happened.
    ledger.ended(PROJECT, Outcome::SampledOut, 3, now);
    ledger.counted_without_event(5, &entry, now);
    assert_eq!(balanced(&ledger).sampled_out, 6);
}

#[test]
fn the_quota_counts_a_calendar_month_and_no_duplicates() {
    let (january, february) = (at("2026-01-31T23:59:59Z"), at("2026-02-01T00:00:00Z"));
    let ledger = Ledger::default();
    assert_eq!(ledger.reserve(PROJECT, 7, Some(7), january), Ok(()));
    assert_eq!(ledger.reserve(PROJECT, 1, Some(7), january), Err(7));
    assert_eq!(ledger.reserve(PROJECT, 2, None, february), Ok(()));
    ledger.finished(PROJECT, Outcome::Duplicate, 1, january);
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
