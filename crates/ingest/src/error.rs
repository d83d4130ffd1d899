//! What can be wrong with a request, and with an event in it.

use model::FieldErrors;

/// Which group of answers a [`RequestError`] belongs to; the server gives each its status (contract: 400, 413, 415).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestErrorKind {
    /// The body breaks a rule.
    Invalid,
    /// The body, or the number of its events, is over a limit.
    TooLarge,
    /// Its type or encoding is none that is read here.
    UnsupportedType,
}

/// Why no event of a request could be read. The text is made for the client: it says what, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not JSON, or not UTF-8.
    #[error("The body is not valid JSON: {reason}.")]
    InvalidJson {
        /// What and where (line and column).
        reason: String,
    },
    /// JSON of the wrong shape.
    #[error("{0}")]
    InvalidBody(String),
    /// JSON whose outer fields break their rules.
    #[error("Invalid fields in the body.")]
    InvalidFields(FieldErrors),
    /// No event at all.
    #[error("The body has no events.")]
    Empty,
    /// Over the limit after decoding.
    #[error("The body is larger than {limit} bytes after decoding; send smaller batches.")]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// Too many events in a batch.
    #[error("The batch has more than {limit} events; send it in parts.")]
    TooManyEvents {
        /// Events.
        limit: usize,
    },
    /// A `Content-Type` that is not read here.
    #[error("Content-Type {found} is not supported here; use {supported}.")]
    UnsupportedMediaType {
        /// As sent, made safe to show.
        found: String,
        /// What to use.
        supported: &'static str,
    },
    /// A `Content-Encoding` that is not read here.
    #[error("Content-Encoding {found} is not supported; use one of gzip, deflate, br, zstd, or none.")]
    UnsupportedEncoding {
        /// As sent, made safe to show.
        found: String,
    },
    /// The bytes are not what `Content-Encoding` says.
    #[error("The body could not be decoded as {encoding}: {reason}.")]
    BrokenEncoding {
        /// Name of the encoding.
        encoding: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl RequestError {
    /// The contract's `code`; stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson { .. } => "invalid_json",
            Self::InvalidBody(_) | Self::InvalidFields(_) => "invalid_body",
            Self::Empty => "empty_body",
            Self::TooLarge { .. } => "body_too_large",
            Self::TooManyEvents { .. } => "too_many_events",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::UnsupportedEncoding { .. } => "unsupported_encoding",
            Self::BrokenEncoding { .. } => "broken_encoding",
        }
    }

    /// Its group.
    pub fn kind(&self) -> RequestErrorKind {
        match self {
            Self::InvalidJson { .. }
            | Self::InvalidBody(_)
            | Self::InvalidFields(_)
            | Self::Empty
            | Self::BrokenEncoding { .. } => RequestErrorKind::Invalid,
            Self::TooLarge { .. } | Self::TooManyEvents { .. } => RequestErrorKind::TooLarge,
            Self::UnsupportedMediaType { .. } | Self::UnsupportedEncoding { .. } => RequestErrorKind::UnsupportedType,
        }
    }

    /// The contract's `details`, where fields are at fault.
    pub fn details(&self) -> Option<&FieldErrors> {
        match self {
            Self::InvalidFields(errors) => Some(errors),
            _ => None,
        }
    }
}

/// A client's text, cut and escaped so that it can stand in a sentence.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_text_is_cut_and_escaped() {
        assert_eq!(shown("text/html"), "\"text/html\"");
        assert_eq!(shown("a\u{1b}[31m\"\n"), r#""a\u{1b}[31m\"\n""#);
        assert_eq!(shown(&"x".repeat(61)), format!("\"{}…\"", "x".repeat(60)));
    }
}
