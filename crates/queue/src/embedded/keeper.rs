//! The thread that writes down what was acknowledged and gives disk back.

use std::sync::{Arc, PoisonError};

use model::limits;

use super::{
    checkpoint::Checkpoint,
    shared::{Shared, lock},
};

/// Works once an interval, and at once when a segment is free, until it is told to stop.
pub(super) fn run(shared: &Arc<Shared>) {
    loop {
        {
            let wanted = lock(&shared.keeper.wanted);
            if wanted.stop {
                return;
            }
            let (mut wanted, _) = shared
                .keeper
                .called
                .wait_timeout_while(wanted, limits::QUEUE_CHECKPOINT_INTERVAL, |wanted| {
                    !wanted.retire && !wanted.stop
                })
                .unwrap_or_else(PoisonError::into_inner);
            wanted.retire = false;
        }
        keep(shared);
    }
}

/// Makes acknowledgements durable, then removes the segments that they have emptied.
pub(super) fn keep(shared: &Shared) {
    let mut written = lock(&shared.checkpoint);
    let content = {
        let state = lock(&shared.state);
        Checkpoint {
            queue: shared.id,
            watermark: state.watermark(),
            durable_end: state.durable_end(),
            closed: written.closed,
        }
    };
    if written.content != Some(content) {
        if let Err(error) = written.file.write(&content) {
            tracing::warn!(%error, "queue checkpoint failed; after a crash more is delivered again");
            return;
        }
        written.content = Some(content);
    }
    drop(written);
    let retired = lock(&shared.state).retire(content.watermark);
    for segment in &retired {
        if let Err(error) = shared.files.remove(&segment.path) {
            tracing::warn!(file = %segment.path.display(), %error, "acknowledged queue segment could not be removed");
        }
    }
}

/// Writes the checkpoint into its other slot too: after a close both say where the log ends.
pub(super) fn repeat(shared: &Shared) {
    let mut written = lock(&shared.checkpoint);
    if let Some(content) = written.content
        && let Err(error) = written.file.write(&content)
    {
        tracing::warn!(%error, "second copy of the queue checkpoint failed");
    }
}

/// Asks the keeper to look for free segments now.
pub(super) fn call(shared: &Shared) {
    lock(&shared.keeper.wanted).retire = true;
    shared.keeper.called.notify_one();
}
