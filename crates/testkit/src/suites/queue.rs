//! What every event queue must do. An adapter implements [`Harness`] and calls [`crate::queue_suite!`] once.
#![expect(missing_docs, reason = "a test's name says what the queue must do")]

mod harness;
mod operating;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use model::Tally;
use queue::{Position, QueueError, QueueStatus, Record, Records};

pub use self::harness::{
    Harness, MOMENT, PATIENCE, SMALL_BYTES, assert_nothing_comes, contents, event_record, positions, read_exactly,
    record, records, tally_record,
};
pub use self::operating::*;
use crate::build;

/// Makes a test of every function of [`mod@crate::suites::queue`]; `$harness` is evaluated once per test. Every test gets the `attributes`.
#[macro_export]
macro_rules! queue_suite {
    ($harness:expr) => {
        $crate::queue_suite!(attributes: []; $harness);
    };
    (attributes: [$(#[$attribute:meta])*]; $harness:expr) => {
        $crate::queue_suite!(@tests [$(#[$attribute])*] $harness;
            the_id_is_the_same_when_opened_again,
            records_come_whole_and_in_order,
            an_empty_append_is_nothing,
            reading_waits_for_the_first_record,
            reading_an_empty_queue_ends_with_its_wait,
            nothing_is_delivered_twice_to_one_process,
            what_is_not_acknowledged_comes_again_after_reopening,
            positions_are_never_given_twice,
            acknowledging_again_or_the_unknown_changes_nothing,
            returned_records_come_first_and_in_order,
            nothing_overtakes_a_returned_record,
            dead_letters_are_kept_with_their_reason,
            a_retried_dead_letter_is_a_new_record,
            discarded_dead_letters_are_gone_for_good,
            a_full_queue_refuses_and_recovers,
            a_full_queue_says_so_until_there_is_room,
            a_closed_queue_says_so,
            concurrent_appends_are_each_kept_together,
            concurrent_readers_share_the_records,
            the_status_tells_events_by_project,
            a_closed_queue_refuses_appends,
        );
    };
    (@tests $attributes:tt $harness:expr; $($name:ident,)+) => {
        $($crate::queue_suite!(@test $attributes $harness; $name);)+
    };
    (@test [$(#[$attribute:meta])*] $harness:expr; $name:ident) => {
            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let harness = $harness;
                $crate::suites::queue::$name(&harness).await;
            }
    };
}

pub async fn the_id_is_the_same_when_opened_again(harness: &dyn Harness) {
    let queue = harness.open().await;
    let id = queue.id();
    assert!(!id.is_nil());
    drop(queue);
    assert_eq!(harness.open().await.id(), id);
}

pub async fn records_come_whole_and_in_order(harness: &dyn Harness) {
    let queue = harness.open().await;
    let tally = Tally {
        project_id: build::project(2),
        received_at: build::instant("2026-01-15T12:00:00Z"),
        sampled_out: 3,
        rejected: Vec::new(),
    };
    let mut expected = records(0..10);
    queue.append(expected.clone().into()).await.expect("append");
    let second = vec![tally_record(&tally), record(build::project(3), 99)];
    queue.append(second.clone().into()).await.expect("append");
    expected.extend(second);

    let first_part = queue.read(7, PATIENCE).await.expect("read");
    assert!(!first_part.is_empty() && first_part.len() <= 7);
    let mut deliveries = first_part;
    deliveries.extend(read_exactly(&*queue, expected.len() - deliveries.len()).await);
    assert_eq!(contents(&deliveries), expected);
    assert!(deliveries.iter().all(|delivery| delivery.attempt == 1));
    assert!(deliveries.windows(2).all(|pair| pair[0].position < pair[1].position));
}

pub async fn an_empty_append_is_nothing(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(Records::default()).await.expect("append");
    assert_eq!(queue.status().await.expect("status").waiting, 0);
    assert!(queue.read(0, PATIENCE).await.expect("read").is_empty());
    assert_nothing_comes(&*queue).await;
}

pub async fn reading_waits_for_the_first_record(harness: &dyn Harness) {
    let queue = harness.open().await;
    let reader = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.read(10, PATIENCE).await.expect("read") }
    });
    // Whether the reader waits already does not matter: both orders must work, and over many runs both happen.
    tokio::task::yield_now().await;
    queue.append(records(0..1).into()).await.expect("append");
    assert_eq!(contents(&reader.await.expect("reader")), records(0..1));
}

pub async fn reading_an_empty_queue_ends_with_its_wait(harness: &dyn Harness) {
    let queue = harness.open().await;
    let started = Instant::now();
    assert_nothing_comes(&*queue).await;
    let elapsed = started.elapsed();
    assert!(elapsed >= MOMENT && elapsed < PATIENCE, "{elapsed:?}");
}

pub async fn nothing_is_delivered_twice_to_one_process(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..5).into()).await.expect("append");
    let deliveries = read_exactly(&*queue, 5).await;
    assert_nothing_comes(&*queue).await;
    assert_eq!(queue.status().await.expect("status").delivered, 5);
    queue.acknowledge(&positions(&deliveries)).await.expect("acknowledge");
    assert_nothing_comes(&*queue).await;
    assert_eq!(queue.status().await.expect("status").delivered, 0);
}

