//! Keeps text out that stores would take as JSON and then fail to read: one such row would fail every query that looks into properties.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// `properties` as they can be stored. `None`: they are no JSON object.
///
/// An escape of half a UTF-16 pair (`\ud83d` alone: what browsers send for a string cut inside an emoji) is JSON by the grammar, but no
/// text; it becomes the replacement character, as it does when such a string is encoded.
pub fn storable(properties: &str) -> Option<Cow<'_, str>> {
    if !properties.trim_start().starts_with('{') || serde_json::from_str::<IgnoredAny>(properties).is_err() {
        return None;
    }
    if !properties.contains("\\u") {
        return Some(Cow::Borrowed(properties));
    }
    Some(without_lone_surrogates(properties))
}

/// Replaces halves of pairs in valid JSON text.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut fixed = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(offset) = json[at..].find('\\') {
        let escape = at + offset;
        let Some(unit) = utf16_unit(bytes, escape) else {
            // A backslash and what it escapes.
            at = escape + 2;
            continue;
        };
        at = escape + 6;
        if (0xd800..0xdc00).contains(&unit) && matches!(utf16_unit(bytes, at), Some(0xdc00..0xe000)) {
            at += 6;
        } else if (0xd800..0xe000).contains(&unit) {
            fixed.push_str(&json[kept..escape]);
            fixed.push_str("\\ufffd");
            kept = at;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(json);
    }
    fixed.push_str(&json[kept..]);
    Cow::Owned(fixed)
}

/// The code unit of the escape `\uXXXX` that starts at `at`.
fn utf16_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_pairs_are_replaced_and_nothing_else() {
        for (given, stored) in [
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"x\ud83dy\ude00z"}"#, r#"{"a":"x\ufffdy\ufffdz"}"#),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#),
            (
                r#"{"a":"\uD83D\uDE00 \u00e9 \u0000"}"#,
                r#"{"a":"\uD83D\uDE00 \u00e9 \u0000"}"#,
            ),
            (r#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (r#"{"a":"\\\ud83d\"é"}"#, r#"{"a":"\\\ufffd\"é"}"#),
            (r#"{"\udc00":1}"#, r#"{"\ufffd":1}"#),
            (r#" {"a":1.50}"#, r#" {"a":1.50}"#),
        ] {
            assert_eq!(storable(given).as_deref(), Some(stored), "{given}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_stored() {
        for given in [
            "",
            "{",
            "[]",
            "null",
            "{\"a\":}",
            "{} {}",
            "{\"a\":\"\u{0}\"}",
            "{\"a\":1,}",
            "{\"a\":NaN}",
        ] {
            assert_eq!(storable(given), None, "{given:?}");
        }
    }
}
