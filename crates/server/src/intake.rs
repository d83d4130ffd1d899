//! Where events become the server's responsibility: from here on each is in the queue and in the ledger, or the caller is told.

use std::sync::Arc;

use model::{Outcome, ProjectId, Rejection, Timestamp};
use queue::{QueueError, Records};

use crate::{engine::Engine, to_the_end::to_the_end};

/// Why events were not taken. None of them was; all are counted as refused.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The project's month is used up.
    #[error("over the quota of {quota} events a month: {used} are used")]
    QuotaExceeded {
        /// Events a month.
        quota: u64,
        /// Events that the month has had.
        used: u64,
    },
    /// They could not be made durable.
    #[error(transparent)]
    NotDurable(#[from] QueueError),
}

/// Makes events of `project` durable together and counts them, also when the caller goes away meanwhile. All or none, within `quota`
/// events a month; `now` tells the month.
pub async fn make_durable(
    engine: &Arc<Engine>,
    project: ProjectId,
    records: Records,
    quota: Option<u64>,
    now: Timestamp,
) -> Result<(), IntakeError> {
    let events = records.len() as u64;
    if let (Some(quota), Err(used)) = (quota, engine.ledger.reserve(project, events, quota, now)) {
        let rejection = Rejection::QuotaExceeded;
        engine.ledger.ended(project, Outcome::Rejected(rejection), events, now);
        return Err(IntakeError::QuotaExceeded { quota, used });
    }
    let engine = Arc::clone(engine);
    let queued = to_the_end(async move {
        let appended = engine.queue().append(records).await;
        match &appended {
            Ok(()) => engine.ledger.accepted(project, events),
            Err(_) => {
                let rejection = Rejection::NotDurable;
                engine.ledger.release(project, events, now);
                engine.ledger.ended(project, Outcome::Rejected(rejection), events, now);
            }
        }
        appended
    });
    Ok(queued.await?)
}
