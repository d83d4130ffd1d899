//! A small queue on simulated files, with records that know their number.

use std::{path::Path, sync::Arc, time::Duration};

use queue::{Delivery, EmbeddedOptions, EmbeddedQueue, EventQueue, OpenError, Record};
use testkit::{
    build::{instant, project},
    clock::FixedClock,
};

use super::simulated::SimulatedFiles;

/// Where the queue is in the simulated files.
pub const DIRECTORY: &str = "/queue";

/// Small segments, memory and chunks, so that roll-over and loading happen.
pub fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: 4096,
        memory_bytes_max: 2048,
        read_chunk_bytes: 1024,
        ..EmbeddedOptions::default()
    }
}

/// Opens the queue.
pub fn try_open(files: &SimulatedFiles, options: EmbeddedOptions) -> Result<EmbeddedQueue, OpenError> {
    let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
    EmbeddedQueue::open_with(Arc::new(files.clone()), Path::new(DIRECTORY), options, clock)
}

/// The same, where it must work.
pub fn open(files: &SimulatedFiles) -> EmbeddedQueue {
    try_open(files, options()).unwrap()
}

/// A record that is told by its number and as long as wanted.
pub fn record(number: usize, payload_bytes: usize) -> Record {
    let mut payload = (number as u64).to_le_bytes().to_vec();
    // Zeros at the end, as real records have them.
    payload.resize(8 + payload_bytes, if number.is_multiple_of(3) { 0 } else { 7 });
    Record {
        project_id: project(number as u128 % 3),
        received_at: instant("2026-01-15T12:00:00Z"),
        events: 1,
        payload: payload.into(),
    }
}

/// The number of a [`record`], which must be as it was made.
pub fn number_of(record: &Record) -> usize {
    let number = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
    let number = usize::try_from(number).unwrap();
    assert_eq!(
        *record,
        self::record(number, record.payload.len() - 8),
        "comes as appended"
    );
    number
}

/// Appends records of these numbers, three at a time.
pub async fn fill(queue: &EmbeddedQueue, numbers: std::ops::Range<usize>, payload_bytes: usize) {
    let all: Vec<Record> = numbers.map(|number| record(number, payload_bytes)).collect();
    for append in all.chunks(3) {
        queue.append(append.into()).await.unwrap();
    }
}

/// Everything that is there now.
pub async fn read_all(queue: &EmbeddedQueue) -> Vec<Delivery> {
    let mut all = Vec::new();
    loop {
        let more = queue.read(1000, Duration::ZERO).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// The numbers of all records that are there now.
pub async fn read_numbers(queue: &EmbeddedQueue) -> Vec<usize> {
    read_all(queue)
        .await
        .iter()
        .map(|delivery| number_of(&delivery.record))
        .collect()
}
