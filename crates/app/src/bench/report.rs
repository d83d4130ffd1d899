//! What was measured, and whether it meets its bar.

use serde::Serialize;

use super::stats::median;
use crate::output::{Align, Output};

/// What a measure must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// Not less.
    AtLeast(f64),
    /// Not more.
    AtMost(f64),
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What it is.
    pub what: String,
    /// The median of the rounds.
    pub value: f64,
    /// Its unit; empty for ratios.
    pub unit: &'static str,
    /// Each round.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<f64>,
    /// What it must reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar: Option<Bar>,
    /// Whether it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

impl Measure {
    /// The median of rounds.
    pub fn of_rounds(what: &str, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self {
            what: what.to_owned(),
            value: median(&rounds),
            unit,
            rounds,
            bar: None,
            met: None,
        }
    }

    /// A single number.
    pub fn of(what: &str, unit: &'static str, value: f64) -> Self {
        Self {
            rounds: Vec::new(),
            ..Self::of_rounds(what, unit, vec![value])
        }
    }

    /// With what it must reach.
    pub fn with_bar(mut self, bar: Bar) -> Self {
        self.met = Some(bar.is_met(self.value));
        self.bar = Some(bar);
        self
    }
}

/// A part of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// What was done.
    pub title: String,
    /// What came out.
    pub measures: Vec<Measure>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether every bar is met.
    pub met: bool,
    /// What to know before reading the numbers.
    pub notes: Vec<String>,
    /// The parts.
    pub sections: Vec<Section>,
}

impl Report {
    /// Puts the parts together.
    pub fn new(notes: Vec<String>, sections: Vec<Section>) -> Self {
        let mut measures = sections.iter().flat_map(|section| &section.measures);
        Self {
            met: measures.all(|measure| measure.met != Some(false)),
            notes,
            sections,
        }
    }

    /// For people.
    pub fn text(&self, output: Output) -> String {
        let mut text = String::new();
        for note in &self.notes {
            text.push_str(&format!("{}\n", output.faint(note)));
        }
        for section in &self.sections {
            text.push_str(&format!("\n{}\n", output.strong(&section.title)));
            let rows: Vec<Vec<String>> = section.measures.iter().map(|measure| row(measure, output)).collect();
            let head = [
                ("", Align::Left),
                ("median", Align::Right),
                ("bar", Align::Left),
                ("", Align::Left),
                ("rounds", Align::Left),
            ];
            text.push_str(&output.table(&head, &rows));
        }
        let verdict = if self.met {
            output.good("Every bar is met.")
        } else {
            output.bad("Not every bar is met.")
        };
        text.push_str(&format!("\n{verdict}\n"));
        text
    }
}

fn row(measure: &Measure, output: Output) -> Vec<String> {
    let with_unit = |value: f64| format!("{} {}", number(value), measure.unit).trim_end().to_owned();
    let bar = match measure.bar {
        Some(Bar::AtLeast(least)) => format!("≥ {}", with_unit(least)),
        Some(Bar::AtMost(most)) => format!("≤ {}", with_unit(most)),
        None => String::new(),
    };
    let mark = match measure.met {
        Some(true) => output.good("✓"),
        Some(false) => output.bad("✗"),
        None => String::new(),
    };
    let rounds: Vec<String> = measure.rounds.iter().map(|value| number(*value)).collect();
    vec![
        format!("  {}", measure.what),
        with_unit(measure.value),
        bar,
        mark,
        output.faint(&rounds.join("  ")),
    ]
}

/// A number with as many digits as tell something.
fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        let whole = crate::output::grouped(value.abs().round() as u64);
        if value < 0.0 { format!("-{whole}") } else { whole }
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_decide_and_one_that_is_missed_decides_all() {
        let fast = Measure::of_rounds("ratio", "", vec![0.7, 0.5, 0.6]).with_bar(Bar::AtLeast(0.6));
        let slow = Measure::of("p99", "ms", 21.0).with_bar(Bar::AtMost(20.0));
        let plain = Measure::of("ours", "requests/s", 12_345.6);
        let section = |measures| Section {
            title: "Single events".to_owned(),
            measures,
        };
        assert!(Report::new(Vec::new(), vec![section(vec![fast.clone(), plain.clone()])]).met);
        let report = Report::new(vec!["note".to_owned()], vec![section(vec![fast, slow, plain])]);
        assert!(!report.met);
        let output = Output {
            json: false,
            colours: false,
        };
        let expected = "note\n\nSingle events\n                    median  bar         rounds\n  \
            ratio               0.60  ≥ 0.60   ✓  0.70  0.50  0.60\n  \
            p99             21.00 ms  ≤ 20.00 ms  ✗\n  \
            ours   12,346 requests/s\n\nNot every bar is met.\n";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&report.text(output)), squeeze(expected));
    }
}
