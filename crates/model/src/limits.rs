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
/// Bodies held in memory at once over all requests, as sent and while they are decoded; beyond it requests get 503. Twelve of the largest
/// batches.
pub const BODY_BYTES_IN_FLIGHT_MAX: usize = 240 * 1024 * 1024;
/// What is still read of a refused request, so that its sender sees the answer: three of the largest batches.
pub const BODY_DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time for that.
pub const BODY_DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to send one body: a slower sender holds memory that others need.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time to send the request head: as above.
pub const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two requests of a connection, and for a reader to take the next piece of an answer: longer than the minute that load
/// balancers keep a connection, so that it is never we who close one just as it is used.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// Digits of a number in `properties`: the largest 64-bit float written out has 309.
pub const JSON_NUMBER_BYTES_MAX: usize = 400;
/// Smallest power of ten of a number in `properties`: below it a 64-bit float is 0 and PostgreSQL's `jsonb` refuses (below -16,383).
pub const JSON_NUMBER_EXPONENT_MIN: i32 = -400;
/// Window of a zstd body, as a power of two: RFC 9659 allows HTTP 8 MiB.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Path, host name or campaign taken from a URL: PostgreSQL indexes no text over 2,704 bytes.
pub const DERIVED_KEY_BYTES_MAX: usize = 1024;
/// Texts of user agents whose parsed form is remembered: about 20,000 different ones.
pub const AGENT_CACHE_BYTES_MAX: u64 = 4 * 1024 * 1024;
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
/// Counters that rate limits keep at once (addresses and projects): about 200 bytes each.
pub const RATE_LIMIT_KEYS_MAX: u64 = 100_000;

/// Bytes that wait in the embedded queue before it answers 503: about 20 million small events.
pub const QUEUE_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
/// Free disk below which the embedded queue refuses: the store needs room to drain it.
pub const DISK_FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// A file of the embedded queue, reserved at once: disk comes back in such steps, and a damaged file costs no more than this.
pub const QUEUE_SEGMENT_BYTES: u64 = 32 * 1024 * 1024;
/// Unread records that the embedded queue keeps in memory, so that a worker that keeps up never reads the disk.
pub const QUEUE_MEMORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that the embedded queue reads from disk at once: about two batches of the store.
pub const QUEUE_READ_CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Appends that wait for the embedded queue's disk at once; further ones wait for their turn in order. Two of the largest batches.
pub const QUEUE_APPEND_BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;
/// One append as bytes on disk: a batch of the largest size, every event with all that the server adds to it.
pub const QUEUE_APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Damaged bytes that the embedded queue keeps aside; beyond it damage is counted and logged only.
pub const QUEUE_DAMAGED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How often the embedded queue writes down what was acknowledged: so much is delivered again after a crash, at most.
pub const QUEUE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that wait in Redis before it answers 503: they are its memory, about a million small events.
pub const REDIS_QUEUE_BYTES_MAX_DEFAULT: u64 = 512 * 1024 * 1024;
/// Bytes of the records that one call appends to Redis, unless a single append has more: Redis answers nobody else meanwhile.
pub const REDIS_GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Appends that wait for Redis at once, beside the bound in bytes: as many requests as a busy server has open.
pub const REDIS_APPENDS_WAITING_MAX: usize = 4_096;
/// Time in which Redis must connect and answer, longer by what large calls need: far more than a healthy one takes, and a request that waits
/// for it is then answered from the local disk.
pub const REDIS_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time in which one node of a cluster must connect and say where the keys are: then there is time for the one that it names.
pub const REDIS_NODE_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Time in which replicas of Redis must have an append, where they are waited for: far more than a healthy one takes, and less than a call may
/// take, so that it is known that Redis itself answers.
pub const REDIS_REPLICATION_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes a second that a call to Redis is given time for, at least: a slow network, and an append-only file that is flushed.
pub const REDIS_BYTES_PER_SECOND_MIN: usize = 4 * 1024 * 1024;
/// How often Redis is tried again while it is away.
pub const REDIS_RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long an idle worker waits for Redis to say that something came, before it asks again.
pub const REDIS_IDLE_WAIT: Duration = Duration::from_millis(500);
/// Records taken from Redis at once: with the largest events 64 MB.
pub const REDIS_FETCH_RECORDS: usize = 1_000;
/// Records acknowledged by one call: some 5 ms in which Redis answers nobody else.
pub const REDIS_ACKNOWLEDGE_RECORDS: usize = 1_000;
/// What a stream's entry costs beside its record, in bytes, as the bound on the queue counts it.
pub const REDIS_ENTRY_OVERHEAD_BYTES: u64 = 64;
/// Microseconds that positions skip when Redis was restarted: it may come back without the last ones, and with a clock that is behind.
pub const REDIS_RESTART_SKIP_MICROS: u64 = 60_000_000;
/// How often a worker says in Redis that it lives, and looks for dead ones.
pub const QUEUE_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Silence after which a worker is dead and others take what it held: longer than any pause of a process that lives.
pub const QUEUE_CONSUMER_DEAD_AFTER: Duration = Duration::from_secs(60);
/// Deliveries of a record that no worker survived or finished before a restart, until it becomes a dead letter: a store that is away while its
/// worker is restarted again and again must not cost events soon.
pub const QUEUE_DELIVERIES_MAX: u32 = 20;
/// Records that go from the local disk to Redis at once, after it was away: a call of a few milliseconds.
pub const QUEUE_FORWARD_RECORDS: usize = 1_000;
/// Time for an answer about a rate limit that several servers share; a later one lets pass.
pub const RATE_LIMIT_ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// Bytes of a dead letter's reason: a store's message, not its payload.
pub const DEAD_LETTER_REASON_BYTES_MAX: usize = 4 * 1024;
/// Dead letters of one list: the answer of the admin socket stays far below what its client takes (64 MiB), ordinary events assumed.
pub const DEAD_LETTERS_LISTED_MAX: usize = 1_000;
/// Dead letters that are appended anew together: the largest events fit [`QUEUE_APPEND_BYTES_MAX`].
pub const DEAD_LETTERS_RETRIED_AT_ONCE_MAX: usize = 50;
/// `Retry-After` of a 503: a full queue drains within seconds when the store is well.
pub const UNAVAILABLE_RETRY_AFTER_SECONDS: u64 = 5;
/// Tries of an event that the store refuses, before it becomes a dead letter.
pub const EVENT_TRIES_MAX: u32 = 3;

