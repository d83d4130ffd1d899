//! Measures retention: loads events of a year through the store, lets whole months go, then a part of one, and tells time and disk.
//!
//! `DATABASE_URL=postgres://… cargo run --release -p store-postgres --example retention -- [events] [months]`, on an empty database for nothing
//! else; some 0.5 GB of disk for each million events, and as much again of PostgreSQL's log.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::{sync::Arc, time::Instant};

use model::{EnrichedEvent, ProjectId, SystemClock, Timestamp, limits::STORE_BATCH_EVENTS_MAX};
use store::{AppendBatch, AppendItem, Checkpoint, EventStore, StoreStatus};
use store_postgres::PostgresEventStore;
use testkit::build::{enriched_event, instant, project};
use uuid::Uuid;

const PROJECTS: u64 = 3;
const USERS: u64 = 50_000;
const MONTH_SECONDS: i64 = 30 * 86_400;
/// Rows that lie before the last cut, in percent of a month.
const PART_PERCENT: i64 = 40;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (events, months) = (number(10_000_000), number(12));
    let url = std::env::var("DATABASE_URL").unwrap();
    let store = PostgresEventStore::open(&url, None, Arc::new(SystemClock))
        .await
        .unwrap();
    assert_eq!(status(&store).await.events, 0, "an empty database is filled");
    let begin = instant("2025-01-01T00:00:00Z");

    let started = Instant::now();
    load(&store, events, begin, i64::try_from(months).unwrap() * MONTH_SECONDS).await;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "loaded {events} events of {months} months in {seconds:.1} s, {:.0} events/s",
        events as f64 / seconds
    );
    tell("before", &status(&store).await);

    let projects: Vec<ProjectId> = (0..PROJECTS).map(|number| project(number.into())).collect();
    // Three quarters go: partitions that nobody keeps.
    let whole = instant("2025-10-01T00:00:00Z");
    expire(&store, "whole months", &projects, whole).await;
    // And a part of the next: row by row.
    let part = whole.saturating_add_seconds(MONTH_SECONDS * PART_PERCENT / 100);
    expire(&store, "a part of a month", &projects, part).await;
    store.close().await.unwrap();
}

async fn expire(store: &PostgresEventStore, what: &str, projects: &[ProjectId], before: Timestamp) {
    let expired: Vec<(ProjectId, Timestamp)> = projects.iter().map(|project| (*project, before)).collect();
    let started = Instant::now();
    let deleted: u64 = store.delete_expired(&expired).await.unwrap().iter().sum();
    let (deleting, started) = (started.elapsed(), Instant::now());
    store.reclaim(false).await.unwrap();
    println!(
        "{what}: {deleted} events deleted in {deleting:.2?}, space given back in {:.2?}",
        started.elapsed()
    );
    tell("after", &status(store).await);
}

async fn status(store: &PostgresEventStore) -> StoreStatus {
    store.status(instant("2026-01-01T00:00:00Z")).await.unwrap()
}

fn tell(when: &str, status: &StoreStatus) {
    println!(
        "  {when}: {} events, {:.0} MB on disk",
        status.events,
        status.bytes as f64 / 1e6
    );
}

/// Events in the order of time, as they come.
async fn load(store: &PostgresEventStore, events: u64, begin: Timestamp, seconds: i64) {
    let step_micros = seconds * 1_000_000 / i64::try_from(events).unwrap();
    let mut batch = make(0, events, begin, step_micros);
    while !batch.items.is_empty() {
        let behind = batch.items.last().unwrap().position;
        let next = make(behind, events, begin, step_micros);
        // Announced while the one before it is under way.
        let (stored, ()) = tokio::join!(store.append(batch), async { store.announce(&next) });
        stored.unwrap();
        batch = next;
    }
}

/// The batch of the events from this one on.
fn make(first: u64, events: u64, begin: Timestamp, step_micros: i64) -> AppendBatch {
    let last = events.min(first + STORE_BATCH_EVENTS_MAX as u64);
    let items = (first..last).map(|number| AppendItem {
        position: number + 1,
        event: event(
            number,
            begin.saturating_add_micros(step_micros * i64::try_from(number).unwrap()),
        ),
    });
    AppendBatch {
        items: Arc::new(items.collect()),
        counts: Vec::new(),
        checkpoint: Some(Checkpoint {
            queue: Uuid::from_u128(1),
            position: last,
        }),
    }
}

fn event(number: u64, timestamp: Timestamp) -> EnrichedEvent {
    // Any order of users and pages will do that repeats late.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let mut event = enriched_event(project((number % PROJECTS).into()), number.into());
    event.timestamp = timestamp;
    event.received_at = timestamp;
    event.user_id = format!("hash_{:016x}", spread % USERS);
    event.session_id = format!("session_{:016x}", spread % (20 * USERS));
    event.properties = format!(
        r#"{{"url":"https://shop.example/products/{}?ref=list","title":"Product {}","price":{}.5,"in_stock":true}}"#,
        spread % 5_000,
        spread % 5_000,
        spread % 300
    );
    event.derived.path = Some(format!("/products/{}", spread % 5_000));
    event.derived.hostname = Some("shop.example".to_owned());
    event.derived.country = Some("DE".to_owned());
    event.derived.os = Some("Linux".to_owned());
    event.derived.device = Some("desktop".to_owned());
    event
}
