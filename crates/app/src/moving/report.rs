//! What a move found and did, for people and for scripts.

use std::{collections::BTreeSet, time::Duration};

use model::{ProjectId, limits::TRANSFER_DAYS_SHOWN_MAX};
use serde::Serialize;
use store::ProjectScope;

use super::{DayDigest, digest::Digests};
use crate::output::{Align, Output, duration, grouped};

/// A move, or a comparison of two stores.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether both hold the same.
    pub same: bool,
    /// Events that were added now.
    pub copied_events: u64,
    /// Events that an earlier call had moved.
    pub found_events: u64,
    /// Time for copying events.
    pub copying_ms: u64,
    /// Events that were added a second.
    pub copied_events_per_second: u64,
    /// Every project with its days.
    pub projects: Vec<ProjectPart>,
    /// Entries of the source's ledger.
    pub ledger_entries: usize,
    /// Queues of which the source has stored something.
    pub queues: usize,
    /// Projects, sources and people of the source.
    pub metadata_rows: usize,
    /// What differs beside events of the source's projects.
    pub differences: Vec<String>,
    /// Events of projects that were deleted: they are not moved.
    pub left_events: u64,
    /// Events that wait in the source's own queue, which is not moved.
    pub waiting_events: Option<u64>,
}

/// A project's events in both stores.
#[derive(Debug, Serialize)]
pub struct ProjectPart {
    /// Whose.
    pub id: ProjectId,
    /// As people call it.
    pub name: String,
    /// Whether all days are the same.
    pub same: bool,
    /// By UTC day of event time.
    pub days: Vec<DayPart>,
}

/// A day's events in both stores.
#[derive(Debug, Serialize)]
pub struct DayPart {
    /// The day.
    pub day: String,
    /// In the source.
    pub from: DayDigest,
    /// In the target.
    pub to: DayDigest,
}

impl DayPart {
    fn is_same(&self) -> bool {
        self.from == self.to
    }
}

impl ProjectPart {
    /// Compares day by day.
    pub fn new(scope: &ProjectScope, source: &Digests, target: &Digests) -> Self {
        let days = days(source, target);
        Self {
            id: scope.project_id(),
            name: scope.project().name.clone(),
            same: days.iter().all(DayPart::is_same),
            days,
        }
    }

    fn events(&self, side: impl Fn(&DayPart) -> DayDigest) -> DayDigest {
        let mut sum = DayDigest::default();
        for day in &self.days {
            let DayDigest { events, checksum } = side(day);
            sum.events += events;
            sum.checksum = sum.checksum.wrapping_add(checksum);
        }
        sum
    }
}

/// A day as text.
pub fn date(day: i32) -> String {
    let micros = i64::from(day) * 86_400_000_000;
    let midnight = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MIN);
    jiff::tz::TimeZone::UTC.to_datetime(midnight).date().to_string()
}

fn days(source: &Digests, target: &Digests) -> Vec<DayPart> {
    let days: BTreeSet<i32> = source.keys().chain(target.keys()).copied().collect();
    let digest = |digests: &Digests, day| digests.get(&day).copied().unwrap_or_default();
    days.into_iter()
        .map(|day| DayPart {
            day: date(day),
            from: digest(source, day),
            to: digest(target, day),
        })
        .collect()
}

/// The days that are not the same in both.
pub fn differing_days(source: &Digests, target: &Digests) -> Vec<DayPart> {
    let mut days = days(source, target);
    days.retain(|day| !day.is_same());
    days
}

impl Report {
    /// How long copying took.
    pub fn copying_took(&mut self, elapsed: Duration) {
        self.copying_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let seconds = elapsed.as_secs_f64().max(0.001);
        self.copied_events_per_second = (self.copied_events as f64 / seconds) as u64;
    }

    /// Decides whether both hold the same.
    pub fn finish(&mut self) {
        self.same = self.differences.is_empty() && self.projects.iter().all(|project| project.same);
    }

