//! What the outcomes of all actors add up to.

use std::cmp::Ordering;

use model::limits::SEQUENCE_CELLS_MAX;

use super::{Attribution, Buckets, FunnelSettings, FunnelView, KernelError, Outcome};
use crate::kernels::{
    Breakdown, Group, HistogramBin, NO_VALUE, TimeSummary,
    durations::{TimesLeft, histogram, summary},
    groups::Groups,
    rate,
};

/// The answer of a funnel, by its view.
#[derive(Clone, Debug, PartialEq)]
pub enum FunnelAnswer {
    /// [`FunnelView::Steps`]: the largest group first.
    Steps(Vec<FunnelGroup>),
    /// [`FunnelView::TimeToConvert`].
    TimeToConvert {
        /// By time; none when nobody finished.
        bins: Vec<HistogramBin>,
        /// Median and mean; `None` when nobody finished.
        summary: Option<TimeSummary>,
    },
    /// [`FunnelView::Trend`]: one entry a bucket.
    Trend(Vec<FunnelTrend>),
}

/// The steps of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct FunnelGroup {
    /// Whose.
    pub group: Group,
    /// In order.
    pub steps: Vec<FunnelStep>,
}

/// One step of one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunnelStep {
    /// Actors that reached it.
    pub count: u64,
    /// The part of those that reached the first step; 0 of none.
    pub conversion: f64,
    /// The part of those that reached the step before (of the first step: of itself); 0 of none.
    pub conversion_from_previous: f64,
    /// The time from the step before, of those who made both; `None` for the first step and where nobody did.
    pub time: Option<TimeSummary>,
}

/// The actors that entered in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunnelTrend {
    /// How many.
    pub entered: u64,
    /// How many of them reached the last step, whenever.
    pub converted: u64,
    /// The part; 0 of none.
    pub conversion: f64,
}

/// The counts of one group.
#[derive(Debug)]
struct StepCounts {
    /// By step.
    reached: Vec<u64>,
    /// By step, from the one before, microseconds; that of the first step stays empty.
    times_micros: Vec<Vec<i64>>,
}

impl StepCounts {
    fn new(steps: usize) -> Self {
        Self {
            reached: vec![0; steps],
            times_micros: vec![Vec::new(); steps],
        }
    }

    fn merge(&mut self, other: Self) {
        for (count, more) in self.reached.iter_mut().zip(other.reached) {
            *count += more;
        }
        for (times, more) in self.times_micros.iter_mut().zip(other.times_micros) {
            times.extend(more);
        }
    }

    fn answer(mut self, group: Group) -> FunnelGroup {
        let first = self.reached[0];
        let steps = (0..self.reached.len())
            .map(|step| FunnelStep {
                count: self.reached[step],
                conversion: rate(self.reached[step], first),
                conversion_from_previous: rate(self.reached[step], self.reached[step.saturating_sub(1)]),
                time: summary(&mut self.times_micros[step]),
            })
            .collect();
        FunnelGroup { group, steps }
    }
}

#[derive(Debug)]
enum Counts {
    Steps {
        breakdown: Option<(Breakdown, Attribution)>,
        groups: Groups<StepCounts>,
    },
    TimeToConvert(Vec<i64>),
    Trend {
        buckets: Buckets,
        counts: Vec<FunnelTrend>,
    },
}

/// Adds outcomes up.
#[derive(Debug)]
pub(super) struct Tally {
    steps: usize,
    times_left: TimesLeft,
    counts: Counts,
}

impl Tally {
    pub(super) fn new(settings: &FunnelSettings) -> Self {
        let counts = match &settings.view {
            FunnelView::Steps(breakdown) => Counts::Steps {
                breakdown: *breakdown,
                groups: Groups::new(SEQUENCE_CELLS_MAX / settings.steps, "values of the breakdown"),
            },
            FunnelView::TimeToConvert => Counts::TimeToConvert(Vec::new()),
            FunnelView::Trend(buckets) => Counts::Trend {
                counts: vec![FunnelTrend::default(); buckets.count()],
                buckets: buckets.clone(),
            },
        };
        Self {
            steps: settings.steps,
            times_left: TimesLeft::default(),
            counts,
        }
    }

    /// Adds an actor that reached one step at least.
    pub(super) fn add(&mut self, outcome: &Outcome) -> Result<(), KernelError> {
        let reached = outcome.reached;
        let times = &outcome.times_micros[..reached];
        let steps = self.steps;
        match &mut self.counts {
            Counts::Steps { breakdown, groups } => {
                let value = match breakdown {
                    None => NO_VALUE,
                    Some((_, Attribution::FirstTouch)) => outcome.values[0],
                    Some((_, Attribution::LastTouch)) => outcome.values[reached - 1],
                    Some((_, Attribution::Step(step))) if *step < reached => outcome.values[*step],
                    Some((_, Attribution::Step(_))) => NO_VALUE,
                };
                let group = groups.of(value, || StepCounts::new(steps))?;
                group.reached[0] += 1;
                for (before, pair) in times.windows(2).enumerate() {
                    self.times_left.take()?;
                    group.reached[before + 1] += 1;
                    group.times_micros[before + 1].push(pair[1] - pair[0]);
                }
            }
            Counts::TimeToConvert(taken) => {
                if reached == steps {
                    self.times_left.take()?;
                    taken.push(times[reached - 1] - times[0]);
                }
            }
            Counts::Trend { buckets, counts } => {
                if let Some(bucket) = buckets.find(times[0], 0) {
                    counts[bucket].entered += 1;
                    counts[bucket].converted += u64::from(reached == steps);
                }
            }
        }
        Ok(())
    }

    pub(super) fn answer(self, compare: impl Fn(u32, u32) -> Ordering) -> FunnelAnswer {
        let steps = self.steps;
        match self.counts {
            Counts::Steps { breakdown, groups } => {
                let ranked = groups.ranked(
                    breakdown.map(|(breakdown, _)| breakdown),
                    compare,
                    |group| group.reached[0],
                    StepCounts::merge,
                    || StepCounts::new(steps),
                );
                let groups = ranked.into_iter().map(|(group, counts)| counts.answer(group));
                FunnelAnswer::Steps(groups.collect())
            }
            Counts::TimeToConvert(mut taken) => FunnelAnswer::TimeToConvert {
                bins: histogram(&taken),
                summary: summary(&mut taken),
            },
            Counts::Trend { counts, .. } => FunnelAnswer::Trend(
                counts
                    .into_iter()
                    .map(|count| FunnelTrend {
                        conversion: rate(count.converted, count.entered),
                        ..count
                    })
                    .collect(),
            ),
        }
    }
}
