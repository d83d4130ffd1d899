//! What the operator sees of a queue, and what he does with dead letters.

use std::time::Instant;

use queue::{EventQueue, Position, QueueError};

use super::{Harness, PATIENCE, assert_nothing_comes, contents, positions, read_exactly, records};

/// Sets everything aside that waits, and returns where the letters are.
async fn set_aside(queue: &dyn EventQueue, count: usize) -> Vec<Position> {
    let deliveries = read_exactly(queue, count).await;
    for delivery in &deliveries {
        queue.dead_letter(delivery, "because").await.expect("dead letter");
    }
    let set_aside = positions(&deliveries);
    queue.acknowledge(&set_aside).await.expect("acknowledge");
    set_aside
}

async fn letters(queue: &dyn EventQueue, from: Position, limit: usize) -> Vec<Position> {
    let letters = queue.dead_letters(from, limit).await.expect("dead letters");
    letters.iter().map(|letter| letter.position).collect()
}

pub async fn a_retried_dead_letter_is_a_new_record(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..3).into()).await.expect("append");
    let dead = set_aside(&*queue, 3).await;
    let [letter] = &queue.dead_letters(dead[1], 1).await.expect("dead letters")[..] else {
        panic!("one letter");
    };
    assert_eq!(letter.position, dead[1]);
    queue.append(letter.record.clone().into()).await.expect("append");
    assert_eq!(queue.discard_dead_letters(&dead[1..2]).await.expect("discard"), 1);
    let status = queue.status().await.expect("status");
    assert_eq!((status.waiting, status.dead_letters), (1, 2));
    let again = read_exactly(&*queue, 1).await;
    assert_eq!(contents(&again), records(1..2));
    assert!(again[0].position > dead[2], "a position is not given again");
    // It may die again, under its new position.
    queue.dead_letter(&again[0], "because").await.expect("dead letter");
    let left = [dead[0], dead[2], again[0].position];
    assert_eq!(letters(&*queue, Position(0), 10).await, left);
    assert_eq!(letters(&*queue, Position(dead[0].0 + 1), 1).await, left[1..2]);
    assert_eq!(letters(&*queue, again[0].position, 10).await, left[2..]);
}

pub async fn discarded_dead_letters_are_gone_for_good(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.append(records(0..4).into()).await.expect("append");
    let dead = set_aside(&*queue, 4).await;
    let unknown = Position(dead[3].0 + 1_000);
    let discarded = queue.discard_dead_letters(&[dead[0], dead[2], unknown, dead[0]]).await;
    assert_eq!(discarded.expect("discard"), 2);
    assert_eq!(queue.discard_dead_letters(&dead[..1]).await.expect("again"), 0);
    queue.close().await.expect("close");
    drop(queue);

    let queue = harness.open().await;
    assert_eq!(queue.status().await.expect("status").dead_letters, 2);
    assert_eq!(letters(&*queue, Position(0), 10).await, [dead[1], dead[3]]);
    assert_eq!(queue.discard_dead_letters(&dead).await.expect("discard"), 2);
    assert_eq!(letters(&*queue, Position(0), 10).await, []);
    assert_nothing_comes(&*queue).await;
    queue.append(records(4..5).into()).await.expect("append");
    let next = read_exactly(&*queue, 1).await;
    assert!(next[0].position > dead[3], "a position is not given again");
}

pub async fn a_full_queue_says_so_until_there_is_room(harness: &dyn Harness) {
    let queue = harness.open_small().await;
    queue.check().await.expect("an empty queue takes events");
    let mut kept = 0;
    while queue.append(records(kept..kept + 10).into()).await.is_ok() {
        kept += 10;
    }
    let told = queue.check().await.expect_err("full");
    assert!(matches!(told, QueueError::Full(_)), "{told:?}");
    drop(queue);
    let queue = harness.open_small().await;
    // A start may find a little room at the end of what it holds.
    let told = queue.check().await;
    let appended = queue.append(records(kept..kept + 10).into()).await;
    assert_eq!(told.is_ok(), appended.is_ok(), "{told:?}, {appended:?}");
    kept += if appended.is_ok() { 10 } else { 0 };

    let count = usize::try_from(kept).expect("small");
    let deliveries = read_exactly(&*queue, count).await;
    queue.acknowledge(&positions(&deliveries)).await.expect("acknowledge");
    // Nobody appends meanwhile.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = queue.check().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
    queue.append(records(0..10).into()).await.expect("what check said");
    queue.check().await.expect("and goes on saying");
}

pub async fn a_closed_queue_says_so(harness: &dyn Harness) {
    let queue = harness.open().await;
    queue.check().await.expect("open");
    queue.close().await.expect("close");
    let told = queue.check().await.expect_err("closed");
    assert!(matches!(told, QueueError::Closed), "{told:?}");
}
