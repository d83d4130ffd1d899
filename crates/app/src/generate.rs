//! Demo traffic with a realistic shape: a shop with a blog, visited by people who come back, found through search, links and campaigns,
//! at the hours and on the weekdays at which people are awake. The same seed makes the same traffic.

pub mod catalogue;
pub mod curve;
pub mod dice;
pub mod visit;

use model::Timestamp;

use crate::import::ImportEvent;
use curve::Curve;
use dice::Dice;
use visit::{Visitor, visit_length};

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides everything that is random.
    pub seed: u64,
    /// People; most of them come back.
    pub users: u32,
    /// Events in all.
    pub events: u64,
    /// First instant.
    pub from: Timestamp,
    /// First instant after.
    pub until: Timestamp,
}

/// Events of one visit, in their order: one person, one address, one browser.
pub type Visit = Vec<ImportEvent>;

/// The visits of a plan, by their first event; exactly `plan.events` events.
pub struct Traffic {
    plan: Plan,
    curve: Curve,
    visits: u64,
    next: u64,
    events_left: u64,
    signed_up: SignedUp,
}

impl Traffic {
    /// Counts how many visits it takes; makes none yet.
    pub fn new(plan: Plan) -> Self {
        let mut visits = 0;
        let mut events = 0;
        while events < plan.events {
            events += visit_length(&mut Dice::of(plan.seed, "visit", visits));
            visits += 1;
        }
        Self {
            plan,
            curve: Curve::new(plan.from, plan.until),
            visits,
            next: 0,
            events_left: plan.events,
            signed_up: SignedUp::new(plan.users),
        }
    }
}

impl Iterator for Traffic {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        if self.events_left == 0 {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let mut dice = Dice::of(self.plan.seed, "visit", number);
        let length = visit_length(&mut dice);
        // Evenly spread over the curve's area, with a little disorder.
        let share = (number as f64 + dice.share()) / self.visits as f64;
        let visitor = Visitor::choose(self.plan.seed, self.plan.users, share, &mut dice);
        let start = self.curve.at(share);
        let mut events = visit::events(&visitor, length, start, &mut dice, &mut self.signed_up);
        events.truncate(usize::try_from(self.events_left).unwrap_or(usize::MAX));
        self.events_left -= events.len() as u64;
        let latest = self.plan.until.saturating_add_micros(-1);
        for (index, (at, event)) in events.iter_mut().enumerate() {
            event.timestamp = (*at).min(latest).to_string();
            event.event_id = format!("generated-{}-{}-{number}-{index}", self.plan.seed, self.plan.until);
        }
        Some(events.into_iter().map(|(_, event)| event).collect())
    }
}

/// Endless traffic for a given rate: events of many visits at once, one from each in turn. The caller sets their times.
pub struct LiveTraffic {
    seed: u64,
    run: u64,
    users: u32,
    next_visit: u64,
    open: Vec<std::vec::IntoIter<ImportEvent>>,
    signed_up: SignedUp,
    dice: Dice,
}

impl LiveTraffic {
    /// `visitors` people are there at any time. The people are those of `seed`; `run` decides their visits.
    pub fn new(seed: u64, run: u64, users: u32, visitors: usize) -> Self {
        let mut traffic = Self {
            seed,
            run,
            users,
            next_visit: 0,
            open: Vec::new(),
            signed_up: SignedUp::new(users),
            dice: Dice::of(run, "live", 0),
        };
        for _ in 0..visitors.max(1) {
            let visit = traffic.visit();
            traffic.open.push(visit);
        }
        traffic
    }

    fn visit(&mut self) -> std::vec::IntoIter<ImportEvent> {
        let mut dice = Dice::of(self.run, "visit", self.next_visit);
        self.next_visit += 1;
        let length = visit_length(&mut dice);
        let visitor = Visitor::choose(self.seed, self.users, 1.0, &mut dice);
        let events = visit::events(&visitor, length, Timestamp::default(), &mut dice, &mut self.signed_up);
        let events: Vec<ImportEvent> = events.into_iter().map(|(_, event)| event).collect();
        events.into_iter()
    }

    /// The next event, without time and id.
    pub fn event(&mut self) -> ImportEvent {
        loop {
            let index = usize::try_from(self.dice.below(self.open.len() as u64)).unwrap_or(0);
            if let Some(event) = self.open[index].next() {
                return event;
            }
            self.open[index] = self.visit();
        }
    }
}

/// Who has an account: one bit a person.
pub struct SignedUp(Vec<u64>);

impl SignedUp {
    fn new(users: u32) -> Self {
        Self(vec![0; users as usize / 64 + 1])
    }

    /// Whether this person has an account.
    pub fn has(&self, user: u32) -> bool {
        self.0[user as usize / 64] & (1 << (user % 64)) != 0
    }

    /// This person has one from now on.
    pub fn add(&mut self, user: u32) {
        self.0[user as usize / 64] |= 1 << (user % 64);
    }
}

#[cfg(test)]
mod tests;
