//! Time is paused: what waits for nothing takes none.

use axum::http::{HeaderValue, StatusCode, header};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::*;

const LIMIT: usize = limits::BATCH_BODY_BYTES_MAX;
/// The largest bodies that there is memory for at once.
const LARGEST: usize = limits::BODY_BYTES_IN_FLIGHT_MAX / LIMIT;

fn encoded() -> HeaderMap {
    [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]
        .into_iter()
        .collect()
}

/// A body that sends `bytes` in pieces, then nothing more without ending.
fn stalled(bytes: usize) -> Body {
    Body::from_stream(pieces(bytes).chain(futures::stream::pending()))
}

fn pieces(bytes: usize) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    const PIECE: usize = 64 * 1024;
    let sizes = (0..bytes.div_ceil(PIECE)).map(move |index| PIECE.min(bytes - index * PIECE));
    futures::stream::iter(sizes.map(|size| Ok(Bytes::from(vec![b' '; size]))))
}

async fn read(memory: &BodyMemory, headers: &HeaderMap, bytes: usize) -> Result<HeldBody, ApiError> {
    memory.read(headers, &mut Body::from_stream(pieces(bytes)), LIMIT).await
}

fn free(memory: &BodyMemory) -> usize {
    memory.units.available_permits() * UNIT_BYTES
}

/// Reads stalled bodies until they have sent what they send.
async fn stall(memory: &BodyMemory, headers: &HeaderMap, count: usize, bytes: usize) -> tokio::task::JoinSet<()> {
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (memory, headers) = (memory.clone(), headers.clone());
        reads.spawn(async move {
            let slow = memory.read(&headers, &mut stalled(bytes), LIMIT).await;
            assert_eq!(slow.map(drop).unwrap_err().status(), StatusCode::REQUEST_TIMEOUT);
        });
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    reads
}

#[tokio::test(start_paused = true)]
async fn who_sends_nothing_or_little_holds_nothing() {
    let memory = BodyMemory::default();
    let started = Instant::now();
    let mut silent = stall(&memory, &encoded(), 1_000, 0).await;
    let mut little = stall(&memory, &encoded(), 1_000, SMALL_BYTES).await;
    assert_eq!(free(&memory), limits::BODY_BYTES_IN_FLIGHT_MAX);
    let mut body = read(&memory, &encoded(), LIMIT).await.unwrap();
    body.prepare_decoding(&encoded(), LIMIT).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(10));
    assert_eq!(free(&memory), limits::BODY_BYTES_IN_FLIGHT_MAX - 2 * LIMIT);
    drop(body);
    assert_eq!(free(&memory), limits::BODY_BYTES_IN_FLIGHT_MAX);
    while let Some(ended) = silent.join_next().await {
        ended.unwrap();
    }
    while let Some(ended) = little.join_next().await {
        ended.unwrap();
    }
    assert_eq!(started.elapsed().as_secs(), limits::BODY_READ_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn memory_is_taken_as_bytes_arrive_and_given_back() {
    let memory = BodyMemory::default();
    let stalled = stall(&memory, &HeaderMap::new(), 3, 1_000_000).await;
    assert_eq!(
        free(&memory),
        limits::BODY_BYTES_IN_FLIGHT_MAX - 3 * 1_000_000_usize.next_multiple_of(STEP_BYTES)
    );
    drop(stalled);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(free(&memory), limits::BODY_BYTES_IN_FLIGHT_MAX);
    let too_large = read(&memory, &HeaderMap::new(), LIMIT + 1).await;
    assert_eq!(too_large.map(drop).unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(free(&memory), limits::BODY_BYTES_IN_FLIGHT_MAX);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_much_is_refused_in_time_and_in_nobodys_way() {
    let memory = BodyMemory::default();
    let mut decoding = Vec::new();
    for _ in 1..LARGEST {
        let mut body = read(&memory, &encoded(), 1_000).await.unwrap();
        body.prepare_decoding(&encoded(), LIMIT).await.unwrap();
        decoding.push(body);
    }
    // One more would fit, but for this.
    let _some = read(&memory, &HeaderMap::new(), 8 * STEP_BYTES).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let memory = memory.clone();
        waiting.push(tokio::spawn(async move {
            let mut body = read(&memory, &encoded(), 1_000).await.unwrap();
            let started = Instant::now();
            let prepared = body.prepare_decoding(&encoded(), LIMIT).await;
            (prepared.map_err(|error| error.code()), started.elapsed())
        }));
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let started = Instant::now();
    drop(read(&memory, &HeaderMap::new(), 2 * STEP_BYTES).await.unwrap());
    assert!(started.elapsed() < Duration::from_millis(1), "nobody is in its way");
    drop(decoding.pop());
    let (first, waited) = waiting.remove(0).await.unwrap();
    assert_eq!(first, Ok(()), "what was given back suffices");
    assert!(waited < Duration::from_millis(50), "{waited:?}");
    let (second, waited) = waiting.remove(0).await.unwrap();
    // The first is done at once in this test, so that the second finds its memory too.
    assert_eq!(second, Ok(()));
    assert!(waited < Duration::from_millis(50), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_memory_ends() {
    let memory = BodyMemory::default();
    let _all = Arc::clone(&memory.units)
        .acquire_many_owned((limits::BODY_BYTES_IN_FLIGHT_MAX / UNIT_BYTES) as u32)
        .await
        .unwrap();
    drop(read(&memory, &HeaderMap::new(), SMALL_BYTES).await.unwrap());
    let started = Instant::now();
    let refused = read(&memory, &HeaderMap::new(), SMALL_BYTES + 1).await;
    assert_eq!(refused.map(drop).unwrap_err().code(), "overloaded");
    let mut small = read(&memory, &encoded(), 100).await.unwrap();
    let refused = small.prepare_decoding(&encoded(), LIMIT).await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(started.elapsed() < 2 * MEMORY_WAIT + Duration::from_millis(10));
    small.prepare_decoding(&HeaderMap::new(), LIMIT).await.unwrap();
}
