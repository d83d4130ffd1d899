//! A funnel by trying everything: all chains of all attempts, all ways to fill steps.

use std::collections::{BTreeMap, BTreeSet};

use super::support::{part, summary_of};
use crate::kernels::{
    Attribution, Exclusion, FunnelAnswer, FunnelGroup, FunnelOrder, FunnelRow, FunnelSettings, FunnelStep, FunnelTrend,
    FunnelView, Group, NO_VALUE,
};

/// The rows that an actor's result takes, by step; none for an actor that is out.
pub fn result(rows: &[FunnelRow], settings: &FunnelSettings) -> Vec<FunnelRow> {
    match settings.order {
        FunnelOrder::Unordered => unordered(rows, settings),
        FunnelOrder::Ordered | FunnelOrder::Strict => attempts(rows, settings),
    }
}

fn holds(row: &FunnelRow, step: usize) -> bool {
    row.steps & (1 << step) != 0
}

/// Whether `next` may fill the step after the one that `last` fills.
fn follows(rows: &[FunnelRow], last: usize, next: usize, order: FunnelOrder) -> bool {
    let (from, to) = (rows[last].time_micros, rows[next].time_micros);
    let is_between = |row: &FunnelRow| from < row.time_micros && row.time_micros < to;
    last != next && from <= to && (order != FunnelOrder::Strict || !rows.iter().any(is_between))
}

fn attempts(rows: &[FunnelRow], settings: &FunnelSettings) -> Vec<FunnelRow> {
    let starts: BTreeSet<i64> = rows
        .iter()
        .filter(|row| holds(row, 0))
        .map(|row| row.time_micros)
        .collect();
    let attempts = starts.into_iter().map(|start| attempt(rows, settings, start));
    let clean = attempts.filter(|attempt| !is_spoilt(rows, attempt, settings));
    // The furthest; of these the one that got there first; of these the one that began last.
    let best = clean.max_by_key(|attempt| {
        let completed = attempt[attempt.len() - 1].time_micros;
        (attempt.len(), -completed, attempt[0].time_micros)
    });
    best.unwrap_or_default()
}

/// The attempt that begins at an instant: of all chains those that take the second step earliest, of these the third, and so on.
fn attempt(rows: &[FunnelRow], settings: &FunnelSettings, start: i64) -> Vec<FunnelRow> {
    let first = (0..rows.len()).filter(|row| rows[*row].time_micros == start && holds(&rows[*row], 0));
    let mut chains: Vec<Vec<usize>> = first.map(|row| vec![row]).collect();
    for step in 1..settings.steps {
        let mut longer = Vec::new();
        for chain in &chains {
            let last = chain[chain.len() - 1];
            for next in 0..rows.len() {
                if holds(&rows[next], step) && follows(rows, last, next, settings.order) {
                    longer.push([chain.as_slice(), &[next]].concat());
                }
            }
        }
        let earliest = longer.iter().map(|chain| rows[chain[step]].time_micros).min();
        longer.retain(|chain| Some(rows[chain[step]].time_micros) == earliest);
        if longer.is_empty() || earliest > Some(start + settings.window_micros) {
            break;
        }
        chains = longer;
    }
    chains[0].iter().map(|row| rows[*row]).collect()
}

fn is_spoilt(rows: &[FunnelRow], attempt: &[FunnelRow], settings: &FunnelSettings) -> bool {
    let window_end = attempt[0].time_micros + settings.window_micros;
    let spoils = |number: usize, exclusion: &Exclusion| {
        let Some(from) = attempt.get(exclusion.from_step) else {
            return false;
        };
        rows.iter()
            .filter(|row| row.exclusions & (1 << number) != 0 && row.time_micros > from.time_micros)
            .any(|row| match attempt.get(exclusion.to_step) {
                Some(to) => row.time_micros < to.time_micros,
                None => row.time_micros <= window_end,
            })
    };
    let mut exclusions = settings.exclusions.iter().enumerate();
    exclusions.any(|(number, exclusion)| spoils(number, exclusion))
}

/// How many steps any chain at all takes; there are no exclusions.
pub fn furthest(rows: &[FunnelRow], settings: &FunnelSettings) -> usize {
    fn longest(rows: &[FunnelRow], settings: &FunnelSettings, start: i64, last: usize, step: usize) -> usize {
        let next = (0..rows.len()).filter(|next| {
            step < settings.steps
                && holds(&rows[*next], step)
                && follows(rows, last, *next, settings.order)
                && rows[*next].time_micros <= start + settings.window_micros
        });
        let longest = next.map(|next| longest(rows, settings, start, next, step + 1));
        longest.max().unwrap_or(step)
    }
    let starts = (0..rows.len()).filter(|row| holds(&rows[*row], 0));
    let longest = starts.map(|row| longest(rows, settings, rows[row].time_micros, row, 1));
    longest.max().unwrap_or(0)
}

