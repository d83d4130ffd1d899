//! What people and scripts read on standard output.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Where and how a command answers.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// One JSON document instead of text.
    pub json: bool,
    /// Colours, by escape sequences.
    pub colours: bool,
}

/// Why standard output took nothing.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Whoever read it has gone (`| head`): no failure.
    #[error("standard output is closed")]
    Closed,
    /// It failed.
    #[error("cannot write to standard output: {0}")]
    Failed(io::Error),
    /// The document cannot be written as JSON.
    #[error("cannot write the answer as JSON: {0}")]
    Document(#[from] serde_json::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Failed(error)
        }
    }
}

/// Side of a table's column on which its cells are cut to size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

impl Output {
    /// Text with colours when standard output is a terminal and `NO_COLOR` is not set; JSON when asked.
    pub fn new(json: bool) -> Self {
        let colours =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !json;
        Self { json, colours }
    }

    /// Writes the document with `--json`, else the text.
    pub fn answer(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), OutputError> {
        if self.json {
            let mut line = serde_json::to_string_pretty(document)?;
            line.push('\n');
            write_out(&line)
        } else {
            let mut text = text();
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            write_out(&text)
        }
    }

    /// `text` in green.
    pub fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// `text` in red.
    pub fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    /// `text` in bold.
    pub fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// `text` in grey.
    pub fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Whether progress is shown: standard error is a terminal and nobody asked for JSON.
    pub fn shows_progress(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A table: head in bold, columns two spaces apart, no trailing blanks.
    pub fn table(&self, head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
        let width = |column: usize| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| shown_width(cell))
                .chain([head[column].0.chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let padded: Vec<String> = cells
                .zip(head)
                .zip(&widths)
                .map(|((cell, (_, align)), width)| padded(&cell, *align, *width))
                .collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let mut text = line(&mut head.iter().map(|(name, _)| self.strong(name)));
        for row in rows {
            text.push_str(&line(&mut row.iter().cloned()));
        }
        text
    }
}

fn padded(cell: &str, align: Align, width: usize) -> String {
    let blanks = " ".repeat(width.saturating_sub(shown_width(cell)));
    match align {
        Align::Left => format!("{cell}{blanks}"),
        Align::Right => format!("{blanks}{cell}"),
    }
}

/// Characters that a terminal shows of `text`: escape sequences of [`Output::paint`] take no room.
fn shown_width(text: &str) -> usize {
    let mut width = 0;
    let mut inside_escape = false;
    for character in text.chars() {
        match (inside_escape, character) {
            (true, 'm') => inside_escape = false,
            (true, _) => {}
            (false, '\u{1b}') => inside_escape = true,
            (false, _) => width += 1,
        }
    }
    width
}

/// Writes to standard output, at once.
pub fn write_out(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a binary unit: `3.4 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Seconds for people: `0.42 s`, `1 m 32 s`, `2 h 05 m`.
pub fn duration(seconds: f64) -> String {
    // Rounding before the choice, so that 59.999 is not shown as 60.00 s.
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.2} s"),
        60..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests;
