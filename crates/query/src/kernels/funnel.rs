//! Funnels.
//!
//! What `docs/semantics` leaves open is decided so:
//! - An **attempt** begins at an instant with a step-1 event and takes every following step at the earliest instant it can: for `ordered`
//!   the next instant with an event of the step, for `strict` only the actor's next instant with any event. Events of one instant may
//!   be taken in any order, so steps at one instant convert; one event never fills two consecutive steps.
//! - An attempt has **reached** the steps that it took within the window. The actor's result is the clean attempt that reached furthest; of
//!   several the one that got there first; of several that got there at the same instant the one that began last (the freshest).
//! - An excluded event is **between** two steps when it is strictly after the one and strictly before the other. An attempt that took the
//!   first of them but not (yet) the second is spoilt by an excluded event up to the end of its window.
//! - `unordered`: the result is the most steps that different events can fill within one window, which ends at the instant where that number
//!   is first reached; of the events that can fill them the latest count. Step k is the k-th of them by time. What is excluded
//!   between steps has no meaning without an order, and is refused.
//! - A step that asks for the actor's first ever event of its kind has its bit set on that event alone: only SQL can see the past.

mod attempts;
mod tally;
mod unordered;

use std::cmp::Ordering;

use model::limits::{FUNNEL_EXCLUSIONS_MAX, FUNNEL_STEPS_MAX, SEQUENCE_ACTOR_EVENTS_MAX};

use super::{Breakdown, Buckets, KernelError, order::Order};
use attempts::Attempts;
use tally::Tally;
pub use tally::{FunnelAnswer, FunnelGroup, FunnelStep, FunnelTrend};
use unordered::Unordered;

/// An event of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunnelRow {
    /// The actor's number (a user or a session).
    pub actor: u32,
    /// The value of the breakdown's key; [`NO_VALUE`](super::NO_VALUE) where there is none. Anything without a breakdown.
    pub value: u32,
    /// Microseconds since the epoch.
    pub time_micros: i64,
    /// Bit `k` is set when the event matches step `k`, the first being 0.
    pub steps: u32,
    /// Bit `e` is set when the event matches exclusion `e`.
    pub exclusions: u32,
}

/// How steps follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunnelOrder {
    /// Other events may lie between.
    Ordered,
    /// No other event of the actor lies between consecutive steps. Needs every event of the actor as a row, those of no step with no bit.
    Strict,
    /// In any order.
    Unordered,
}

/// An event that must not come between two steps, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The step after which it counts.
    pub from_step: usize,
    /// The step before which it counts; greater.
    pub to_step: usize,
}

/// Whose event decides an actor's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// That of the first step.
    FirstTouch,
    /// That of the last step reached.
    LastTouch,
    /// That of this step, counted from 0. Actors that did not reach it are under "(none)".
    Step(usize),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunnelView {
    /// Counts, conversions and times of each step, by group.
    Steps(Option<(Breakdown, Attribution)>),
    /// How long the whole funnel took those who finished it.
    TimeToConvert,
    /// Entries and conversions by the bucket of entry. The buckets cover the range; entries outside them are not counted.
    Trend(Buckets),
}

/// What a funnel asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunnelSettings {
    /// Number of steps, 2 to [`FUNNEL_STEPS_MAX`].
    pub steps: usize,
    /// How they follow each other.
    pub order: FunnelOrder,
    /// Time from the first step to any later one, inclusive; microseconds, not negative.
    pub window_micros: i64,
    /// At most [`FUNNEL_EXCLUSIONS_MAX`]; none for [`FunnelOrder::Unordered`].
    pub exclusions: Vec<Exclusion>,
    /// What is answered.
    pub view: FunnelView,
}

impl FunnelSettings {
    fn check(&self) -> Result<(), KernelError> {
        let fault = if !(2..=FUNNEL_STEPS_MAX).contains(&self.steps) {
            "a funnel has 2 to 20 steps"
        } else if self.window_micros < 0 {
            "the window of a funnel is negative"
        } else if self.exclusions.len() > FUNNEL_EXCLUSIONS_MAX {
            "a funnel has more exclusions than bits"
        } else if self.order == FunnelOrder::Unordered && !self.exclusions.is_empty() {
            "an exclusion needs steps in an order"
        } else if self
            .exclusions
            .iter()
            .any(|exclusion| exclusion.from_step >= exclusion.to_step || exclusion.to_step >= self.steps)
        {
            "an exclusion lies between a step and a later one"
        } else if matches!(self.view, FunnelView::Steps(Some((_, Attribution::Step(step)))) if step >= self.steps) {
            "a funnel's breakdown is by a step that it does not have"
        } else {
            return Ok(());
        };
        Err(KernelError::Settings(fault))
    }
}

