//! Rules for JSON text beyond its grammar, so that nothing is accepted that a store refuses later.
//!
//! - `\u0000` and unpaired surrogates (half an emoji cut by a client) become U+FFFD: PostgreSQL and DuckDB refuse both,
//!   and losing an event over one character would serve nobody.
//! - Numbers must be finite as 64-bit floats and of sane length; their text is never changed.
//! - `properties` nests at most [`limits::JSON_DEPTH_MAX`] deep.

use std::{borrow::Cow, ops::Range};

use model::limits;

use crate::error::shown;

const REPLACEMENT: &[u8; 6] = br"\ufffd";
const ESCAPE_BYTES: usize = REPLACEMENT.len();

/// The body without byte order mark and with every escape that no store keeps replaced, in place: all have six bytes.
/// Escapes stand only inside strings of valid JSON, so no parsing is needed; what is malformed is left to the parser.
pub(crate) fn storable(body: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let mut body = match body {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)),
        Cow::Owned(mut bytes) => {
            if bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            Cow::Owned(bytes)
        }
    };
    let mut from = 0;
    while let Some(found) = next_unstorable(&body, from) {
        body.to_mut()[found.clone()].copy_from_slice(REPLACEMENT);
        from = found.end;
    }
    body
}

/// The next escape at or after `from` that stands for NUL or for half a surrogate pair.
fn next_unstorable(body: &[u8], mut from: usize) -> Option<Range<usize>> {
    while let Some(offset) = memchr::memchr(b'\\', body.get(from..)?) {
        let at = from + offset;
        from = match code_unit(body, at) {
            None => at + 2,
            Some(0) => return Some(at..at + ESCAPE_BYTES),
            Some(0xd800..=0xdbff) if matches!(code_unit(body, at + ESCAPE_BYTES), Some(0xdc00..=0xdfff)) => {
                at + 2 * ESCAPE_BYTES
            }
            Some(0xd800..=0xdfff) => return Some(at..at + ESCAPE_BYTES),
            Some(_) => at + ESCAPE_BYTES,
        };
    }
    None
}

/// The UTF-16 unit of the `\uXXXX` escape at `at`, if there is one.
fn code_unit(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + ESCAPE_BYTES)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

/// What a JSON text is, in words that fit behind "but is".
pub(crate) fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Checks `raw`, which is valid JSON, as `properties`, and leaves out the white space between its tokens;
/// everything else stays as the client wrote it. The error is a sentence for the client.
pub(crate) fn properties(raw: &str) -> Result<Cow<'_, str>, String> {
    if !raw.starts_with('{') {
        return Err(format!("Must be an object, but is {}.", kind(raw)));
    }
    let bytes = raw.as_bytes();
    let (mut at, mut depth, mut spaces) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                check_number(&raw[at..end])?;
                at = end;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > limits::JSON_DEPTH_MAX {
                    return Err(format!("Must not nest deeper than {} levels.", limits::JSON_DEPTH_MAX));
                }
            }
            b'}' | b']' => depth -= 1,
            b' ' | b'\t' | b'\n' | b'\r' => spaces += 1,
            _ => {}
        }
        at += 1;
    }
    let compact_bytes = raw.len() - spaces;
    if compact_bytes > limits::PROPERTIES_BYTES_MAX {
        return Err(format!(
            "Must be at most {} bytes as JSON, but is {compact_bytes}.",
            limits::PROPERTIES_BYTES_MAX
        ));
    }
    Ok(match spaces {
        0 => Cow::Borrowed(raw),
        _ => Cow::Owned(without_spaces(raw, compact_bytes)),
    })
}

/// Index of the quote that ends the string which starts at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number_end(bytes: &[u8], at: usize) -> usize {
    let digits = bytes[at..]
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    at + digits.count()
}

fn check_number(number: &str) -> Result<(), String> {
    // Without exponent and this short, nothing can be out of range.
    const ALWAYS_GOOD_BYTES: usize = 300;
    let exponent = number.find(['e', 'E']).map(|at| &number[at + 1..]);
    if exponent.is_none() && number.len() <= ALWAYS_GOOD_BYTES {
        return Ok(());
    }
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent
            .parse::<i32>()
            .is_ok_and(|exponent| exponent >= limits::JSON_NUMBER_EXPONENT_MIN)
    });
    let is_finite = || number.parse::<f64>().is_ok_and(f64::is_finite);
    if number.len() <= limits::JSON_NUMBER_BYTES_MAX && exponent_fits && is_finite() {
        return Ok(());
    }
    Err(format!("Has a number that cannot be stored: {}.", shown(number)))
}

fn without_spaces(raw: &str, compact_bytes: usize) -> String {
    let bytes = raw.as_bytes();
    let mut compact = String::with_capacity(compact_bytes);
    let (mut at, mut kept_from) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b' ' | b'\t' | b'\n' | b'\r' => {
                compact.push_str(&raw[kept_from..at]);
                kept_from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    compact.push_str(&raw[kept_from..]);
    compact
}

#[cfg(test)]
mod tests;
