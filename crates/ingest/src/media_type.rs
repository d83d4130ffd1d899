//! What `Content-Type` says about a body. The content decides where the header leaves it open.

use crate::error::shown;

/// What a body claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType<'a> {
    /// `application/json`, `text/json`, `application/*+json`.
    Json,
    /// One JSON value a line.
    Ndjson,
    /// Nothing that binds: no header, `text/plain` (sendBeacon), `application/octet-stream`, or what `curl -d` says of any body.
    Unspecified,
    /// Anything else.
    Other(&'a str),
}

impl<'a> MediaType<'a> {
    /// Reads the header. Parameters are ignored: JSON is UTF-8 whatever `charset` says (RFC 8259).
    pub fn of(content_type: Option<&'a str>) -> Self {
        let Some(content_type) = content_type else {
            return Self::Unspecified;
        };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/json") || is("text/json") || ends_with(essence, "+json") {
            Self::Json
        } else if [
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonlines",
        ]
        .into_iter()
        .any(is)
        {
            Self::Ndjson
        } else if essence.is_empty()
            || [
                "text/plain",
                "application/octet-stream",
                "application/x-www-form-urlencoded",
            ]
            .into_iter()
            .any(is)
        {
            Self::Unspecified
        } else {
            Self::Other(essence)
        }
    }

    /// For the sentence of an error.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Json => shown("application/json"),
            Self::Ndjson => shown("application/x-ndjson"),
            Self::Unspecified => shown("text/plain"),
            Self::Other(essence) => shown(essence),
        }
    }
}

fn ends_with(essence: &str, suffix: &str) -> bool {
    let start = essence.len().saturating_sub(suffix.len());
    essence.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart_without_regard_to_case_and_parameters() {
        use MediaType::{Json, Ndjson, Other, Unspecified};
        for (header, expected) in [
            (None, Unspecified),
            (Some(""), Unspecified),
            (Some("application/json"), Json),
            (Some("Application/JSON; charset=utf-8"), Json),
            (Some("application/vnd.events+json;v=1"), Json),
            (Some("+json"), Json),
            (Some("text/plain;charset=UTF-8"), Unspecified),
            (Some("application/octet-stream"), Unspecified),
            (Some("application/x-ndjson"), Ndjson),
            (Some("application/jsonl ; charset=utf-8"), Ndjson),
            (Some("application/x-www-form-urlencoded"), Unspecified),
            (Some("multipart/form-data; boundary=x"), Other("multipart/form-data")),
            (Some("jsön"), Other("jsön")),
            (Some("text/html"), Other("text/html")),
        ] {
            assert_eq!(MediaType::of(header), expected, "{header:?}");
        }
    }
}
