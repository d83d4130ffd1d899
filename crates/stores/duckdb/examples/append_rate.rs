//! Measures appending, the disk that events take, and compaction; ours and the bare appender by turns in the same run.
//!
//! `cargo run --release -p store-duckdb --example append_rate -- [events] [window|redelivery] [rounds]`
//! `perf record` on it with `once` instead of the rounds: ours alone, nothing after it.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use model::{Deduplication, DerivedKeys, EnrichedEvent, EventId, ProjectId, SystemClock, Timestamp};
use store::{AppendBatch, AppendItem, Checkpoint, EventStore};
use store_duckdb::{DuckdbOptions, DuckdbStore, ceiling::BareAppender};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 5_000;
const PROJECTS: u64 = 3;
const USERS: u64 = 30_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let deduplication = match arguments.next().as_deref() {
        None | Some("window") => Deduplication::Window,
        Some("redelivery") => Deduplication::Redelivery,
        Some(other) => panic!("{other:?} is neither window nor redelivery"),
    };
    let rounds = arguments.next();
    let once = rounds.as_deref() == Some("once");
    let rounds: usize = rounds.filter(|_| !once).map_or(3, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "{events} events, batches of {BATCH}, {deduplication:?}, resident {} MB at start",
        resident_mb()
    );
    if once {
        println!("{:.0} rows/s", runtime.block_on(ours(events, deduplication, false)));
        return;
    }
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let bare = bare(events, deduplication);
        let ours = runtime.block_on(ours(events, deduplication, round + 1 == rounds));
        ratios.push(ours / bare);
        println!(
            "round {round}: bare {bare:.0} rows/s, ours {ours:.0} rows/s, ratio {:.3}",
            ours / bare
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[rounds / 2]);
}

/// Rows per second through the bare appender.
fn bare(events: u64, deduplication: Deduplication) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let appender = BareAppender::open(directory.path(), &DuckdbOptions::default()).unwrap();
    let mut times = Times::default();
    for first in (0..events).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..first + BATCH)
            .map(|number| event(number, deduplication))
            .collect();
        times.measure(|| appender.append(&batch).unwrap());
    }
    let rate = times.report("bare", events);
    appender.checkpoint().unwrap();
    println!(
        "  bare: {:.1} bytes an event",
        bytes(directory.path()) as f64 / events as f64
    );
    rate
}

/// Rows per second through the store; in the last round also what deleting and compaction take.
async fn ours(events: u64, deduplication: Deduplication, last: bool) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let open = || DuckdbStore::open(directory.path(), DuckdbOptions::default(), Arc::new(SystemClock)).unwrap();
    let store = open();
    println!("  ours: resident {} MB when opened", resident_mb());
    let mut times = Times::default();
    for first in (0..events).step_by(BATCH as usize) {
        let items = (first..first + BATCH).map(|number| AppendItem {
            position: number + 1,
            event: event(number, deduplication),
        });
        let batch = AppendBatch {
            items: Arc::new(items.collect()),
            counts: Vec::new(),
            checkpoint: Some(Checkpoint {
                queue: Uuid::from_u128(7),
                position: first + BATCH,
            }),
        };
        let (started, cpu) = (Instant::now(), cpu());
        store.append(batch).await.unwrap();
        times.add(started, cpu);
    }
    let rate = times.report("ours", events);
    println!("  ours: resident {} MB after appending", resident_mb());
    store.close().await.unwrap();
    drop(store);
    let (all, index) = (bytes(directory.path()), bytes(&directory.path().join("index")));
    let per_event = |bytes: u64| bytes as f64 / events as f64;
    println!(
        "  ours: {:.1} bytes an event at rest, and {:.1} of the index",
        per_event(all - index),
        per_event(index)
    );
    if last {
        let started = Instant::now();
        let store = open();
        println!("  reopened in {:?}, resident {} MB", started.elapsed(), resident_mb());
        import(&store, events).await;
        compaction(&store, events).await;
        store.close().await.unwrap();
        drop(store);
        std::fs::remove_dir_all(directory.path().join("index")).unwrap();
        let started = Instant::now();
        let store = open();
        println!("  reopened with the index rebuilt in {:?}", started.elapsed());
        drop(store);
    }
    rate
}

/// What it takes to import 10,000 events that are there, and 10,000 that are not: each id is looked for among all events.
async fn import(store: &DuckdbStore, events: u64) {
    for (what, first) in [("again", events / 2), ("that are new", events)] {
        let imported = |number| EnrichedEvent {
            deduplication: Deduplication::History,
            ..event(number, Deduplication::Window)
        };
        let started = Instant::now();
        for first in [first, first + BATCH] {
            let items = (first..first + BATCH).map(|number| AppendItem {
                position: 0,
                event: imported(number),
            });
            let batch = AppendBatch {
                items: Arc::new(items.collect()),
                ..AppendBatch::default()
            };
            store.append(batch).await.unwrap();
        }
        println!("  imported {} {what} in {:?}", 2 * BATCH, started.elapsed());
    }
}