/// Events of one commit of the store: `design.md`, decision 2.
pub const STORE_BATCH_EVENTS_MAX: usize = 5_000;
/// Payload of one commit of the store, where events are large: full-sized ones would else be 320 MB, held several times over (records, events,
/// columns, DuckDB's log; and the batch behind it is read ahead). Ten times what a full batch of usual events has.
pub const STORE_BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest wait for a batch to fill: `design.md`, decision 2 (200 to 500 ms), low for "readable within a second".
pub const STORE_BATCH_WAIT: Duration = Duration::from_millis(200);

/// `page_size` when none is given: contract, "Reading".
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// Most rows a page holds: contract, "Reading".
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Rows before a page: no store holds more, and a store's own arithmetic stays far from its end.
pub const PAGE_OFFSET_ROWS_MAX: u64 = 1_000_000_000_000;
/// Sources named in one daily summary, the larger ones; the rest is one entry, "(other)". A leaked public key can make thousands.
pub const SUMMARY_SOURCES_MAX: u32 = 1_000;
/// Event names listed, the more frequent ones: clients choose names, and one with an id in it makes a new one each time.
pub const EVENT_NAMES_MAX: u32 = 10_000;
/// Steps of a funnel: `query-api.md`; more are no funnel that a person reads.
pub const FUNNEL_STEPS_MAX: usize = 20;
/// Exclusions of a funnel: one bit each.
pub const FUNNEL_EXCLUSIONS_MAX: usize = 32;
/// Bins of a histogram: more bars than a chart shows apart.
pub const HISTOGRAM_BINS_MAX: i64 = 60;
/// Items of a path that are looked at: more columns than a screen shows.
pub const PATH_STEPS_MAX: usize = 20;
/// Different edges of paths that are counted before the largest are chosen: about 100 bytes each.
pub const PATH_EDGES_MAX: usize = 1_000_000;
/// Events of one user or session that a funnel looks at together: 24 bytes each, 48 MB. People stay far below it; programs that send under
/// one id do not.
pub const SEQUENCE_ACTOR_EVENTS_MAX: usize = 2_000_000;
/// Times that medians are taken of, over all groups of one answer: 8 to 12 bytes each, twice that while they grow.
pub const SEQUENCE_TIMES_MAX: usize = 12_000_000;
/// Counts of one answer before the largest groups are chosen: 32 bytes each at most, 64 MB.
pub const SEQUENCE_CELLS_MAX: usize = 2_000_000;
/// Values of the key that sessions are counted by, some 150 bytes each: every page of a large site, each with some addresses of its own.
pub const SESSION_VALUES_MAX: usize = 500_000;
/// Visitors that are listed under a value or an interval (where bits take less room, they are not listed): 4 bytes each, twice that between
/// two looks for repeats.
pub const SESSION_VISITORS_MAX: usize = 12_000_000;
/// Range of one reading request: ten years of 5-minute buckets is a million rows.
pub const QUERY_RANGE_DAYS_MAX: i64 = 3_660;
/// Time of one reading query.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Reading queries at once; others wait. Two cores are busy with two.
pub const QUERY_CONCURRENCY_MAX: usize = 4;
/// The same of one project: whatever it asks, a place is left for the others.
pub const QUERY_CONCURRENCY_PER_PROJECT_MAX: usize = QUERY_CONCURRENCY_MAX - 1;
/// How long a query waits for its place before it is told to come again: a person waits no longer, and the answer says when to try.
pub const QUERY_PLACE_WAIT: Duration = Duration::from_secs(10);
/// Memory that DuckDB may use for queries and its buffers, rows that are not yet folded in among them: with it a server under full load
/// stays below 400 MB (`design.md`, "Memory"). Storing costs the same with 96 as with 160 or 256 MiB, which are used up too.
pub const STORE_MEMORY_BYTES_MAX_DEFAULT: u64 = 96 * 1024 * 1024;
/// Memory of the answer to one reading query: with DuckDB's own share it stays within `design.md`, "Memory" (512 MB).
pub const QUERY_ANSWER_BYTES_MAX: usize = 192 * 1024 * 1024;
/// Disk that spilling queries may take: far more than any reading query needs, far less than a disk.
pub const STORE_TEMP_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Calls that wait for the embedded store's one writer; further ones wait for a place.
pub const STORE_WRITES_WAITING_MAX: usize = 16;
/// DuckDB's log before a commit folds it into the file by itself: at the default of 16 MB commits stall 0.4 to 2 s (`design.md`, decision 2).
pub const STORE_LOG_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Time without appends after which the log is folded in: nobody waits then.
pub const STORE_CHECKPOINT_QUIET: Duration = Duration::from_secs(15);
/// Time after which the log is folded in anyway: a start after a crash replays a minute at most.
pub const STORE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes that deleted events must take before compaction is worth its writing.
pub const STORE_COMPACT_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Share of the file, in percent, that deleted events must take before compaction is worth its writing.
pub const STORE_COMPACT_PERCENT_MIN: u64 = 25;
/// Memory of compaction, where DuckDB may use less: it comes on top, for as long as compaction works. With 80 MiB a million events cannot be
/// sorted; the process itself hardly grows with 160.
pub const STORE_COMPACT_MEMORY_BYTES_MIN: u64 = 160 * 1024 * 1024;
/// Time of one compaction: appends wait for it, and the queue holds an hour of them.
pub const STORE_COMPACT_TIME_MAX: Duration = Duration::from_secs(3_600);
/// Memory of each part of the embedded store's index before it is written out (`design.md`, "Memory": idle below 60 MB).
pub const STORE_INDEX_MEMTABLE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Size of the index's files: merging one into the next holds a hash of 8 bytes for each of its ids in memory.
pub const STORE_INDEX_TABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Memory of the index's block cache.
pub const STORE_INDEX_CACHE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Users whose number is kept in memory: about 100 bytes each.
pub const STORE_USER_CACHE_ENTRIES_MAX: usize = 100_000;
/// Connections of one process for projects, sources and people: the poll of their version must not wait behind a writer.
pub const POSTGRES_META_CONNECTIONS_MAX: u32 = 3;
/// Connections of one process that write events: one appends, one deletes or gives space back, one is looked at by `check`.
pub const POSTGRES_WRITE_CONNECTIONS_MAX: u32 = 3;
/// Connections of one process that read events: every reader has one, the look at the state another. With the others 11 a process, of the
/// 100 that PostgreSQL allows as it comes.
pub const POSTGRES_READ_CONNECTIONS_MAX: u32 = QUERY_CONCURRENCY_MAX as u32 + 1;
/// Wait for a connection to PostgreSQL: a database that is away must be told to readers before they give up themselves.
pub const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Wait for a lock of PostgreSQL that another process holds, then for a statement that writes one batch: longer than the slowest healthy one;
/// whoever runs into it tries again.
pub const POSTGRES_LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Time of one statement of a write.
pub const POSTGRES_WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// Wait for a moment without readers, in which a month is exchanged or emptied: new readers wait behind it for so long.
pub const POSTGRES_EXCHANGE_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait for another process that brings the schema up to date.
pub const POSTGRES_MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// How often the replica is asked how far it is.
pub const POSTGRES_REPLICA_INTERVAL: Duration = Duration::from_millis(500);
/// Time for its answer: a healthy one takes milliseconds, and until then reads still go to it.
pub const POSTGRES_REPLICA_TIMEOUT: Duration = Duration::from_secs(1);
/// How far the replica may be behind while reads go to it: with the batch's wait, the interval and the time above, what was accepted is
/// readable within four seconds (contract, "Reading": seconds).
pub const POSTGRES_REPLICA_LAG_MAX: Duration = Duration::from_secs(2);
/// How near it must have come before reads return to it: not at once behind again.
pub const POSTGRES_REPLICA_LAG_RETURN: Duration = Duration::from_secs(1);
/// Positions of the primary that wait to be seen on the replica, before every second one is forgotten: an outage of days takes no memory.
pub const POSTGRES_REPLICA_MARKS_MAX: usize = 512;
/// Months that get their partition before their first event: a clock that is days ahead waits for none.
pub const POSTGRES_MONTHS_AHEAD: i32 = 2;
/// Rows deleted in one transaction: other writers wait for a fraction of a second at most.
pub const POSTGRES_DELETE_ROWS: i64 = 20_000;
/// How long the right to be the one scheduler lasts unless it is renewed: another takes over so soon after the holder died or hung. Two
/// renewals may fail before it is lost.
pub const SCHEDULER_LEASE: Duration = Duration::from_secs(6);
/// How often that right is renewed or tried for; also the time in which the store must answer.
pub const SCHEDULER_LEASE_RENEWAL: Duration = Duration::from_secs(2);
/// `RETENTION_INTERVAL_SECONDS`: retention counts in days, so an hour late is soon enough.
pub const RETENTION_INTERVAL_DEFAULT: Duration = Duration::from_secs(3_600);
/// Time that freed memory is kept for the next allocation: a second, the allocator's default, keeps 30 to 40 MB more under full load;
/// no time at all costs a tenth of the processor.
pub const FREED_MEMORY_DELAY: Duration = Duration::from_millis(100);

