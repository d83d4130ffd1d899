//! Sequence kernels: what a funnel, retention, lifecycle, stickiness, paths and sessions are (`docs/semantics`), decided once for every
//! store. No I/O and no SQL: a store selects, filters and pre-aggregates; a kernel takes the rows and answers with counts and times.
//!
//! What every kernel asks and promises:
//! - Rows come ordered by actor, then time, both ascending; [`KernelError::OutOfOrder`] otherwise. An actor's number means nothing else:
//!   actors numbered another way give the same answer, and so do rows delivered in other portions.
//! - Rows of one actor at one instant may come in any order for every count and every time; what the order decides besides (which value a
//!   breakdown takes, which page comes first) follows the order delivered, which therefore must be a fixed one (the event's id).
//! - Times are microseconds since the epoch. Buckets are handed in as instants ([`Buckets`]); no kernel knows a zone.
//! - Memory grows with what is answered (groups, cells, edges, times for medians) and with the rows of a single actor where a rule needs
//!   them together; both end at a named limit. Work is rows times steps, also for an actor with a million events.
//! - Sums are of integers, medians of all values: nothing is estimated and nothing depends on the order of addition.
//!
//! | kernel | rows | what SQL does before |
//! |---|---|---|
//! | [`FunnelKernel`] | events that match a step or an exclusion; `strict`: all events of the actor | steps and exclusions as bits; a `first_time` step only where the event is the actor's first ever |
//! | [`RetentionKernel`] | events or counts that start or return | counts by actor and interval, if it likes |
//! | [`LifecycleKernel`] | events or counts; of the time before the range the actor's last event is enough | as above |
//! | [`StickinessKernel`] | events or counts of one series | as above |
//! | [`PathsKernel`] | one item an event | `include`, `exclude` and filters; page paths without query and trailing slash |
//! | [`SessionsKernel`] | all events of every session that has an event in the range | which events are page views, the value of the key |

mod buckets;
mod durations;
mod error;
mod funnel;
mod groups;
mod lifecycle;
mod order;
mod paths;
mod retention;
mod sessions;
mod stickiness;

#[cfg(test)]
mod tests;

pub use buckets::Buckets;
pub use durations::{HistogramBin, TimeSummary};
pub use error::KernelError;
pub use funnel::{
    Attribution, Exclusion, FunnelAnswer, FunnelGroup, FunnelKernel, FunnelOrder, FunnelRow, FunnelSettings,
    FunnelStep, FunnelTrend, FunnelView,
};
pub use groups::{Breakdown, Group, NO_VALUE};
pub use lifecycle::{LifecycleAnswer, LifecycleKernel};
pub use order::CountRow;
pub use paths::{PathEdge, PathNode, PathsAnswer, PathsKernel, PathsRow, PathsSettings};
pub use retention::{
    Cohort, RetentionAnswer, RetentionCell, RetentionGroup, RetentionKernel, RetentionMode, RetentionRow,
    RetentionSettings,
};
pub use sessions::{SessionFigures, SessionRow, SessionsAnswer, SessionsBy, SessionsKernel};
pub use stickiness::{Criterion, StickinessKernel};

/// A part of a whole; 0 of nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of actors and events are far below 2^53, and a rate may round beyond"
)]
fn rate(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
