//! What a store is told at open.

use std::{num::NonZero, time::Duration};

use model::limits;

/// Settings of a store; [`Default`] is right for a server.
#[derive(Clone, Debug)]
pub struct DuckdbOptions {
    /// Bytes that DuckDB may use for queries and buffers; what does not fit spills to the store's `temp` directory.
    pub memory_bytes_max: u64,
    /// Threads of one query.
    pub threads: usize,
    /// Time without appends after which the log is folded into the database file.
    pub checkpoint_quiet: Duration,
    /// Time after which it is folded in any case.
    pub checkpoint_interval: Duration,
    /// Time of one read.
    pub query_timeout: Duration,
}

impl Default for DuckdbOptions {
    fn default() -> Self {
        Self {
            memory_bytes_max: limits::STORE_MEMORY_BYTES_MAX_DEFAULT,
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
            checkpoint_quiet: limits::STORE_CHECKPOINT_QUIET,
            checkpoint_interval: limits::STORE_CHECKPOINT_INTERVAL,
            query_timeout: limits::QUERY_TIMEOUT,
        }
    }
}
