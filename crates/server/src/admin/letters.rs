//! Dead letters: what is in them, trying them again, forgetting them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Query, State},
};
use model::{Deduplication, ProjectId, limits};
use queue::{DeadLetter, Payload, Position, QueueError, Record, Records};
use serde::Deserialize;

use super::{
    http::Failure,
    types::{DeadLetterReport, DeadLettersDone, DeadLettersReport, DeadLettersRequest},
};
use crate::engine::Engine;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

/// `GET /dead_letters`.
pub(super) async fn list(
    State(engine): State<Arc<Engine>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<DeadLettersReport>, Failure> {
    let limit = query.limit.unwrap_or(usize::MAX).min(limits::DEAD_LETTERS_LISTED_MAX);
    let letters = engine.queue().dead_letters(Position(query.from), limit).await?;
    Ok(Json(DeadLettersReport {
        letters: letters.iter().map(report).collect(),
        total: engine.queue().status().await?.dead_letters,
    }))
}

/// `POST /dead_letters/retry`.
pub(super) async fn retry(
    State(engine): State<Arc<Engine>>,
    Json(request): Json<DeadLettersRequest>,
) -> Result<Json<DeadLettersDone>, Failure> {
    // On a task of its own: whoever asked may go away between the append and the rest.
    let done = tokio::spawn(async move {
        let _alone = engine.dead_letters.lock().await;
        match request.positions {
            Some(positions) => retry_some(&engine, positions).await,
            None => retry_all(&engine).await,
        }
    });
    Ok(Json(done.await??))
}

/// `POST /dead_letters/discard`.
pub(super) async fn discard(
    State(engine): State<Arc<Engine>>,
    Json(request): Json<DeadLettersRequest>,
) -> Result<Json<DeadLettersDone>, Failure> {
    let Some(positions) = request.positions else {
        return Err(Failure::invalid("name the dead letters to discard"));
    };
    let _alone = engine.dead_letters.lock().await;
    let mut done = DeadLettersDone::default();
    for position in positions {
        match engine.queue().discard_dead_letters(&[Position(position)]).await? {
            0 => done.missing.push(position),
            count => done.done += count,
        }
    }
    done.left = engine.queue().status().await?.dead_letters;
    Ok(Json(done))
}

async fn retry_some(engine: &Engine, positions: BTreeSet<u64>) -> Result<DeadLettersDone, QueueError> {
    let mut done = DeadLettersDone::default();
    for position in positions {
        let found = engine.queue().dead_letters(Position(position), 1).await?;
        match found.into_iter().find(|letter| letter.position.0 == position) {
            Some(letter) => done.done += append_again(engine, vec![letter]).await?,
            None => done.missing.push(position),
        }
    }
    done.left = engine.queue().status().await?.dead_letters;
    Ok(done)
}

/// Those that there are now: one that dies again meanwhile has a later position, and its turn is the next call's.
async fn retry_all(engine: &Engine) -> Result<DeadLettersDone, QueueError> {
    let mut done = DeadLettersDone::default();
    let mut count = usize::try_from(engine.queue().status().await?.dead_letters).unwrap_or(usize::MAX);
    let mut from = Position(0);
    while count > 0 {
        let most = count.min(limits::DEAD_LETTERS_RETRIED_AT_ONCE_MAX);
        let letters = engine.queue().dead_letters(from, most).await?;
        let Some(last) = letters.last() else { break };
        from = Position(last.position.0 + 1);
        count -= letters.len();
        done.done += append_again(engine, letters).await?;
    }
    done.left = engine.queue().status().await?.dead_letters;
    Ok(done)
}

/// Appends the records anew, then removes the letters: a crash in between leaves a letter too many, never one too few.
async fn append_again(engine: &Engine, letters: Vec<DeadLetter>) -> Result<u64, QueueError> {
    let positions: Vec<Position> = letters.iter().map(|letter| letter.position).collect();
    let mut events: BTreeMap<ProjectId, u64> = BTreeMap::new();
    let mut records = Records::default();
    for letter in letters {
        *events.entry(letter.record.project_id).or_default() += u64::from(letter.record.events);
        push_renewed(&mut records, &letter.record);
    }
    engine.queue().append(records).await?;
    // The dead letter stays in the ledger as what it was; this is an event that was received anew, as one that a client sends again.
    for (project, count) in events {
        engine.ledger.accepted(project, count);
    }
    engine.queue().discard_dead_letters(&positions).await
}

/// Adds the record to append. The store recognises an event with an id of the server's only by its old position; from now on by its id,
/// so that a letter that is retried twice is stored once.
fn push_renewed(records: &mut Records, record: &Record) {
    if let Ok(Payload::Event(mut event)) = record.decode()
        && event.deduplication == Deduplication::Redelivery
    {
        event.deduplication = Deduplication::History;
        if records.push_event(&event, record.received_at).is_ok() {
            return;
        }
    }
    // What this build cannot read may be for a newer one to read.
    records.push_record(record);
}

fn report(letter: &DeadLetter) -> DeadLetterReport {
    let event = match letter.record.decode() {
        Ok(Payload::Event(event)) => Some(event),
        _ => None,
    };
    let bytes = &letter.record.payload;
    DeadLetterReport {
        position: letter.position.0,
        project_id: letter.record.project_id,
        received_at: letter.record.received_at,
        dead_at: letter.dead_at,
        attempts: letter.attempts,
        reason: letter.reason.clone(),
        payload: event
            .is_none()
            .then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        event: event.and_then(|event| serde_json::to_value(event).ok()),
    }
}
