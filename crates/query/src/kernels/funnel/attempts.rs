//! The attempts of one actor, `ordered` and `strict` (the rules are in the parent module).
//!
//! Attempts that begin later take no step earlier, so all of them together pass over the rows once for each step: for each step the kernel
//! keeps where it was last taken and from where, and what follows from the same place is not looked for again.

use model::limits::FUNNEL_STEPS_MAX;

use super::{Exclusion, FunnelOrder, FunnelSettings, Moment, Outcome};

/// The instant at which a step is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The first row of the instant.
    begin: usize,
    /// The row after its last one.
    end: usize,
    /// The first row that can fill the step.
    holder: usize,
    /// Whether it is the only one.
    is_sole: bool,
}

/// A step of the attempt at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    place: Place,
    /// Where the step before it was taken.
    source: Place,
    /// The latest place that was found by looking at later instants.
    later: Option<Place>,
}

/// Decides actors; what it keeps is of the actor at hand.
#[derive(Debug)]
pub(super) struct Attempts {
    steps: usize,
    is_strict: bool,
    window_micros: i64,
    exclusions: Vec<Exclusion>,
    taken: [Taken; FUNNEL_STEPS_MAX],
    /// How many of `taken` are of this actor.
    known: usize,
    /// Steps that attempts which begin here or later can take at all.
    reachable: usize,
    /// For each exclusion the row from which on it is looked for.
    next_excluded: Vec<usize>,
}

impl Attempts {
    pub(super) fn new(settings: &FunnelSettings) -> Self {
        Self {
            steps: settings.steps,
            is_strict: settings.order == FunnelOrder::Strict,
            window_micros: settings.window_micros,
            exclusions: settings.exclusions.clone(),
            taken: [Taken::default(); FUNNEL_STEPS_MAX],
            known: 0,
            reachable: 0,
            next_excluded: vec![0; settings.exclusions.len()],
        }
    }

    /// The result of the actor with these rows, by time.
    pub(super) fn decide(&mut self, rows: &[Moment], outcome: &mut Outcome) {
        self.known = 0;
        self.reachable = self.steps;
        self.next_excluded.fill(0);
        for taken in &mut self.taken[..self.steps] {
            taken.later = None;
        }
        let mut at = 0;
        while let Some(offset) = rows[at..].iter().position(|row| row.steps & 1 != 0) {
            let begin = instant_begin(rows, at, at + offset);
            let Some(start) = place(rows, begin, 0, None) else {
                return; // There is one: the row just found.
            };
            at = start.end;
            let taken = self.take_steps(rows, start);
            let deadline_micros = rows[start.holder].time_micros.saturating_add(self.window_micros);
            let reached = 1 + self.taken[1..taken]
                .iter()
                .take_while(|step| rows[step.place.holder].time_micros <= deadline_micros)
                .count();
            let completed_micros = self.time(rows, reached - 1);
            if reached < outcome.reached {
                continue;
            }
            if reached == outcome.reached && completed_micros > outcome.times_micros[reached - 1] {
                if reached == self.reachable {
                    return; // No later attempt gets further, or there sooner.
                }
                continue;
            }
            if !self.is_spoilt(rows, reached, deadline_micros) {
                self.record(rows, reached, outcome);
            }
        }
    }

    /// Takes as many steps as there are from `start` on, whenever they come; returns how many.
    fn take_steps(&mut self, rows: &[Moment], start: Place) -> usize {
        self.taken[0].place = start;
        for step in 1..self.reachable {
            let source = self.taken[step - 1].place;
            if step < self.known && self.taken[step].source == source && !self.is_strict {
                return self.reachable; // The rest follows as it did before.
            }
            let Some(place) = self.next(rows, step, source) else {
                if !self.is_strict {
                    self.reachable = step;
                }
                return step;
            };
            self.taken[step].place = place;
            self.taken[step].source = source;
            self.known = self.known.max(step + 1);
        }
        self.reachable
    }

    /// Where `step` is taken after the step before it was taken at `source`.
    fn next(&mut self, rows: &[Moment], step: usize, source: Place) -> Option<Place> {
        if source.end - source.begin > 1 {
            let used = source.is_sole.then_some(source.holder);
            let same_instant = place(rows, source.begin, step, used);
            if same_instant.is_some() {
                return same_instant;
            }
        }
        if self.is_strict {
            return (source.end < rows.len())
                .then(|| place(rows, source.end, step, None))
                .flatten();
        }
        let mut from = source.end;
        if let Some(later) = self.taken[step].later {
            if later.begin >= source.end {
                return Some(later);
            }
            from = from.max(later.end);
        }
        let offset = rows[from..].iter().position(|row| row.steps & (1 << step) != 0)?;
        let later = place(rows, instant_begin(rows, from, from + offset), step, None);
        self.taken[step].later = later;
        later
    }

    fn time(&self, rows: &[Moment], step: usize) -> i64 {
        rows[self.taken[step].place.holder].time_micros
    }

    /// Whether an excluded event lies where it must not.
    fn is_spoilt(&mut self, rows: &[Moment], reached: usize, deadline_micros: i64) -> bool {
        for number in 0..self.exclusions.len() {
            let exclusion = self.exclusions[number];
            if exclusion.from_step >= reached {
                continue;
            }
            let after_micros = self.time(rows, exclusion.from_step);
            let next = &mut self.next_excluded[number];
            let is_it = |row: &Moment| row.exclusions & (1 << number) != 0 && row.time_micros > after_micros;
            *next += rows[*next..].iter().take_while(|row| !is_it(row)).count();
            let Some(excluded) = rows.get(*next) else {
                continue;
            };
            let is_before_the_end = if exclusion.to_step < reached {
                excluded.time_micros < self.time(rows, exclusion.to_step)
            } else {
                excluded.time_micros <= deadline_micros
            };
            if is_before_the_end {
                return true;
            }
        }
        false
    }

    fn record(&self, rows: &[Moment], reached: usize, outcome: &mut Outcome) {
        outcome.reached = reached;
        for (step, taken) in self.taken[..reached].iter().enumerate() {
            let row = rows[taken.place.holder];
            outcome.times_micros[step] = row.time_micros;
            outcome.values[step] = row.value;
        }
    }
}

/// The first row of the instant of `row`, which is not before `from`.
fn instant_begin(rows: &[Moment], from: usize, row: usize) -> usize {
    let time_micros = rows[row].time_micros;
    let mut begin = row;
    while begin > from && rows[begin - 1].time_micros == time_micros {
        begin -= 1;
    }
    begin
}

/// The instant that begins at row `begin`, when one of its rows other than `used` can fill `step`.
fn place(rows: &[Moment], begin: usize, step: usize, used: Option<usize>) -> Option<Place> {
    let time_micros = rows[begin].time_micros;
    let mut holder = None;
    let mut is_sole = true;
    let mut end = begin;
    while let Some(row) = rows.get(end).filter(|row| row.time_micros == time_micros) {
        if row.steps & (1 << step) != 0 && used != Some(end) {
            is_sole = holder.is_none();
            holder = holder.or(Some(end));
        }
        end += 1;
    }
    holder.map(|holder| Place {
        begin,
        end,
        holder,
        is_sole,
    })
}