    /// For people.
    pub fn text(&self, output: Output, is_verification: bool) -> String {
        let mut text = String::new();
        if !is_verification {
            text.push_str(&self.copied_text());
        }
        text.push_str(&self.table(output));
        text.push('\n');
        for difference in &self.differences {
            text.push_str(&format!("{}\n", output.bad(difference)));
        }
        text.push_str(&format!(
            "{} projects, sources and people, {} entries of the ledger and {} queues compared as well.\n",
            grouped(self.metadata_rows as u64),
            grouped(self.ledger_entries as u64),
            grouped(self.queues as u64)
        ));
        if self.left_events > 0 {
            text.push_str(&format!(
                "{} events of deleted projects are not moved.\n",
                grouped(self.left_events)
            ));
        }
        text.push_str(&if self.same {
            output.good("Both hold the same.")
        } else {
            output.bad("They differ.")
        });
        text.push('\n');
        text
    }

    fn copied_text(&self) -> String {
        let seconds = self.copying_ms as f64 / 1_000.0;
        let found = match self.found_events {
            0 => String::new(),
            found => format!(" ({} were there from an earlier call)", grouped(found)),
        };
        format!(
            "Copied {} events in {}, {} events/s{found}.\n\n",
            grouped(self.copied_events),
            duration(seconds),
            grouped(self.copied_events_per_second)
        )
    }

    /// Every day where they are few, else a line for each project and for each day that differs.
    fn table(&self, output: Output) -> String {
        let days: usize = self.projects.iter().map(|project| project.days.len()).sum();
        let shows_all = days <= TRANSFER_DAYS_SHOWN_MAX;
        let mut rows = Vec::new();
        let mut left_out = 0;
        for project in &self.projects {
            for day in project.days.iter().filter(|day| shows_all || !day.is_same()) {
                if rows.len() < TRANSFER_DAYS_SHOWN_MAX {
                    rows.push(row(project, &day.day, day.from, day.to, output));
                } else {
                    left_out += 1;
                }
            }
            let (from, to) = (project.events(|day| day.from), project.events(|day| day.to));
            rows.push(row(project, "all days", from, to, output));
        }
        let head = [
            ("project", Align::Left),
            ("day (UTC)", Align::Left),
            ("events", Align::Right),
            ("in the target", Align::Right),
            ("checksum", Align::Left),
            ("in the target", Align::Left),
            ("", Align::Left),
        ];
        let mut text = output.table(&head, &rows);
        if left_out > 0 {
            text.push_str(&format!("and {left_out} more days that differ; --json has them all\n"));
        }
        text
    }
}

fn row(project: &ProjectPart, day: &str, from: DayDigest, to: DayDigest, output: Output) -> Vec<String> {
    // Half of it tells two days apart for people.
    let short = |checksum: u128| format!("{:016x}", (checksum >> 64) as u64);
    let verdict = if from == to {
        output.good("same")
    } else {
        output.bad("differs")
    };
    vec![
        project.name.clone(),
        day.to_owned(),
        grouped(from.events),
        grouped(to.events),
        short(from.checksum),
        short(to.checksum),
        verdict,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(days: &[(i32, u64, u128)]) -> Digests {
        let digest = |(day, events, checksum): &(i32, u64, u128)| {
            let (events, checksum) = (*events, *checksum);
            (*day, DayDigest { events, checksum })
        };
        days.iter().map(digest).collect()
    }

    #[test]
    fn days_that_only_one_side_has_differ() {
        let source = digests(&[(-719_162, 1, 7), (0, 2, 8), (1, 3, 9)]);
        let target = digests(&[(0, 2, 8), (1, 3, 10), (2_932_532, 1, 1)]);
        let days = differing_days(&source, &target);
        let told: Vec<(&str, u64, u64)> = days
            .iter()
            .map(|day| (day.day.as_str(), day.from.events, day.to.events))
            .collect();
        assert_eq!(told, [("0001-01-01", 1, 0), ("1970-01-02", 3, 3), ("9999-01-01", 0, 1)]);
        assert!(differing_days(&source, &source).is_empty());
    }
}
