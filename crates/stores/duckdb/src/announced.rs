//! The batch that is likely to be appended after the one under way.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use store::{AppendBatch, AppendItem};

/// Handed from whoever announces to the thread that plans ahead.
#[derive(Default)]
pub(crate) struct Announced {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batch: Option<AppendBatch>,
    /// Whether an append is under way, so that there is time to wait for an announcement.
    busy: bool,
}

/// While it lives, an append is under way.
pub(crate) struct Busy<'a>(&'a Announced);

impl Announced {
    /// Announces a batch in place of any other.
    pub(crate) fn put(&self, batch: AppendBatch) {
        self.lock().batch = Some(batch);
        self.changed.notify_all();
    }

    /// This batch is appended now: it is not what comes next.
    pub(crate) fn withdraw(&self, items: &Arc<Vec<AppendItem>>) {
        let mut state = self.lock();
        if state
            .batch
            .as_ref()
            .is_some_and(|batch| Arc::ptr_eq(&batch.items, items))
        {
            state.batch = None;
        }
    }

    /// An append begins.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.lock().busy = true;
        Busy(self)
    }

    /// Takes what was announced; waits for it as long as the append is under way.
    pub(crate) fn take(&self) -> Option<AppendBatch> {
        let state = self
            .changed
            .wait_while(self.lock(), |state| state.busy && state.batch.is_none());
        state.unwrap_or_else(PoisonError::into_inner).batch.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy = false;
        self.0.changed.notify_all();
    }
}
