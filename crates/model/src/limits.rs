//! Every limit of the platform, with its unit and its reason. Nothing else in the code base invents one.

use std::time::Duration;

/// Characters of `event_name`, `event_source`, `user_id`, `session_id`, `event_id`: contract, "Ingestion".
pub const NAME_CHARS_MAX: usize = 255;
/// `properties` as serialized JSON: contract, "Ingestion".
pub const PROPERTIES_BYTES_MAX: usize = 64 * 1024;
/// Nesting of a JSON body: deeper input can only be an attack on the parser's stack (serde_json's own limit is 128).
pub const JSON_DEPTH_MAX: usize = 100;
/// A single event's body after decoding: contract, "Sizes".
pub const EVENT_BODY_BYTES_MAX: usize = 1024 * 1024;
/// A batch's body after decoding: contract, "Sizes".
pub const BATCH_BODY_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Events of one batch: contract, "Ingestion".
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Bodies held in memory at once over all requests; beyond it requests get 503. Twelve of the largest batches.
pub const BODY_BYTES_IN_FLIGHT_MAX: usize = 240 * 1024 * 1024;
/// Time to send one body: a slower sender holds memory that others need.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time to send the request head: as above.
pub const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// `User-Agent` kept of a request: the longest real ones are under 1 KiB.
pub const USER_AGENT_BYTES_MAX: usize = 1024;
/// How far ahead of the server an event's time may be before it is replaced: `semantics.md`, "Time".
pub const FUTURE_TOLERANCE_HOURS: i64 = 24;
/// Days that a client's `event_id` is remembered at least: contract, "Ingestion".
pub const IDEMPOTENCY_WINDOW_DAYS: i64 = 7;
/// A session without an id of its own: contract, "Filled in by the worker".
pub const SESSION_WINDOW_MINUTES: i64 = 60;
/// Sources made on first sight per project: a leaked public key must not fill the metadata store. Beyond it events are stored, the source is not listed.
pub const SOURCES_PER_PROJECT_MAX: usize = 10_000;

/// `rate_limit_per_minute` of a new project: contract, "Limits".
pub const PROJECT_EVENTS_PER_MINUTE_DEFAULT: u32 = 1_000;
/// `IP_RATE_LIMIT_PER_MINUTE`: contract, command line.
pub const ADDRESS_REQUESTS_PER_MINUTE_DEFAULT: u32 = 1_000;
/// `retention_days` of a new project: a year and a month, so that a year can be compared with the one before it.
pub const RETENTION_DAYS_DEFAULT: u32 = 395;
/// Counters that rate limits keep at once (addresses and projects): about 200 bytes each.
pub const RATE_LIMIT_KEYS_MAX: u64 = 100_000;

/// Bytes that wait in the embedded queue before it answers 503: about 20 million small events.
pub const QUEUE_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
/// Free disk below which the embedded queue refuses: the store needs room to drain it.
pub const DISK_FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// `Retry-After` of a 503: a full queue drains within seconds when the store is well.
pub const UNAVAILABLE_RETRY_AFTER_SECONDS: u64 = 5;
/// Tries of an event that the store refuses, before it becomes a dead letter.
pub const EVENT_TRIES_MAX: u32 = 3;

/// Events of one commit of the store: `design.md`, decision 2.
pub const STORE_BATCH_EVENTS_MAX: usize = 5_000;
/// Longest wait for a batch to fill: `design.md`, decision 2 (200 to 500 ms), low for "readable within a second".
pub const STORE_BATCH_WAIT: Duration = Duration::from_millis(200);

/// `page_size` when none is given: contract, "Reading".
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// Most rows a page holds: contract, "Reading".
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Range of one reading request: ten years of 5-minute buckets is a million rows.
pub const QUERY_RANGE_DAYS_MAX: i64 = 3_660;
/// Time of one reading query.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Reading queries at once; others wait. Two cores are busy with two.
pub const QUERY_CONCURRENCY_MAX: usize = 4;
/// Memory that DuckDB may use for queries and its buffers: `design.md`, "Memory".
pub const STORE_MEMORY_BYTES_MAX_DEFAULT: u64 = 256 * 1024 * 1024;