fn unordered(rows: &[FunnelRow], settings: &FunnelSettings) -> Vec<FunnelRow> {
    let mut best = Vec::new();
    let ends: BTreeSet<i64> = rows.iter().map(|row| row.time_micros).collect();
    for end in ends {
        let window: Vec<FunnelRow> = rows
            .iter()
            .filter(|row| end - settings.window_micros <= row.time_micros && row.time_micros <= end)
            .copied()
            .collect();
        let filled = fill(&window, settings.steps, 0, &mut Vec::new());
        if filled.len() > best.len() {
            best = filled.into_iter().map(|row| window[row]).collect();
        }
    }
    best
}

/// The rows, by time, that fill the most steps from `step` on beside those already used: of all ways the one with the latest rows.
fn fill(rows: &[FunnelRow], steps: usize, step: usize, used: &mut Vec<usize>) -> Vec<usize> {
    if step == steps {
        let mut filled = used.clone();
        filled.sort_by_key(|row| rows[*row].time_micros);
        return filled;
    }
    let latest = |filled: &Vec<usize>| {
        let times: Vec<i64> = filled.iter().rev().map(|row| rows[*row].time_micros).collect();
        (filled.len(), times)
    };
    let mut best = fill(rows, steps, step + 1, used);
    for row in 0..rows.len() {
        if holds(&rows[row], step) && !used.contains(&row) {
            used.push(row);
            let filled = fill(rows, steps, step + 1, used);
            used.pop();
            if latest(&filled) > latest(&best) {
                best = filled;
            }
        }
    }
    best
}

/// The answer from the results of all actors. Groups of one size come by value, "(none)" last.
pub fn answer(rows: &[FunnelRow], settings: &FunnelSettings, bucket_of: impl Fn(i64) -> Option<usize>) -> FunnelAnswer {
    let actors: BTreeSet<u32> = rows.iter().map(|row| row.actor).collect();
    let results: Vec<Vec<FunnelRow>> = actors
        .into_iter()
        .map(|actor| {
            let of_actor: Vec<FunnelRow> = rows.iter().filter(|row| row.actor == actor).copied().collect();
            result(&of_actor, settings)
        })
        .filter(|result| !result.is_empty())
        .collect();
    let whole_time = |result: &Vec<FunnelRow>| result[result.len() - 1].time_micros - result[0].time_micros;
    match &settings.view {
        FunnelView::Steps(None) => FunnelAnswer::Steps(vec![steps(Group::All, &results, settings.steps)]),
        FunnelView::Steps(Some((breakdown, attribution))) => {
            let mut by_value: BTreeMap<u32, Vec<Vec<FunnelRow>>> = BTreeMap::new();
            for result in results {
                let row = match attribution {
                    Attribution::FirstTouch => result.first(),
                    Attribution::LastTouch => result.last(),
                    Attribution::Step(step) => result.get(*step),
                };
                let value = row.map_or(NO_VALUE, |row| row.value);
                by_value.entry(value).or_default().push(result);
            }
            let mut groups: Vec<(u32, Vec<Vec<FunnelRow>>)> = by_value.into_iter().collect();
            groups.sort_by_key(|(value, results)| (-(results.len() as i64), *value));
            let rest: Vec<_> = groups.drain(groups.len().min(breakdown.limit)..).collect();
            let mut answer: Vec<FunnelGroup> = groups
                .iter()
                .map(|(value, results)| {
                    let group = if *value == NO_VALUE {
                        Group::NoValue
                    } else {
                        Group::Value(*value)
                    };
                    steps(group, results, settings.steps)
                })
                .collect();
            if !rest.is_empty() {
                let rest: Vec<_> = rest.into_iter().flat_map(|(_, results)| results).collect();
                answer.push(steps(Group::Other, &rest, settings.steps));
            }
            FunnelAnswer::Steps(answer)
        }
        FunnelView::TimeToConvert => {
            let converted = results.iter().filter(|result| result.len() == settings.steps);
            let times: Vec<i64> = converted.map(whole_time).collect();
            FunnelAnswer::TimeToConvert {
                bins: super::super::durations::histogram(&times),
                summary: summary_of(times),
            }
        }
        FunnelView::Trend(buckets) => {
            let trend = |bucket| {
                let entered = results
                    .iter()
                    .filter(|result| bucket_of(result[0].time_micros) == Some(bucket));
                let converted = entered.clone().filter(|result| result.len() == settings.steps).count();
                FunnelTrend {
                    entered: entered.clone().count() as u64,
                    converted: converted as u64,
                    conversion: part(converted, entered.count()),
                }
            };
            FunnelAnswer::Trend((0..buckets.count()).map(trend).collect())
        }
    }
}

fn steps(group: Group, results: &[Vec<FunnelRow>], steps: usize) -> FunnelGroup {
    let reached = |step: usize| results.iter().filter(|result| result.len() > step).count();
    let steps = (0..steps).map(|step| {
        let before = step.saturating_sub(1);
        let times = results
            .iter()
            .filter(|result| step > 0 && result.len() > step)
            .map(|result| result[step].time_micros - result[before].time_micros);
        FunnelStep {
            count: reached(step) as u64,
            conversion: part(reached(step), reached(0)),
            conversion_from_previous: part(reached(step), reached(before)),
            time: summary_of(times.collect()),
        }
    });
    FunnelGroup {
        group,
        steps: steps.collect(),
    }
}
