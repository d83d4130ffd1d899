//! Why a kernel gives no answer.

use thiserror::Error;

/// Why a kernel gives no answer. The limits are the asker's to hear (422); the rest is a fault of whoever calls the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// Rows that are not ordered by actor, then time.
    #[error(
        "rows for a kernel are not in order: actor {actor} at {time_micros} µs came after actor {previous_actor} at \
         {previous_time_micros} µs; order them by actor, then time"
    )]
    OutOfOrder {
        /// The actor of the row at fault.
        actor: u32,
        /// Its time, microseconds since the epoch.
        time_micros: i64,
        /// The actor of the row before.
        previous_actor: u32,
        /// The time of the row before.
        previous_time_micros: i64,
    },
    /// One actor has more rows than are looked at together.
    #[error(
        "one user or session has more than {limit} matching events; ask for a shorter range or narrower filters, or filter that one out"
    )]
    ActorTooLong {
        /// [`model::limits::SEQUENCE_ACTOR_EVENTS_MAX`].
        limit: usize,
    },
    /// More values of a breakdown, or edges of paths, than are counted.
    #[error("the answer has more than {limit} different {what}; use a key with fewer values or narrower filters")]
    TooManyGroups {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// More times than medians are taken of.
    #[error("medians over more than {limit} times are not computed; ask for a shorter range or narrower filters")]
    TooManyTimes {
        /// [`model::limits::SEQUENCE_TIMES_MAX`].
        limit: usize,
    },
    /// Settings that no request should have led to.
    #[error("a kernel was set up wrongly: {0}")]
    Settings(&'static str),
}
