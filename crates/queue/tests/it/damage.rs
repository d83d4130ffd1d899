//! Damaged files: what is lost is told, and nothing else is lost.

use std::path::Path;

use proptest::prelude::*;
use queue::{EventQueue, OpenError, Position, Record};
use testkit::build::{instant, project};

use super::{
    common::{DIRECTORY, fill, number_of, open, options, read_all, read_numbers, record, try_open},
    simulated::SimulatedFiles,
};

const RECORDS: usize = 60;
const PAYLOAD_BYTES: usize = 120;
const SEGMENT_HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 56 + 8 + PAYLOAD_BYTES;

/// A queue of several segments that waits to be read, closed or as a killed process leaves it.
async fn filled(close: bool) -> SimulatedFiles {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..RECORDS, PAYLOAD_BYTES).await;
    if close {
        queue.close().await.unwrap();
    }
    let copy = files.copy();
    assert!(copy.paths(".segment").len() >= 3);
    copy
}

/// What a start with these files delivers, and how many records it says are damaged. Everything delivered is genuine, in order, once.
async fn outcome(files: &SimulatedFiles) -> (Vec<usize>, u64) {
    let queue = open(files);
    let deliveries = read_all(&queue).await;
    let numbers: Vec<usize> = deliveries.iter().map(|delivery| number_of(&delivery.record)).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let told = queue.status().await.unwrap().damaged_records;
    let positions: Vec<_> = deliveries.iter().map(|delivery| delivery.position).collect();
    queue.acknowledge(&positions).await.unwrap();
    queue.append(record(RECORDS, PAYLOAD_BYTES).into()).await.unwrap();
    assert_eq!(read_numbers(&queue).await, [RECORDS], "goes on after damage");
    drop(queue);
    assert_eq!(
        open(&files.copy()).status().await.unwrap().damaged_records,
        told,
        "told once, and not forgotten"
    );
    (numbers, told)
}

fn missing(numbers: &[usize]) -> u64 {
    (RECORDS - numbers.len()) as u64
}

fn change(files: &SimulatedFiles, path: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut content = files.content(path);
    with(&mut content);
    files.set_content(path, content);
}

