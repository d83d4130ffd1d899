//! Stops reads that ran out of time or whose caller has gone.
//!
//! DuckDB forgets an interruption that comes before a statement starts, so one is not enough: the watchdog repeats it until the
//! read has ended. A read ends here before its connection is given back, so no interruption ever hits a later statement.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use duckdb::InterruptHandle;

/// Time between two interruptions of the same read.
const REPEAT: Duration = Duration::from_millis(20);

/// Watches the reads under way.
pub(crate) struct Watchdog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next_id: u64,
    reads: HashMap<u64, Watched>,
    stopped: bool,
}

struct Watched {
    deadline: Instant,
    abandoned: bool,
    interrupt: Option<Arc<InterruptHandle>>,
}

/// A read that is being watched. Dropping it ends the watching.
pub(crate) struct Watch {
    watchdog: Arc<Watchdog>,
    id: u64,
    deadline: Instant,
}

impl Watch {
    /// From now on the read can be interrupted. False: it has been stopped already, and must not start.
    pub(crate) fn attach(&self, interrupt: Arc<InterruptHandle>) -> bool {
        let mut state = self.watchdog.lock();
        let Some(read) = state.reads.get_mut(&self.id) else {
            return false;
        };
        read.interrupt = Some(interrupt);
        !read.abandoned && !self.is_late()
    }

    /// Whether the read's time is over.
    pub(crate) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchdog.lock().reads.remove(&self.id);
    }
}

/// Held by the caller of a read: dropping it stops the read. Harmless once the read has ended.
pub(crate) struct StopOnDrop {
    watchdog: Arc<Watchdog>,
    id: u64,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(read) = self.watchdog.lock().reads.get_mut(&self.id) {
            read.abandoned = true;
            self.watchdog.changed.notify_all();
        }
    }
}

impl Watchdog {
    /// Starts the watchdog and the thread that does the watching; the thread ends after [`Self::stop`].
    pub(crate) fn start() -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let watchdog = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&watchdog);
        let thread = thread::Builder::new()
            .name("store-watchdog".to_owned())
            .spawn(move || own.run())?;
        Ok((watchdog, thread))
    }

    /// Watches a read that is about to start.
    pub(crate) fn watch(self: &Arc<Self>, deadline: Instant) -> (Watch, StopOnDrop) {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let abandoned = state.stopped;
        state.reads.insert(
            id,
            Watched {
                deadline,
                abandoned,
                interrupt: None,
            },
        );
        self.changed.notify_all();
        let watch = Watch {
            watchdog: Arc::clone(self),
            id,
            deadline,
        };
        let stop = StopOnDrop {
            watchdog: Arc::clone(self),
            id,
        };
        (watch, stop)
    }

    /// Stops every read under way; ones that start later are not concerned.
    pub(crate) fn stop_reads(&self) {
        for read in self.lock().reads.values_mut() {
            read.abandoned = true;
        }
        self.changed.notify_all();
    }

    /// Stops every read, also those that start later, and ends the thread once none is left.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.stop_reads();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !(state.stopped && state.reads.is_empty()) {
            let now = Instant::now();
            let mut wait: Option<Duration> = None;
            for read in state.reads.values() {
                let until = if read.abandoned || now >= read.deadline {
                    if let Some(interrupt) = &read.interrupt {
                        interrupt.interrupt();
                    }
                    REPEAT
                } else {
                    read.deadline - now
                };
                wait = Some(wait.map_or(until, |wait| wait.min(until)));
            }
            state = match wait {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