pub async fn what_is_not_acknowledged_comes_again_after_reopening(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..20).into()).await.expect("append");
    let deliveries = read_exactly(&*queue, 12).await;
    queue
        .acknowledge(&positions(&deliveries[..8]))
        .await
        .expect("acknowledge");
    queue.close().await.expect("close");
    drop(queue);

    let queue = harness.open().await;
    assert_eq!(queue.status().await.expect("status").waiting, 12);
    let again = read_exactly(&*queue, 12).await;
    assert_eq!(contents(&again), records(8..20));
    assert_eq!(again[0].position, deliveries[8].position);
    queue.acknowledge(&positions(&again)).await.expect("acknowledge");
    queue.close().await.expect("close");
    drop(queue);

    let queue = harness.open().await;
    assert_nothing_comes(&*queue).await;
    assert_eq!(queue.status().await.expect("status").waiting, 0);
}

pub async fn positions_are_never_given_twice(harness: &dyn Harness) {
    let mut last = Position(0);
    for round in 0..4 {
        let queue = harness.open().await;
        queue.append(records(0..3).into()).await.expect("append");
        let deliveries = read_exactly(&*queue, 3).await;
        for delivery in &deliveries {
            assert!(
                delivery.position > last,
                "round {round}: {:?} after {last:?}",
                delivery.position
            );
            last = delivery.position;
        }
        queue.acknowledge(&positions(&deliveries)).await.expect("acknowledge");
        if round % 2 == 0 {
            queue.close().await.expect("close");
        }
    }
}

pub async fn acknowledging_again_or_the_unknown_changes_nothing(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..4).into()).await.expect("append");
    let deliveries = read_exactly(&*queue, 2).await;
    let known = positions(&deliveries);
    for _ in 0..2 {
        queue.acknowledge(&known).await.expect("acknowledge");
        queue.retry(&known, Duration::ZERO).await.expect("retry");
        queue
            .acknowledge(&[Position(u64::MAX), Position(0)])
            .await
            .expect("acknowledge");
        queue.retry(&[Position(u64::MAX)], Duration::ZERO).await.expect("retry");
        assert_eq!(queue.status().await.expect("status").waiting, 2);
    }
    assert_eq!(contents(&read_exactly(&*queue, 2).await), records(2..4));
    assert_nothing_comes(&*queue).await;
}

pub async fn returned_records_come_first_and_in_order(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..8).into()).await.expect("append");
    let deliveries = read_exactly(&*queue, 5).await;
    // Given back in any order, one of them twice.
    let returned = [&deliveries[3], &deliveries[1], &deliveries[3]].map(|delivery| delivery.position);
    queue.retry(&returned, Duration::ZERO).await.expect("retry");
    assert_eq!(queue.status().await.expect("status").delivered, 3);

    let again = read_exactly(&*queue, 5).await;
    let mut expected = vec![deliveries[1].record.clone(), deliveries[3].record.clone()];
    expected.extend(records(5..8));
    assert_eq!(contents(&again), expected);
    let attempts: Vec<u32> = again.iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [2, 2, 1, 1, 1]);
    assert_eq!(positions(&again[..2]), [deliveries[1].position, deliveries[3].position]);
}