#[tokio::test]
async fn a_flipped_byte_costs_one_record_at_most_and_is_told() {
    for close in [true, false] {
        let whole = filled(close).await;
        let mut lost_any = 0;
        for path in whole.paths(".segment") {
            let content = whole.content(&path);
            let written = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            for offset in (0..written).step_by(17) {
                let files = whole.copy();
                change(&files, &path, |content| content[offset] ^= 1 << (offset % 8));
                let damaged = files.content(&path);
                let (numbers, told) = outcome(&files).await;
                let lost = u64::from(offset >= SEGMENT_HEADER_BYTES);
                assert_eq!(
                    (missing(&numbers), told),
                    (lost, lost),
                    "offset {offset} of {}",
                    path.display()
                );
                let aside = files.paths("/damaged/");
                assert_eq!(aside.len(), 2, "bytes and note: {aside:?}");
                if lost == 1 {
                    let kept = files.content(&aside[0]);
                    assert_eq!(kept.len(), RECORD_BYTES);
                    assert!(damaged.windows(RECORD_BYTES).any(|window| window == kept));
                }
                lost_any += lost;
            }
        }
        assert!(lost_any > 100);
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_nothing_but_repetition() {
    let whole = filled(true).await;
    let id = open(&whole.copy()).id();
    let path = &whole.paths("checkpoint")[0];
    for offset in [0, 9, 20, 40, 50, 60, 4096, 4100, 4130, 4150] {
        let files = whole.copy();
        change(&files, path, |content| content[offset] ^= 0x10);
        let (numbers, told) = outcome(&files).await;
        assert_eq!((missing(&numbers), told), (0, 0), "offset {offset}");
    }
    let files = whole.copy();
    change(&files, path, |content| content.fill(0xA5));
    assert_eq!(open(&files).id(), id, "segments know the id too");
}

#[tokio::test]
async fn a_segment_cut_short_is_told_to_the_record() {
    for close in [true, false] {
        let whole = filled(close).await;
        let paths = whole.paths(".segment");
        for (index, path) in paths.iter().enumerate() {
            let newest = index + 1 == paths.len();
            let content = whole.content(path);
            let written = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            for length in (0..written).step_by(61) {
                let files = whole.copy();
                change(&files, path, |content| content.truncate(length));
                let (numbers, told) = outcome(&files).await;
                assert!(missing(&numbers) > 0);
                if close || !newest {
                    assert_eq!(told, missing(&numbers), "length {length} of {}", path.display());
                } else if length >= SEGMENT_HEADER_BYTES {
                    // Killed within the second before the checkpoint: how many is unknown, that it happened is not.
                    assert!(told >= 1, "length {length} of {}", path.display());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_piece_that_is_there_twice_is_delivered_once() {
    let whole = filled(true).await;
    for path in whole.paths(".segment") {
        for (start, length) in [(64, RECORD_BYTES), (64, 3 * RECORD_BYTES), (300, 700), (1000, 56)] {
            let files = whole.copy();
            change(&files, &path, |content| {
                let piece = content[start..start + length].to_vec();
                let at = start + length;
                content.splice(at..at, piece);
            });
            let (numbers, told) = outcome(&files).await;
            // A piece that begins inside a record tears at most that record and the next one.
            let torn = if start == SEGMENT_HEADER_BYTES { 0 } else { 2 };
            assert!(missing(&numbers) <= torn, "{start} {length}: {numbers:?}");
            assert_eq!(told, missing(&numbers));
        }
    }
}

#[tokio::test]
async fn a_block_of_zeros_costs_the_records_in_it() {
    let whole = filled(true).await;
    let path = &whole.paths(".segment")[1];
    let files = whole.copy();
    // From inside the second record to inside the fifth.
    let from = SEGMENT_HEADER_BYTES + RECORD_BYTES + 100;
    change(&files, path, |content| content[from..from + 3 * RECORD_BYTES].fill(0));
    let (numbers, told) = outcome(&files).await;
    assert_eq!((missing(&numbers), told), (4, 4));
}

#[tokio::test]
async fn a_record_written_to_the_wrong_place_costs_the_one_that_was_there() {
    let files = filled(true).await;
    let path = &files.paths(".segment")[1];
    change(&files, path, |content| {
        let sixth = SEGMENT_HEADER_BYTES + 5 * RECORD_BYTES;
        content.copy_within(sixth..sixth + RECORD_BYTES, SEGMENT_HEADER_BYTES + RECORD_BYTES);
    });
    let (numbers, told) = outcome(&files).await;
    assert_eq!((missing(&numbers), told), (1, 1));
}

#[tokio::test]
async fn a_damaged_last_record_is_not_taken_for_a_torn_one() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    // Ends in zeros, as a torn write does, but in the middle of a sector.
    queue.append(record(3, 20).into()).await.unwrap();
    let killed = files.copy();
    change(&killed, &killed.paths(".segment")[0].clone(), |content| {
        content[SEGMENT_HEADER_BYTES + 56] ^= 1;
    });
    let queue = open(&killed);
    assert!(read_all(&queue).await.is_empty());
    assert_eq!(queue.status().await.unwrap().damaged_records, 1);
}

#[tokio::test]
async fn a_missing_segment_is_told_unless_it_was_acknowledged() {
    let whole = filled(true).await;
    let paths = whole.paths(".segment");
    for (index, path) in paths.iter().enumerate() {
        let files = whole.copy();
        files.lose(path);
        let (numbers, told) = outcome(&files).await;
        assert!(missing(&numbers) > 0);
        assert_eq!(told, missing(&numbers), "segment {index}");
    }
    let files = whole.copy();
    paths.iter().for_each(|path| files.lose(path));
    assert_eq!(outcome(&files).await, (Vec::new(), RECORDS as u64));

    let queue = open(&whole);
    let deliveries = read_all(&queue).await;
    let positions: Vec<_> = deliveries.iter().map(|delivery| delivery.position).collect();
    queue.acknowledge(&positions[..RECORDS - 1]).await.unwrap();
    drop(queue);
    let queue = open(&whole);
    assert_eq!(whole.paths(".segment").len(), 1, "acknowledged segments are gone");
    assert_eq!(read_numbers(&queue).await, [RECORDS - 1]);
    assert_eq!(queue.status().await.unwrap().damaged_records, 0);
}

#[tokio::test]
async fn positions_that_damage_hides_are_not_given_again() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..RECORDS, PAYLOAD_BYTES).await;
    let last = read_all(&queue).await.last().unwrap().position;
    let killed = files.copy();
    drop(queue);
    // Nothing is left that tells how far it went, but the name of a file.
    change(&killed, &killed.paths("checkpoint")[0].clone(), |content| {
        content.fill(0xA5)
    });
    change(&killed, killed.paths(".segment").last().unwrap(), Vec::clear);
    let queue = open(&killed);
    fill(&queue, RECORDS..RECORDS + 1, PAYLOAD_BYTES).await;
    let delivery = read_all(&queue).await.pop().unwrap();
    assert_eq!(number_of(&delivery.record), RECORDS);
    assert!(delivery.position > last, "{:?} after {last:?}", delivery.position);
}

#[tokio::test]
async fn what_is_damaged_while_the_queue_runs_is_told_too() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..RECORDS, PAYLOAD_BYTES).await;
    let path = &files.paths(".segment")[2];
    // A payload, whose project is known, and a header, whose project is not.
    change(&files, path, |content| {
        content[SEGMENT_HEADER_BYTES + 70] ^= 1;
        content[SEGMENT_HEADER_BYTES + 3 * RECORD_BYTES + 5] ^= 1;
    });
    let deliveries = read_all(&queue).await;
    assert_eq!(deliveries.len(), RECORDS - 2);
    let positions: Vec<_> = deliveries.iter().map(|delivery| delivery.position).collect();
    queue.acknowledge(&positions).await.unwrap();
    // The segments go with their damage.
    fill(&queue, RECORDS..RECORDS + 40, PAYLOAD_BYTES).await;
    let deliveries = read_all(&queue).await;
    let positions: Vec<_> = deliveries.iter().map(|delivery| delivery.position).collect();
    queue.acknowledge(&positions).await.unwrap();
    drop(queue);
    let status = open(&files).status().await.unwrap();
    assert_eq!((status.waiting, status.damaged_records), (0, 2));
}

#[tokio::test]
async fn bytes_of_a_client_never_pass_for_a_record() {
    // Bytes that are a record of another queue, at the position that is wanted.
    let other = SimulatedFiles::default();
    let queue = open(&other);
    fill(&queue, 50..53, PAYLOAD_BYTES).await;
    let segment = other.content(&other.paths(".segment")[0]);
    let forged = segment[SEGMENT_HEADER_BYTES + RECORD_BYTES..SEGMENT_HEADER_BYTES + 2 * RECORD_BYTES].to_vec();

    let files = SimulatedFiles::default();
    let queue = open(&files);
    let carrier = Record {
        project_id: project(1),
        received_at: instant("2026-01-15T12:00:00Z"),
        events: 1,
        payload: forged.into(),
    };
    queue.append(carrier.into()).await.unwrap();
    fill(&queue, 1..3, PAYLOAD_BYTES).await;
    drop(queue);
    change(&files, &files.paths(".segment")[0].clone(), |content| {
        content[SEGMENT_HEADER_BYTES + 10] ^= 1
    });
    let queue = open(&files);
    assert_eq!(
        read_numbers(&queue).await,
        [1, 2],
        "the carrier is lost, what it carried is not taken for a record"
    );
    assert_eq!(queue.status().await.unwrap().damaged_records, 1);
}

#[tokio::test]
async fn a_damaged_dead_letter_does_not_hide_the_others() {
    let files = SimulatedFiles::default();
    let queue = open(&files);
    fill(&queue, 0..3, PAYLOAD_BYTES).await;
    for delivery in read_all(&queue).await {
        queue.dead_letter(&delivery, "because").await.unwrap();
    }
    change(&files, &files.paths("/dead/")[1].clone(), |content| content[30] ^= 1);
    let letters = queue.dead_letters(Position(0), 2).await.unwrap();
    assert_eq!(
        letters
            .iter()
            .map(|letter| number_of(&letter.record))
            .collect::<Vec<_>>(),
        [0, 2]
    );
    assert_eq!(letters[0].dead_at, instant("2026-02-01T00:00:00Z"));
}

#[tokio::test]
async fn what_is_not_ours_is_refused_with_its_name() {
    let (files, other) = (filled(true).await, filled(true).await);
    let stranger = &other.paths(".segment")[0];
    let own = &files.paths(".segment")[0];
    let refused = files.copy();
    refused.set_content(own, other.content(stranger));
    assert!(matches!(try_open(&refused, options()), Err(OpenError::Foreign(path)) if path == *own));

    let newer = files.copy();
    change(&newer, own, |content| {
        content[12] = 2;
        let checksum = crc32fast::hash(&content[12..SEGMENT_HEADER_BYTES]);
        content[8..12].copy_from_slice(&checksum.to_le_bytes());
    });
    assert!(matches!(
        try_open(&newer, options()),
        Err(OpenError::Version { found: 2, .. })
    ));

    let _first = open(&files);
    let second = try_open(&files, options());
    assert!(matches!(second, Err(OpenError::Locked(path)) if path == Path::new(DIRECTORY)));
}

#[derive(Clone, Debug)]
enum Harm {
    Flip(u16, u8),
    Zero(u16, u16),
    Cut(u16),
    Insert(u16, Vec<u8>),
    Remove(u16, u16),
    Lose,
}

fn harm() -> impl Strategy<Value = (u8, Harm)> {
    let harm = prop_oneof![
        (any::<u16>(), 1..=255u8).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        (any::<u16>(), 1..2000u16).prop_map(|(at, length)| Harm::Zero(at, length)),
        any::<u16>().prop_map(Harm::Cut),
        (any::<u16>(), proptest::collection::vec(any::<u8>(), 1..300)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        (any::<u16>(), 1..500u16).prop_map(|(at, length)| Harm::Remove(at, length)),
        Just(Harm::Lose),
    ];
    (any::<u8>(), harm)
}

fn apply(files: &SimulatedFiles, file: u8, harm: Harm) {
    let mut paths = files.paths(".segment");
    paths.extend(files.paths("checkpoint"));
    let path = paths[usize::from(file) % paths.len()].clone();
    if matches!(harm, Harm::Lose) {
        return files.lose(&path);
    }
    change(files, &path, |content| {
        let within = |at: u16| usize::from(at) % content.len().max(1);
        match harm {
            _ if content.is_empty() => {}
            Harm::Flip(at, bits) => {
                let at = within(at);
                content[at] ^= bits;
            }
            Harm::Zero(at, length) => {
                let at = within(at);
                let end = (at + usize::from(length)).min(content.len());
                content[at..end].fill(0);
            }
            Harm::Cut(at) => content.truncate(within(at)),
            Harm::Insert(at, bytes) => {
                let at = within(at);
                content.splice(at..at, bytes);
            }
            Harm::Remove(at, length) => {
                let at = within(at);
                let end = (at + usize::from(length)).min(content.len());
                content.drain(at..end);
            }
            Harm::Lose => {}
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes: no panic, nothing false, nothing twice, and no loss without a word as long as the checkpoint
    /// tells where the end was.
    #[test]
    fn any_damage_is_survived(harms in proptest::collection::vec(harm(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let files = filled(true).await;
            let checkpoint = files.content(&files.paths("checkpoint")[0]);
            for (file, harm) in harms {
                apply(&files, file, harm);
            }
            let end_is_known = files.paths("checkpoint").first().is_some_and(|path| files.content(path) == checkpoint);
            let (numbers, told) = outcome(&files).await;
            if end_is_known && missing(&numbers) > 0 {
                assert!(told > 0, "{} lost and not a word", missing(&numbers));
            }
        });
    }
}
