//! Appends per second with 64 callers that append one record at a time, and how long each waits; then how fast all is read and acknowledged.
//!
//! `append_rate embedded DIRECTORY` or `append_rate redis://HOST:PORT/` (feature `redis`; what the queue holds is removed).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::{Clock, ProjectId, SystemClock, Timestamp};
use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue, Record, Records};
use uuid::Uuid;

const CALLERS: usize = 64;
const TIME: Duration = Duration::from_secs(3);
const READ_AT_ONCE: usize = 5_000;

/// About as long as an ordinary event.
fn record(clock: &dyn Clock) -> Records {
    let received_at: Timestamp = clock.now();
    let record = Record {
        project_id: ProjectId(Uuid::from_u128(7)),
        received_at,
        events: 1,
        payload: (0..400u32)
            .map(|byte| byte.to_le_bytes()[0])
            .collect::<Vec<u8>>()
            .into(),
    };
    Records::from(record)
}

async fn open(place: &str, directory: Option<String>) -> Arc<dyn EventQueue> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if place == "embedded" {
        let directory = directory.unwrap_or_else(|| "queue-to-measure".to_owned());
        let queue = EmbeddedQueue::open(directory.as_ref(), EmbeddedOptions::default(), clock);
        return Arc::new(queue.unwrap_or_else(|error| panic!("{error}")));
    }
    #[cfg(feature = "redis")]
    {
        let options = queue::RedisOptions {
            bytes_max: 4 << 30,
            ..queue::RedisOptions::new("measure")
        };
        let address = queue::RedisAddress::parse(place, None).unwrap_or_else(|error| panic!("{error}"));
        Arc::new(queue::RedisQueue::open(&address, options, clock).await)
    }
    #[cfg(not(feature = "redis"))]
    panic!("built without the feature `redis`: {place}")
}

#[tokio::main]
async fn main() -> Result<(), queue::QueueError> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| "embedded".to_owned());
    let queue = open(&place, arguments.next()).await;
    let started = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while started.elapsed() < TIME {
                    let began = Instant::now();
                    queue.append(record(&SystemClock)).await?;
                    waits.push(began.elapsed());
                }
                Ok::<_, queue::QueueError>(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.unwrap_or(Err(queue::QueueError::Closed))?);
    }
    let rate = waits.len() as f64 / started.elapsed().as_secs_f64();
    waits.sort();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_micros();
    println!("{place}: {rate:.0} appends/s, p50 {} µs, p99 {} µs", at(50), at(99));

    let started = Instant::now();
    let mut read = 0;
    loop {
        let deliveries = queue.read(READ_AT_ONCE, Duration::ZERO).await?;
        if deliveries.is_empty() {
            break;
        }
        read += deliveries.len();
        let positions: Vec<_> = deliveries.iter().map(|delivery| delivery.position).collect();
        queue.acknowledge(&positions).await?;
    }
    let rate = read as f64 / started.elapsed().as_secs_f64();
    println!("{place}: {read} read and acknowledged, {rate:.0}/s");
    queue.close().await
}
