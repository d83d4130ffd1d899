//! A disk that fails: nothing promised is lost, nothing else is promised, and the queue goes on by itself.

use std::{io, path::Path, sync::Arc, time::Duration};

use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue, OpenError, Position, QueueError};
use testkit::{
    build::instant,
    clock::FixedClock,
    suites::queue::{PATIENCE, read_exactly},
};

use super::{
    common::{fill, number_of, open, options, read_all, read_numbers, record, try_open},
    simulated::{Call, Fault, SimulatedFiles},
};

fn fault(call: Call, name: &'static str) -> Fault {
    Fault {
        call,
        name,
        kind: io::ErrorKind::Other,
        times: 1,
        written_bytes: 0,
    }
}

fn positions(deliveries: &[queue::Delivery]) -> Vec<Position> {
    deliveries.iter().map(|delivery| delivery.position).collect()
}

/// Waits until the files are as wanted: the keeper works on its own.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failed_append_is_refused_and_the_next_one_goes_to_a_new_segment() {
    for call in [Call::Write, Call::Sync] {
        let files = SimulatedFiles::default();
        let queue = open(&files);
        fill(&queue, 0..3, 100).await;
        files.inject(Fault {
            written_bytes: 1024,
            ..fault(call, ".segment")
        });
        let refusal = queue
            .append((90..95).map(|number| record(number, 400)).collect())
            .await
            .unwrap_err();
        assert!(
            matches!(&refusal, QueueError::Unavailable(why) if why.contains("made to fail")),
            "{refusal}"
        );
        fill(&queue, 3..6, 100).await;
        assert_eq!(
            files.paths(".segment").len(),
            2,
            "after a failed {call:?} a segment is not written to again"
        );
        assert_eq!(read_numbers(&queue).await, [0, 1, 2, 3, 4, 5]);

        // Nor does the refused append come back from what the failed write has left, whatever the power cut kept of it.
        for kept in [0, 1, 2, u64::MAX] {
            let cut = files.after_power_cut(|most| most.min(kept));
            let queue = open(&cut);
            assert_eq!(read_numbers(&queue).await, [0, 1, 2, 3, 4, 5]);
            assert_eq!(queue.status().await.unwrap().damaged_records, 0);
        }
    }
}

