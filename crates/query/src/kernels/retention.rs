//! Retention.
//!
//! What `docs/semantics` leaves open is decided so:
//! - An actor returns in an interval when it did the return event there at least `minimum_occurrences` times. Cumulative ("on or after"):
//!   in that interval or a later one, up to the end of the cohort's row.
//! - A cell is complete when its own interval has ended. That a cumulative cell may still grow by later intervals is in its meaning.
//! - `first_time`: rows from before the first bucket say who started earlier and is in no cohort; otherwise such rows change nothing.
//! - A breakdown is by the first start event of the actor in the interval of the cohort. So each actor of a cohort is in one group, and the
//!   groups' cohorts add up.

use std::cmp::Ordering;

use model::{Timestamp, limits::SEQUENCE_CELLS_MAX};

use super::{Breakdown, Buckets, Group, KernelError, NO_VALUE, groups::Groups, order::Order, rate};

/// Events of one actor at one instant, or counted over an interval (then `time_micros` is any instant of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRow {
    /// The actor's number.
    pub actor: u32,
    /// The value of the breakdown's key; [`NO_VALUE`] where there is none. Anything without a breakdown.
    pub value: u32,
    /// Microseconds since the epoch.
    pub time_micros: i64,
    /// Start events that the row stands for.
    pub starts: u32,
    /// Return events that the row stands for.
    pub returns: u32,
}

/// Which intervals' cohorts an actor is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetentionMode {
    /// Of every interval in which it did the start event.
    Recurring,
    /// Of the interval of its first start event ever.
    FirstTime,
}

/// What retention asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// The intervals, the first cohort's first. There are as many cohorts as `periods`, and intervals for all their cells: `periods` of them,
    /// with `is_full` twice as many less one.
    pub buckets: Buckets,
    /// Number of cohorts, and of cells of the first one; at least 1.
    pub periods: usize,
    /// Whether every cohort has `periods` cells; else each has one less than the one before.
    pub is_full: bool,
    /// Which cohorts an actor is in.
    pub mode: RetentionMode,
    /// Whether cells count returns in their interval or later ones.
    pub is_cumulative: bool,
    /// Return events that make an interval one of return; at least 1.
    pub minimum_occurrences: u32,
    /// By the start event's value.
    pub breakdown: Option<Breakdown>,
    /// Intervals that end later are not complete.
    pub now: Timestamp,
}

impl RetentionSettings {
    fn check(&self) -> Result<(), KernelError> {
        let needed = match (self.periods, self.is_full) {
            (0, _) => return Err(KernelError::Settings("retention needs a period at least")),
            (periods, false) => periods,
            (periods, true) => 2 * periods - 1,
        };
        if self.buckets.count() < needed {
            return Err(KernelError::Settings("retention needs an interval for every cell"));
        }
        if self.minimum_occurrences == 0 {
            return Err(KernelError::Settings("retention needs one occurrence at least"));
        }
        Ok(())
    }

    /// Cells of a cohort's row.
    fn cells(&self, cohort: usize) -> usize {
        if self.is_full {
            self.periods
        } else {
            self.periods - cohort
        }
    }
}

/// The cohorts of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionGroup {
    /// Whose.
    pub group: Group,
    /// One for each interval, empty ones too.
    pub cohorts: Vec<Cohort>,
    /// For each distance the part of all actors whose cell is complete; `None` where there are none.
    pub mean: Vec<Option<f64>>,
}

/// The actors that started in one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// How many.
    pub size: u64,
    /// The first is the cohort itself; then by distance in intervals.
    pub cells: Vec<RetentionCell>,
}

/// How many of a cohort returned at a distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetentionCell {
    /// How many.
    pub count: u64,
    /// The part of the cohort; 0 of an empty one.
    pub rate: f64,
    /// Whether the cell's interval has ended.
    pub is_complete: bool,
}

/// The answer of retention: groups by the sum of their cohorts, the largest first.
pub type RetentionAnswer = Vec<RetentionGroup>;

/// Counts retention.
#[derive(Debug)]
pub struct RetentionKernel {
    settings: RetentionSettings,
    order: Order,
    actor: Actor,
    /// For each group the counts by cohort and distance, `periods` to a cohort. Of cumulative cells: of actors whose last return is there.
    groups: Groups<Vec<u64>>,
}

/// What is known of the actor at hand.
#[derive(Debug, Default)]
struct Actor {
    /// The interval of the row before.
    bucket: usize,
    /// Return events in it.
    returns: u32,
    started_before: bool,
    /// Intervals with a start event, ascending, and the value of the first one.
    starts: Vec<(usize, u32)>,
    /// Intervals of return, ascending.
    returned: Vec<usize>,
}

impl RetentionKernel {
    /// A kernel that has seen no row.
    ///
    /// # Errors
    /// [`KernelError::Settings`]; [`KernelError::TooManyGroups`] when the cells of a single group are too many.
    pub fn new(settings: RetentionSettings) -> Result<Self, KernelError> {
        settings.check()?;
        let cells = settings.periods.saturating_mul(settings.periods);
        if cells > SEQUENCE_CELLS_MAX {
            return Err(KernelError::TooManyGroups {
                what: "cells",
                limit: SEQUENCE_CELLS_MAX,
            });
        }
        Ok(Self {
            order: Order::default(),
            actor: Actor::default(),
            groups: Groups::new(SEQUENCE_CELLS_MAX / cells, "values of the breakdown"),
            settings,
        })
    }

