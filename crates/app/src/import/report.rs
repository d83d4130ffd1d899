//! What an import did.

use serde::Serialize;

use crate::output::{Output, duration, grouped};

/// Examples kept of each reason.
const EXAMPLES_MAX: usize = 3;
/// Reasons told apart; further ones share the last entry.
const REASONS_MAX: usize = 50;
const OTHER_REASONS: &str = "other reasons";

/// The result of an import, as `--json` prints it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Records read: lines, or CSV records.
    pub records: u64,
    /// Durable in the queue.
    pub accepted: u64,
    /// New in the store.
    pub new: u64,
    /// In the store already.
    pub duplicates: u64,
    /// Set aside because the store refuses them.
    pub dead_lettered: u64,
    /// Accepted and not yet stored.
    pub waiting: u64,
    /// Not accepted.
    pub refused: u64,
    /// Why, most frequent first.
    pub refusals: Vec<Refused>,
    /// Fields that events have no place for: left out.
    pub ignored_fields: Vec<String>,
    /// Events older than the project keeps events: the next cleanup removes them.
    pub past_retention: u64,
    /// Events of the same project that came from elsewhere meanwhile; `new` and `duplicates` may hold them.
    pub other_events: u64,
    /// Time it took.
    pub elapsed_ms: u64,
    /// Accepted and stored per second.
    pub events_per_second: u64,
}

/// Records refused for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// Where the first ones are: `FILE:LINE`.
    pub examples: Vec<String>,
}

impl Report {
    /// Counts a record that was refused.
    pub fn refuse(&mut self, reason: &str, file: &str, line: u64) {
        self.refused += 1;
        let known = self.refusals.iter().position(|refused| refused.reason == reason);
        let index = known.unwrap_or_else(|| {
            let reason = if self.refusals.len() < REASONS_MAX {
                reason
            } else {
                OTHER_REASONS
            };
            let other = self.refusals.iter().position(|refused| refused.reason == reason);
            other.unwrap_or_else(|| {
                self.refusals.push(Refused {
                    reason: reason.to_owned(),
                    ..Refused::default()
                });
                self.refusals.len() - 1
            })
        });
        let refused = &mut self.refusals[index];
        refused.count += 1;
        if refused.examples.len() < EXAMPLES_MAX {
            refused.examples.push(format!("{file}:{line}"));
        }
    }

    /// Sets what follows from the counts, once they are final.
    pub fn finish(&mut self, elapsed: std::time::Duration) {
        self.refusals.sort_by_key(|refused| std::cmp::Reverse(refused.count));
        self.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let seconds = elapsed.as_secs_f64();
        let settled = self.accepted - self.waiting.min(self.accepted);
        self.events_per_second = if seconds > 0.0 {
            (settled as f64 / seconds) as u64
        } else {
            0
        };
    }

    /// For people.
    pub fn text(&self, output: Output) -> String {
        let mut text = format!(
            "Read {} records in {} ({} events/s).\n  new            {:>12}\n  duplicates     {:>12}\n",
            grouped(self.records),
            duration(self.elapsed_ms as f64 / 1_000.0),
            grouped(self.events_per_second),
            grouped(self.new),
            grouped(self.duplicates),
        );
        for (name, count) in [("dead letters", self.dead_lettered), ("still waiting", self.waiting)] {
            if count > 0 {
                text.push_str(&format!("  {name:<14} {:>12}\n", grouped(count)));
            }
        }
        text.push_str(&format!("  refused        {:>12}\n", grouped(self.refused)));
        for refused in &self.refusals {
            text.push_str(&format!(
                "    {:>12}  {}  {}\n",
                grouped(refused.count),
                refused.reason,
                output.faint(&refused.examples.join(", "))
            ));
        }
        if !self.ignored_fields.is_empty() {
            let names = self.ignored_fields.join(", ");
            text.push_str(&format!(
                "Left out, because events have no such fields: {names}. Put them into properties to keep them.\n"
            ));
        }
        if self.past_retention > 0 {
            let count = grouped(self.past_retention);
            text.push_str(&format!(
                "{} {count} events are older than the project keeps events: the next cleanup removes them, unless you say\n\
                 `simple-analytics project update ID --retention-days none` (or more days) first.\n",
                output.bad("Attention:")
            ));
        }
        if self.other_events > 0 {
            let count = grouped(self.other_events);
            text.push_str(&format!(
                "Meanwhile the project took {count} other events; they may be counted above.\n"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_grouped_and_bounded() {
        let mut report = Report::default();
        for line in 1..=5 {
            report.refuse("no time", "a.log", line);
        }
        for number in 0..100 {
            report.refuse(&format!("reason {number}"), "b.log", number);
        }
        report.finish(std::time::Duration::from_secs(1));
        assert_eq!(report.refused, 105);
        assert_eq!(report.refusals.len(), REASONS_MAX + 1);
        assert_eq!(report.refusals[0].reason, OTHER_REASONS);
        assert_eq!(report.refusals[0].count, 51);
        let time = Refused {
            reason: "no time".to_owned(),
            count: 5,
            examples: vec!["a.log:1".to_owned(), "a.log:2".to_owned(), "a.log:3".to_owned()],
        };
        assert_eq!(report.refusals[1], time);
        assert_eq!(report.refusals.iter().map(|refused| refused.count).sum::<u64>(), 105);
    }
}