pub async fn nothing_overtakes_a_returned_record(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..3).into()).await.expect("append");
    let deliveries = read_exactly(&*queue, 1).await;
    let delay = Duration::from_millis(300);
    let started = Instant::now();
    queue.retry(&positions(&deliveries), delay).await.expect("retry");
    assert_nothing_comes(&*queue).await;
    let again = read_exactly(&*queue, 3).await;
    assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    assert_eq!(contents(&again), records(0..3));
    assert_eq!(again[0].attempt, 2);
}

pub async fn dead_letters_are_kept_with_their_reason(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..3).into()).await.expect("append");
    let deliveries = read_exactly(&*queue, 3).await;
    queue
        .retry(&positions(&deliveries[..1]), Duration::ZERO)
        .await
        .expect("retry");
    let second_try = read_exactly(&*queue, 1).await;
    queue
        .dead_letter(&deliveries[1], "not a number")
        .await
        .expect("dead letter");
    queue
        .dead_letter(&second_try[0], "größer als erlaubt")
        .await
        .expect("dead letter");
    let told = async || {
        let status = queue.status().await.expect("status");
        (status.waiting, status.dead_letters, status.delivered)
    };
    assert_eq!(told().await, (3, 2, 3), "until they are acknowledged");
    queue.dead_letter(&deliveries[1], "again").await.expect("dead letter");
    let dead = [deliveries[1].position, second_try[0].position];
    queue.acknowledge(&dead).await.expect("acknowledge");
    assert_eq!(told().await, (1, 2, 1));
    queue.close().await.expect("close");
    drop(queue);

    let queue = harness.open().await;
    assert_eq!(contents(&read_exactly(&*queue, 1).await), records(2..3));
    assert_nothing_comes(&*queue).await;
    assert_eq!(queue.status().await.expect("status").dead_letters, 2);
    let letters = queue.dead_letters(Position(0), 10).await.expect("dead letters");
    let told: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.position,
                letter.reason.as_str(),
                letter.attempts,
                letter.record.clone(),
            )
        })
        .collect();
    let expected = [(&second_try[0], "größer als erlaubt"), (&deliveries[1], "not a number")]
        .map(|(delivery, reason)| (delivery.position, reason, delivery.attempt, delivery.record.clone()));
    assert_eq!(told, expected);
    assert_eq!(queue.dead_letters(Position(0), 1).await.expect("dead letters").len(), 1);
}

pub async fn a_full_queue_refuses_and_recovers(harness: &dyn Harness) {
    let queue = harness.open_small().await;
    let mut kept = 0;
    let refusal = loop {
        match queue.append(records(kept..kept + 10).into()).await {
            Ok(()) => kept += 10,
            Err(error) => break error,
        }
        assert!(
            queue.status().await.expect("status").bytes <= 2 * SMALL_BYTES,
            "no bound"
        );
    };
    assert!(
        matches!(&refusal, QueueError::Full(why) if !why.is_empty()),
        "{refusal:?}"
    );
    assert!(kept >= 100, "only {kept} records fitted");
    assert_eq!(queue.status().await.expect("status").waiting, kept);

    let count = usize::try_from(kept).expect("small");
    let deliveries = read_exactly(&*queue, count).await;
    assert_eq!(contents(&deliveries), records(0..kept));
    queue.acknowledge(&positions(&deliveries)).await.expect("acknowledge");
    // The room comes back soon, and by itself.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = queue.append(records(0..10).into()).await {
        assert!(
            matches!(error, QueueError::Full(_)) && Instant::now() < deadline,
            "{error}"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(contents(&read_exactly(&*queue, 10).await), records(0..10));
}

pub async fn concurrent_appends_are_each_kept_together(harness: &dyn Harness) {
    const TASKS: u64 = 32;
    const APPENDS: u64 = 10;
    const RECORDS: u64 = 3;
    let queue = harness.open().await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                for append in 0..APPENDS {
                    let first = (task * APPENDS + append) * RECORDS;
                    queue
                        .append(records(first..first + RECORDS).into())
                        .await
                        .expect("append");
                }
            })
        })
        .collect();
    let deliveries = read_exactly(&*queue, usize::try_from(TASKS * APPENDS * RECORDS).expect("small")).await;
    for task in tasks {
        task.await.expect("appender");
    }
    assert_nothing_comes(&*queue).await;
    let numbers: HashMap<Record, u64> = records(0..TASKS * APPENDS * RECORDS).into_iter().zip(0..).collect();
    let came: Vec<u64> = deliveries.iter().map(|delivery| numbers[&delivery.record]).collect();
    assert_eq!(came.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "each once");
    for append in came.chunks(3) {
        assert_eq!(
            append,
            [append[0], append[0] + 1, append[0] + 2],
            "records of one append stay together"
        );
        assert_eq!(append[0] % RECORDS, 0);
    }
    for task in 0..TASKS {
        let own: Vec<u64> = came
            .iter()
            .copied()
            .filter(|number| number / (APPENDS * RECORDS) == task)
            .collect();
        assert!(own.is_sorted(), "appends of one task come in its order");
    }
}

