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

/// Events that are to be taken.
pub struct Intake {
    /// Whose.
    pub project: ProjectId,
    /// They, encoded.
    pub records: Records,
    /// How many were received when: a month's quota is told by it.
    pub received: Vec<(Timestamp, u64)>,
    /// Events a month; `None` = no limit.
    pub quota: Option<u64>,
}

impl Intake {
    /// Makes the events durable together and counts them, also when the caller goes away meanwhile. All or none.
    pub async fn make_durable(self, engine: &Arc<Engine>) -> Result<(), IntakeError> {
        self.reserve(engine)?;
        let engine = Arc::clone(engine);
        let queued = to_the_end(async move {
            let Self {
                project,
                records,
                received,
                ..
            } = self;
            let events = records.len() as u64;
            let appended = engine.queue().append(records).await;
            if appended.is_ok() {
                engine.ledger.accepted(project, events);
            } else {
                for (at, events) in received {
                    engine.ledger.release(project, events, at);
                    let rejection = Rejection::NotDurable;
                    engine.ledger.ended(project, Outcome::Rejected(rejection), events, at);
                }
            }
            appended
        });
        Ok(queued.await?)
    }

    fn reserve(&self, engine: &Engine) -> Result<(), IntakeError> {
        for (reserved, (at, events)) in self.received.iter().enumerate() {
            let (Some(quota), Err(used)) = (
                self.quota,
                engine.ledger.reserve(self.project, *events, self.quota, *at),
            ) else {
                continue;
            };
            for (at, events) in &self.received[..reserved] {
                engine.ledger.release(self.project, *events, *at);
            }
            for (at, events) in &self.received {
                let outcome = Outcome::Rejected(Rejection::QuotaExceeded);
                engine.ledger.ended(self.project, outcome, *events, *at);
            }
            return Err(IntakeError::QuotaExceeded { quota, used });
        }
        Ok(())
    }
}