    /// Takes the next row. Rows after the last bucket change nothing.
    ///
    /// # Errors
    /// [`KernelError::OutOfOrder`] or [`KernelError::TooManyGroups`]; the kernel is of no use then.
    #[inline]
    pub fn push(&mut self, row: RetentionRow) -> Result<(), KernelError> {
        if self.order.admit(row.actor, row.time_micros)? {
            self.close_actor()?;
        }
        let actor = &mut self.actor;
        let Some(bucket) = self.settings.buckets.find(row.time_micros, actor.bucket) else {
            actor.started_before |= row.starts > 0 && row.time_micros < self.settings.buckets.start();
            return Ok(());
        };
        if bucket != actor.bucket {
            actor.bucket = bucket;
            actor.returns = 0;
        }
        if row.starts > 0 && actor.starts.last().is_none_or(|(last, _)| *last != bucket) {
            actor.starts.push((bucket, row.value));
        }
        if row.returns > 0 {
            let before = actor.returns;
            actor.returns = before.saturating_add(row.returns);
            let minimum = self.settings.minimum_occurrences;
            if before < minimum && actor.returns >= minimum {
                actor.returned.push(bucket);
            }
        }
        Ok(())
    }

    fn close_actor(&mut self) -> Result<(), KernelError> {
        let settings = &self.settings;
        let periods = settings.periods;
        let starts = match settings.mode {
            RetentionMode::Recurring => self.actor.starts.as_slice(),
            RetentionMode::FirstTime if self.actor.started_before => &[],
            RetentionMode::FirstTime => &self.actor.starts[..self.actor.starts.len().min(1)],
        };
        let mut later = 0;
        for (cohort, value) in starts.iter().copied().take_while(|(cohort, _)| *cohort < periods) {
            let value = settings.breakdown.map_or(NO_VALUE, |_| value);
            let row = &mut self.groups.of(value, || vec![0; periods * periods])?[cohort * periods..][..periods];
            row[0] += 1;
            let returned = &self.actor.returned;
            later += returned[later..].iter().take_while(|bucket| **bucket <= cohort).count();
            let cells = settings.cells(cohort);
            let mut distances = returned[later..].iter().map(|bucket| bucket - cohort);
            if settings.is_cumulative {
                if let Some(last) = distances.take_while(|distance| *distance < cells).last() {
                    row[last] += 1;
                }
            } else {
                while let Some(distance) = distances.next().filter(|distance| *distance < cells) {
                    row[distance] += 1;
                }
            }
        }
        let actor = &mut self.actor;
        actor.starts.clear();
        actor.returned.clear();
        (actor.bucket, actor.returns, actor.started_before) = (0, 0, false);
        Ok(())
    }

    /// The answer. `compare` orders the values of a breakdown where their groups are of one size.
    ///
    /// # Errors
    /// As [`Self::push`], for the last actor.
    pub fn finish(mut self, compare: impl Fn(u32, u32) -> Ordering) -> Result<RetentionAnswer, KernelError> {
        self.close_actor()?;
        let settings = self.settings;
        let periods = settings.periods;
        let ranked = self.groups.ranked(
            settings.breakdown,
            compare,
            |counts| counts.iter().step_by(periods).sum(),
            |counts, other| {
                for (count, more) in counts.iter_mut().zip(other) {
                    *count += more;
                }
            },
            || vec![0; periods * periods],
        );
        let groups = ranked
            .into_iter()
            .map(|(group, counts)| answer(&settings, group, &counts));
        Ok(groups.collect())
    }
}

fn answer(settings: &RetentionSettings, group: Group, counts: &[u64]) -> RetentionGroup {
    let cohorts: Vec<Cohort> = counts
        .chunks(settings.periods)
        .enumerate()
        .map(|(number, counts)| cohort(settings, number, counts))
        .collect();
    let mean = (0..settings.periods)
        .map(|distance| {
            let complete = cohorts
                .iter()
                .filter_map(|cohort| Some((cohort.size, cohort.cells.get(distance)?)))
                .filter(|(_, cell)| cell.is_complete);
            let (size, count) = complete.fold((0, 0), |(size, count), (more, cell)| (size + more, count + cell.count));
            (size > 0).then(|| rate(count, size))
        })
        .collect();
    RetentionGroup { group, cohorts, mean }
}

fn cohort(settings: &RetentionSettings, number: usize, counts: &[u64]) -> Cohort {
    let size = counts[0];
    let mut counts = counts[..settings.cells(number)].to_vec();
    if settings.is_cumulative {
        for distance in (2..counts.len()).rev() {
            counts[distance - 1] += counts[distance];
        }
    }
    let cells = counts.into_iter().enumerate().map(|(distance, count)| RetentionCell {
        count,
        rate: rate(count, size),
        is_complete: settings.buckets.end_of(number + distance) <= settings.now.as_micros(),
    });
    Cohort {
        size,
        cells: cells.collect(),
    }
}