pub async fn concurrent_readers_share_the_records(harness: &dyn Harness) {
    const COUNT: u64 = 400;
    let queue = harness.open().await;
    let (done, finished) = tokio::sync::watch::channel(());
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (queue, finished) = (Arc::clone(&queue), finished.clone());
            tokio::spawn(async move {
                let mut own = Vec::new();
                while finished.has_changed().is_ok() {
                    let deliveries = queue.read(7, MOMENT).await.expect("read");
                    queue.acknowledge(&positions(&deliveries)).await.expect("acknowledge");
                    own.extend(positions(&deliveries));
                }
                own
            })
        })
        .collect();
    for first in (0..COUNT).step_by(20) {
        queue.append(records(first..first + 20).into()).await.expect("append");
    }
    let deadline = Instant::now() + PATIENCE;
    while queue.status().await.expect("status").waiting > 0 {
        assert!(Instant::now() < deadline, "readers did not finish");
        tokio::task::yield_now().await;
    }
    drop(done);
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader.await.expect("reader"));
    }
    assert_eq!(all.len() as u64, COUNT);
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len() as u64,
        COUNT,
        "no record went to two readers"
    );
}

pub async fn the_status_tells_events_by_project(harness: &dyn Harness) {
    let queue = harness.open().await;
    let empty = queue.status().await.expect("status");
    assert_eq!(
        (empty.waiting, empty.oldest_received_at, empty.waiting_by_project.len()),
        (0, None, 0)
    );
    let (one, two) = (build::project(1), build::project(2));
    // Of a project that has nothing else: it is not told.
    let tally = Tally {
        project_id: build::project(3),
        received_at: build::instant("2026-01-15T11:00:00Z"),
        sampled_out: 3,
        rejected: Vec::new(),
    };
    let mut later = build::accepted_event(two, 7);
    later.received_at = build::instant("2026-01-15T13:00:00Z");
    let batch = vec![
        tally_record(&tally),
        record(one, 1),
        event_record(&later),
        record(one, 2),
    ];
    queue.append(batch.into()).await.expect("append");
    let told = |status: QueueStatus| (status.waiting, status.waiting_by_project, status.oldest_received_at);
    let first = build::instant("2026-01-15T12:00:01Z");
    let full = (3, HashMap::from([(one, 2), (two, 1)]), Some(first));
    assert_eq!(told(queue.status().await.expect("status")), full);

    let deliveries = read_exactly(&*queue, 4).await;
    assert_eq!(told(queue.status().await.expect("status")), full);
    queue
        .acknowledge(&positions(&deliveries[..2]))
        .await
        .expect("acknowledge");
    let half = (2, HashMap::from([(one, 1), (two, 1)]), Some(later.received_at));
    assert_eq!(told(queue.status().await.expect("status")), half);
    queue.close().await.expect("close");
    drop(queue);

    let queue = harness.open().await;
    assert_eq!(told(queue.status().await.expect("status")), half);
    let deliveries = read_exactly(&*queue, 2).await;
    queue
        .dead_letter(&deliveries[0], "unwanted")
        .await
        .expect("dead letter");
    queue.acknowledge(&positions(&deliveries)).await.expect("acknowledge");
    assert_eq!(told(queue.status().await.expect("status")), (0, HashMap::new(), None));
}

pub async fn a_closed_queue_refuses_appends(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..2).into()).await.expect("append");
    queue.close().await.expect("close");
    let refusal = queue.append(records(2..3).into()).await.expect_err("closed");
    assert!(matches!(refusal, QueueError::Closed), "{refusal:?}");
    queue.close().await.expect("closing again is nothing");
    drop(queue);
    let queue = harness.open().await;
    assert_eq!(contents(&read_exactly(&*queue, 2).await), records(0..2));
    assert_nothing_comes(&*queue).await;
}
