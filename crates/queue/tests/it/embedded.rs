//! The suite, run by the embedded queue.

use std::sync::Arc;

use async_trait::async_trait;
use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue};
use testkit::{
    build::instant,
    clock::FixedClock,
    queue_suite,
    suites::queue::{Harness, SMALL_BYTES},
};

/// A queue in a directory of its own.
pub struct Embedded(tempfile::TempDir);

impl Embedded {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    fn open_with(&self, options: EmbeddedOptions) -> Arc<dyn EventQueue> {
        let clock = Arc::new(FixedClock::at(instant("2026-02-01T00:00:00Z")));
        Arc::new(EmbeddedQueue::open(self.0.path(), options, clock).expect("open"))
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn open(&self) -> Arc<dyn EventQueue> {
        // Small, so that every test goes through several segments and memory.
        self.open_with(EmbeddedOptions {
            segment_bytes: 4 * 1024,
            memory_bytes_max: 2 * 1024,
            read_chunk_bytes: 1024,
            ..EmbeddedOptions::default()
        })
    }

    async fn open_small(&self) -> Arc<dyn EventQueue> {
        self.open_with(EmbeddedOptions {
            bytes_max: SMALL_BYTES,
            segment_bytes: 16 * 1024,
            ..EmbeddedOptions::default()
        })
    }
}

queue_suite!(Embedded::new());
