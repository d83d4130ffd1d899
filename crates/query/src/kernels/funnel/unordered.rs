//! The most steps that different events of one window fill, `unordered`.
//!
//! The sets of events that can fill different steps are the independent sets of a (transversal) matroid. So the best set, the one of latest
//! events, is kept event by event: a new event joins it when it can, and else takes the place of the oldest event with which it is at odds.
//! And the part of it that lies within a window is the best set of that window, so old events are dropped and never looked for again.

use model::limits::FUNNEL_STEPS_MAX;

use super::{FunnelSettings, Moment, Outcome};

/// Decides actors; what it keeps is of the actor at hand.
#[derive(Debug)]
pub(super) struct Unordered {
    steps: usize,
    window_micros: i64,
    /// The event that fills each step.
    filled: [Option<Moment>; FUNNEL_STEPS_MAX],
}

impl Unordered {
    pub(super) fn new(settings: &FunnelSettings) -> Self {
        Self {
            steps: settings.steps,
            window_micros: settings.window_micros,
            filled: [None; FUNNEL_STEPS_MAX],
        }
    }

    /// The result of the actor with these rows, by time.
    pub(super) fn decide(&mut self, rows: &[Moment], outcome: &mut Outcome) {
        self.filled.fill(None);
        for (number, row) in rows.iter().enumerate() {
            self.drop_before(row.time_micros.saturating_sub(self.window_micros));
            self.take(*row);
            let is_last_of_instant = rows
                .get(number + 1)
                .is_none_or(|next| next.time_micros != row.time_micros);
            if is_last_of_instant && self.filled.iter().flatten().count() > outcome.reached {
                self.record(outcome);
                if outcome.reached == self.steps {
                    return;
                }
            }
        }
    }

    fn drop_before(&mut self, time_micros: i64) {
        for filled in &mut self.filled[..self.steps] {
            if filled.is_some_and(|event| event.time_micros < time_micros) {
                *filled = None;
            }
        }
    }

    /// Takes an event that is not before any taken so far.
    fn take(&mut self, event: Moment) {
        // Steps that the event could fill if their events moved on, and from which step each was come to.
        let mut seen = event.steps;
        let mut came_from = [None; FUNNEL_STEPS_MAX];
        let mut waiting = event.steps;
        let mut oldest: Option<(i64, usize)> = None;
        while waiting != 0 {
            let step = waiting.trailing_zeros() as usize;
            waiting &= waiting - 1;
            let Some(filling) = self.filled[step] else {
                self.shift(step, &came_from, event);
                return;
            };
            if oldest.is_none_or(|(time_micros, _)| filling.time_micros < time_micros) {
                oldest = Some((filling.time_micros, step));
            }
            let mut new = filling.steps & !seen;
            seen |= new;
            waiting |= new;
            while new != 0 {
                came_from[new.trailing_zeros() as usize] = Some(step);
                new &= new - 1;
            }
        }
        if let Some((time_micros, step)) = oldest
            && time_micros < event.time_micros
        {
            self.shift(step, &came_from, event);
        }
    }

    /// Fills `step` with the event of the step it was come to from, and so on; the first of them with `event`.
    fn shift(&mut self, mut step: usize, came_from: &[Option<usize>; FUNNEL_STEPS_MAX], event: Moment) {
        while let Some(from) = came_from[step] {
            self.filled[step] = self.filled[from];
            step = from;
        }
        self.filled[step] = Some(event);
    }

    fn record(&self, outcome: &mut Outcome) {
        let mut events = [Moment {
            time_micros: i64::MAX,
            steps: 0,
            exclusions: 0,
            value: 0,
        }; FUNNEL_STEPS_MAX];
        let mut reached = 0;
        for event in self.filled.iter().flatten() {
            events[reached] = *event;
            reached += 1;
        }
        let events = &mut events[..reached];
        events.sort_by_key(|event| event.time_micros);
        outcome.reached = reached;
        for (step, event) in events.iter().enumerate() {
            outcome.times_micros[step] = event.time_micros;
            outcome.values[step] = event.value;
        }
    }
}