/// An event of the actor at hand.
#[derive(Clone, Copy, Debug)]
struct Moment {
    time_micros: i64,
    steps: u32,
    exclusions: u32,
    value: u32,
}

/// How far an actor came. Nothing for an actor that is out of the funnel.
#[derive(Debug, Default)]
struct Outcome {
    /// Steps reached.
    reached: usize,
    /// The instant of each step reached.
    times_micros: [i64; FUNNEL_STEPS_MAX],
    /// The value of the event that filled it.
    values: [u32; FUNNEL_STEPS_MAX],
}

/// Counts a funnel.
#[derive(Debug)]
pub struct FunnelKernel {
    settings: FunnelSettings,
    order: Order,
    /// The bits of all steps.
    every_step: u32,
    /// The bits of steps that an actor's result can begin with.
    entry_steps: u32,
    /// The rows of the actor at hand from the instant on where a result can begin.
    rows: Vec<Moment>,
    /// Whether there is such an instant.
    has_entry: bool,
    attempts: Attempts,
    unordered: Unordered,
    outcome: Outcome,
    tally: Tally,
}

impl FunnelKernel {
    /// A kernel that has seen no row.
    ///
    /// # Errors
    /// [`KernelError::Settings`].
    pub fn new(settings: FunnelSettings) -> Result<Self, KernelError> {
        settings.check()?;
        let every_step = (1 << settings.steps) - 1;
        Ok(Self {
            order: Order::default(),
            every_step,
            entry_steps: match settings.order {
                FunnelOrder::Ordered | FunnelOrder::Strict => 1,
                FunnelOrder::Unordered => every_step,
            },
            rows: Vec::new(),
            has_entry: false,
            attempts: Attempts::new(&settings),
            unordered: Unordered::new(&settings),
            outcome: Outcome::default(),
            tally: Tally::new(&settings),
            settings,
        })
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// Any [`KernelError`] but `Settings`; the kernel is of no use then.
    #[inline]
    pub fn push(&mut self, row: FunnelRow) -> Result<(), KernelError> {
        if self.order.admit(row.actor, row.time_micros)? {
            self.close_actor()?;
        }
        let steps = row.steps & self.every_step;
        if steps | row.exclusions == 0 && self.settings.order != FunnelOrder::Strict {
            return Ok(());
        }
        if !self.has_entry {
            // Nothing before the first entry matters; but of its instant the rows before it do.
            if self.rows.last().is_some_and(|last| last.time_micros != row.time_micros) {
                self.rows.clear();
            }
            self.has_entry = steps & self.entry_steps != 0;
        }
        if self.rows.len() == SEQUENCE_ACTOR_EVENTS_MAX {
            return Err(KernelError::ActorTooLong {
                limit: SEQUENCE_ACTOR_EVENTS_MAX,
            });
        }
        self.rows.push(Moment {
            time_micros: row.time_micros,
            steps,
            exclusions: row.exclusions,
            value: row.value,
        });
        Ok(())
    }

    fn close_actor(&mut self) -> Result<(), KernelError> {
        if self.has_entry {
            self.outcome.reached = 0;
            match self.settings.order {
                FunnelOrder::Ordered | FunnelOrder::Strict => self.attempts.decide(&self.rows, &mut self.outcome),
                FunnelOrder::Unordered => self.unordered.decide(&self.rows, &mut self.outcome),
            }
            if self.outcome.reached > 0 {
                self.tally.add(&self.outcome)?;
            }
        }
        self.rows.clear();
        self.has_entry = false;
        Ok(())
    }

    /// The answer. `compare` orders the values of a breakdown where their groups are of one size (by the first step's count).
    ///
    /// # Errors
    /// As [`Self::push`], for the last actor.
    pub fn finish(mut self, compare: impl Fn(u32, u32) -> Ordering) -> Result<FunnelAnswer, KernelError> {
        self.close_actor()?;
        Ok(self.tally.answer(compare))
    }
}