#[tokio::test]
async fn a_medium_that_failed_is_told_until_an_append_succeeds() {
    for call in [Call::Write, Call::Sync] {
        let files = SimulatedFiles::default();
        let queue = open(&files);
        fill(&queue, 0..3, 100).await;
        queue.check().await.unwrap();
        files.inject(fault(call, ".segment"));
        queue.append(vec![record(90, 400)].into()).await.unwrap_err();
        let told = queue.check().await.unwrap_err();
        assert!(
            matches!(&told, QueueError::Unavailable(why) if why.contains("made to fail")),
            "{told}"
        );
        fill(&queue, 3..6, 100).await;
        queue.check().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_start_delivers_is_on_the_medium() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..3, 100).await;
    files.inject(fault(Call::Sync, ".segment"));
    queue.append(record(3, 100).into()).await.unwrap_err();
    // Killed: the kernel still has what the failed flush left, and the next process finds it.
    let killed = files.copy();
    let queue = open(&killed);
    assert_eq!(read_numbers(&queue).await, [0, 1, 2, 3]);
    fill(&queue, 4..5, 100).await;
    let queue = open(&killed.after_power_cut(|_| 0));
    assert_eq!(read_numbers(&queue).await, [0, 1, 2, 3, 4]);
    assert_eq!(queue.status().await.unwrap().damaged_records, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room() {
    let files = SimulatedFiles::default();
    let options = EmbeddedOptions {
        disk_free_bytes_min: 0,
        ..options()
    };
    let queue = try_open(&files, options).unwrap();
    fill(&queue, 0..3, 100).await;
    files.inject(Fault {
        kind: io::ErrorKind::StorageFull,
        times: usize::MAX,
        ..fault(Call::Create, ".segment")
    });
    let mut kept = 3;
    let refusal = loop {
        match queue.append(record(kept, 400).into()).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100);
    };
    assert!(
        matches!(&refusal, QueueError::Full(why) if why.contains("disk")),
        "{refusal}"
    );
    assert!(
        matches!(queue.append(record(99, 400).into()).await, Err(QueueError::Full(_))),
        "still full"
    );
    files.heal();
    queue.append(record(kept, 400).into()).await.unwrap();
    assert_eq!(read_numbers(&queue).await, (0..=kept).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_store_keeps_its_share_of_the_disk() {
    let files = SimulatedFiles::default();
    files.set_disk_bytes(Some(64 * 1024));
    let options = EmbeddedOptions {
        disk_free_bytes_min: 40 * 1024,
        ..options()
    };
    let queue = try_open(&files, options).unwrap();
    let mut kept = 0;
    let refusal = loop {
        match queue.append(record(kept, 400).into()).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 200);
    };
    assert!(
        matches!(&refusal, QueueError::Full(why) if why.contains("must stay free")),
        "{refusal}"
    );
    files.set_disk_bytes(Some(128 * 1024));
    queue.append(record(kept, 400).into()).await.unwrap();
    assert_eq!(read_numbers(&queue).await.len(), kept + 1);
}

#[tokio::test]
async fn a_segment_that_cannot_be_made_refuses_the_append_alone() {
    for (call, name) in [
        (Call::Create, ".segment"),
        (Call::Write, ".segment"),
        (Call::Sync, ".segment"),
        (Call::SyncDirectory, "/queue"),
    ] {
        let files = SimulatedFiles::default();
        let queue = open(&files);
        files.inject(fault(call, name));
        assert!(
            matches!(
                queue.append(record(0, 10).into()).await,
                Err(QueueError::Unavailable(_))
            ),
            "{call:?}"
        );
        queue.append(record(1, 10).into()).await.unwrap();
        assert_eq!(read_numbers(&queue).await, [1]);
        let cut = files.after_power_cut(|_| 0);
        let queue = open(&cut);
        assert_eq!(read_numbers(&queue).await, [1], "durable after a failed {call:?}");
    }
}

#[tokio::test]
async fn an_append_too_large_is_refused_and_a_large_one_gets_a_segment_of_its_size() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..1, 20_000).await;
    fill(&queue, 1..2, 10).await;
    assert_eq!(read_numbers(&queue).await, [0, 1]);
    let refusal = queue.append(record(2, 64 * 1024 * 1024).into()).await.unwrap_err();
    assert!(refusal.to_string().contains("send fewer events at once"), "{refusal}");
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_for_a_while_loses_nothing() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..30, 400).await;
    files.inject(Fault {
        times: usize::MAX,
        ..fault(Call::Read, ".segment")
    });
    // What is in memory comes; then the disk is asked.
    let mut numbers = Vec::new();
    let refusal = loop {
        match queue.read(5, Duration::ZERO).await {
            Ok(deliveries) => numbers.extend(deliveries.iter().map(|delivery| number_of(&delivery.record))),
            Err(error) => break error,
        }
        assert!(numbers.len() < 30);
    };
    assert!(
        matches!(&refusal, QueueError::Unavailable(why) if why.contains("reading")),
        "{refusal}"
    );
    files.heal();
    numbers.extend(read_numbers(&queue).await);
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    assert_eq!(queue.status().await.unwrap().damaged_records, 0);

    // One refused read is tried again in smaller pieces.
    drop(queue);
    let queue = open(&files);
    files.inject(fault(Call::Read, ".segment"));
    assert_eq!(read_numbers(&queue).await, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_costs_only_repetition() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..30, 400).await;
    let deliveries = read_all(&queue).await;
    files.inject(Fault {
        times: usize::MAX,
        ..fault(Call::Write, "checkpoint")
    });
    queue.acknowledge(&positions(&deliveries)).await.unwrap();
    fill(&queue, 30..33, 400).await;
    queue.close().await.unwrap();
    drop(queue);
    files.heal();
    let queue = open(&files);
    assert_eq!(read_numbers(&queue).await, (0..33).collect::<Vec<_>>());
    assert_eq!(queue.status().await.unwrap().damaged_records, 0);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_stays_delivered() {
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::SyncDirectory] {
        let files = SimulatedFiles::default();
        let queue = open(&files);
        fill(&queue, 0..1, 10).await;
        let deliveries = read_all(&queue).await;
        files.inject(fault(call, "dead"));
        let refusal = queue.dead_letter(&deliveries[0], "because").await.unwrap_err();
        assert!(matches!(refusal, QueueError::Unavailable(_)), "{call:?}");
        let status = queue.status().await.unwrap();
        assert_eq!((status.waiting, status.dead_letters), (1, 0), "{call:?}");
        queue.dead_letter(&deliveries[0], "because").await.unwrap();
        let queue = open(&files.after_power_cut(|_| 0));
        let letters = queue.dead_letters(Position(0), 10).await.unwrap();
        assert_eq!(letters.len(), 1, "durable after a failed {call:?}");
        assert_eq!(letters[0].reason, "because");
    }
}

#[tokio::test]
async fn acknowledged_segments_give_their_disk_back() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..100, 400).await;
    assert!(files.paths(".segment").len() > 10);
    let full = queue.status().await.unwrap().bytes;
    let deliveries = read_exactly(&queue, 100).await;
    // The first one stays out: nothing can go.
    queue.acknowledge(&positions(&deliveries[1..])).await.unwrap();
    assert!(files.paths(".segment").len() > 10);
    queue.acknowledge(&positions(&deliveries[..1])).await.unwrap();
    eventually("one segment is left", || files.paths(".segment").len() == 1).await;
    let left = queue.status().await.unwrap().bytes;
    assert!(left <= 4096 && full > 40_000, "{full} {left}");
}

#[tokio::test]
async fn acknowledgements_are_written_down_without_a_close() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..6, 10).await;
    let deliveries = read_all(&queue).await;
    queue.acknowledge(&positions(&deliveries[..4])).await.unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while read_numbers(&open(&files.after_power_cut(|_| 0))).await != [4, 5] {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_process_has_a_directory_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
    let open = |path: &Path| EmbeddedQueue::open(path, options(), clock.clone());
    let queue = open(directory.path()).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(
        matches!(&error, OpenError::Locked(path) if path == directory.path()),
        "{error}"
    );
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(queue);
    open(directory.path()).unwrap();
}

#[tokio::test]
async fn an_unreadable_directory_is_told_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "no directory").unwrap();
    let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
    let error = EmbeddedQueue::open(&path, options(), clock).err().unwrap();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}