async fn compaction(store: &DuckdbStore, events: u64) {
    let started = Instant::now();
    let reclaimed = store.reclaim(true).await.unwrap();
    println!(
        "  compaction of everything: {:?}, {reclaimed:?}, resident {} MB",
        started.elapsed(),
        resident_mb()
    );
    let started = Instant::now();
    let before = event(events / 2, Deduplication::Redelivery).timestamp;
    let mut deleted = 0;
    for project in 0..PROJECTS {
        deleted += store.delete(project_id(project), Some(before), false).await.unwrap();
    }
    println!("  deleted {deleted} in {:?}", started.elapsed());
    let started = Instant::now();
    let reclaimed = store.reclaim(false).await.unwrap();
    println!("  compaction of the rest: {:?}, {reclaimed:?}", started.elapsed());
}

/// Times of the batches, and the processor's time for them: that says more on a machine that others use too.
#[derive(Default)]
struct Times(Vec<Duration>, Duration);

impl Times {
    fn measure(&mut self, work: impl FnOnce()) {
        let (started, cpu) = (Instant::now(), cpu());
        work();
        self.add(started, cpu);
    }

    fn add(&mut self, started: Instant, cpu_before: Duration) {
        self.0.push(started.elapsed());
        self.1 += cpu() - cpu_before;
    }

    /// Prints the times of the batches; returns the rate.
    fn report(mut self, what: &str, events: u64) -> f64 {
        let total: Duration = self.0.iter().sum();
        self.0.sort();
        let at = |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize];
        let cpu = self.1.as_secs_f64() * 1e6 / events as f64;
        println!(
            "  {what}: {cpu:.2} us of CPU an event; batch p50 {:?}, p99 {:?}, max {:?}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        events as f64 / total.as_secs_f64()
    }
}

fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xc4ce_b9fe_1a85_ec53) ^ (mixed >> 32)
}

fn project_id(number: u64) -> ProjectId {
    ProjectId(Uuid::from_u128(0x5000 + u128::from(number)))
}

/// One of a site's events, two seconds apart: 30,000 visitors, 300 pages, six properties, about 300 bytes as it comes over the wire.
fn event(number: u64, deduplication: Deduplication) -> EnrichedEvent {
    let noise = mix(number);
    let user = mix(noise) % USERS;
    let pick = |shift: u32, choices: &[&'static str]| choices[(noise >> shift) as usize % choices.len()];
    let page = noise % 300;
    let project_id = project_id(if user % 10 < 6 { 0 } else { 1 + user % 2 });
    let name = (deduplication == Deduplication::Window).then(|| format!("{number:08x}-{:016x}", mix(noise ^ 1)));
    let timestamp = Timestamp::from_micros(1_767_225_600_000_000 + number as i64 * 2_000_000).unwrap();
    let id = match &name {
        Some(name) => EventId::from_client(project_id, name),
        None => EventId::generate(timestamp),
    };
    let version = 100 + user % 40;
    let some = |text: &str| Some(text.to_owned());
    EnrichedEvent {
        id,
        project_id,
        client_event_id: name,
        event_name: pick(
            8,
            &[
                "page_view",
                "page_view",
                "click",
                "scroll",
                "sign_up",
                "purchase",
                "search",
            ],
        )
        .to_owned(),
        event_source: some("web"),
        user_id: format!("user_{:012x}", mix(user)),
        session_id: format!("{:016x}", mix(user ^ (number / 100_000) << 20)),
        properties: format!(
            r#"{{"url":"https://shop.example.com/products/{page}","title":"Product {page}","price":{}.99,"plan":"{}","quantity":{},"variant":"{}"}}"#,
            noise % 120,
            pick(16, &["free", "pro", "team"]),
            noise % 5,
            pick(20, &["a", "b"]),
        ),
        timestamp,
        received_at: timestamp.saturating_add_micros(350_000 + (noise % 1_000) as i64),
        ip_address: Some(format!("203.0.{}.{}", user >> 8 & 255, user & 255)),
        user_agent: Some(format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
        )),
        derived: DerivedKeys {
            path: Some(format!("/products/{page}")),
            hostname: some("shop.example.com"),
            referrer_host: (noise.is_multiple_of(3)).then(|| pick(24, &["www.google.com", "news.example"]).to_owned()),
            utm_source: (noise.is_multiple_of(4)).then(|| pick(28, &["newsletter", "ads"]).to_owned()),
            utm_medium: (noise.is_multiple_of(4)).then(|| "cpc".to_owned()),
            utm_campaign: (noise.is_multiple_of(8)).then(|| "spring".to_owned()),
            utm_term: None,
            utm_content: None,
            country: some(["DE", "US", "FR", "GB", "IN"][user as usize % 5]),
            browser: some("Chrome"),
            browser_version: Some(format!("{version}.0")),
            os: some("Windows"),
            device: some(if user.is_multiple_of(3) { "mobile" } else { "desktop" }),
        },
        deduplication,
    }
}

/// Bytes that the files under a path take on disk.
fn bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).unwrap();
    if metadata.is_file() {
        return metadata.blocks() * 512;
    }
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| bytes(&entry.unwrap().path()))
        .sum()
}

/// Time of the processor that all threads have taken, to a hundredth of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name, which is in brackets and may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(12) + ticks(13)))
}

/// Megabytes of the process in memory.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