/// Shortest password: NIST SP 800-63B asks for at least 8; two more cost a person little and a guesser a factor of thousands.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password: hashing must not become a way to keep the server busy.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Lines of one import request: a batch that the queue makes durable in a few milliseconds, so that progress is smooth.
pub const IMPORT_LINES_PER_REQUEST: usize = 2_000;
/// One line of an imported file: as an event of a request, [`EVENT_BODY_BYTES_MAX`].
pub const IMPORT_LINE_BYTES_MAX: usize = EVENT_BODY_BYTES_MAX;
/// Events of one page of an export: a few megabytes.
pub const EXPORT_PAGE_EVENTS: usize = 10_000;

/// Events of one page that is read to be moved to another store: a few megabytes, read while the one before is stored.
pub const TRANSFER_PAGE_EVENTS: usize = 10_000;
/// Time that is first looked at for such a page; more or less afterwards, as there are events.
pub const TRANSFER_WINDOW_MICROS_DEFAULT: i64 = 86_400_000_000;
/// The least such time: an import may give a million events one second.
pub const TRANSFER_WINDOW_MICROS_MIN: i64 = 1_000_000;
/// Days that the report of a move shows as text; all of them are in its JSON.
pub const TRANSFER_DAYS_SHOWN_MAX: usize = 60;
