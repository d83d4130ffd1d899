//! Every wire format reads its recorded requests as expected. A format without the full set of fixtures fails here.
//!
//! A fixture is `tests/fixtures/<format>/<name>.json`:
//! - `content_type`, `content_encoding`: the headers, `null` for none;
//! - `body`: `{"text"}`, `{"base64"}` (compressed ones were made by gzip, zstd and Node.js, not by the crates that read them), or
//!   `{"before", "repeat", "times", "after"}`;
//! - `expected`: `{"candidates": […]}` or `{"error": {code, message, details?}}`. Ids that the server made are left out.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ingest::{Candidate, Endpoint, FORMATS, RawRequest, RequestError, decode};
use model::Deduplication;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::context;

/// What every format must have been tried with.
const REQUIRED: [&str; 8] = ["plain", "gzip", "deflate", "br", "zstd", "empty", "broken", "oversize"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    content_type: Option<String>,
    content_encoding: Option<String>,
    body: Body,
    expected: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Text {
        text: String,
    },
    Base64 {
        base64: String,
    },
    Repeated {
        before: String,
        repeat: String,
        times: usize,
        after: String,
    },
}

impl Body {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Text { text } => text.into_bytes(),
            Self::Base64 { base64 } => STANDARD.decode(base64).unwrap(),
            Self::Repeated {
                before,
                repeat,
                times,
                after,
            } => [before, repeat.repeat(times), after].concat().into_bytes(),
        }
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| PathBuf::from(entry.unwrap().file_name()))
        .map(|name| name.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn told(result: Result<Vec<Candidate>, RequestError>) -> Value {
    match result {
        Ok(candidates) => json!({ "candidates": candidates.into_iter().map(told_candidate).collect::<Vec<_>>() }),
        Err(error) => {
            let mut told = json!({ "code": error.code(), "message": error.to_string() });
            if let Some(details) = error.details() {
                told["details"] = json!(details);
            }
            json!({ "error": told })
        }
    }
}

fn told_candidate(candidate: Candidate) -> Value {
    match candidate {
        Candidate::Invalid(errors) => json!({ "invalid": errors }),
        Candidate::Valid { event, warnings } => {
            let mut told = json!(event);
            if event.deduplication == Deduplication::Redelivery {
                told.as_object_mut().unwrap().remove("id");
            }
            if !warnings.is_empty() {
                told["warnings"] = warnings.iter().map(|warning| warning.tag()).collect();
            }
            told
        }
    }
}

#[test]
fn every_format_reads_its_fixtures_as_expected() {
    for format in FORMATS {
        let endpoint = [Endpoint::Single, Endpoint::Batch]
            .into_iter()
            .find(|endpoint| format.is_at(*endpoint))
            .unwrap();
        let directory = directory().join(format.name());
        let names = names_in(&directory);
        for required in REQUIRED {
            assert!(names.contains(required), "{} has no fixture {required}", format.name());
        }
        for name in names {
            let file = directory.join(&name).with_extension("json");
            let fixture: Fixture = serde_json::from_slice(&std::fs::read(&file).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let request = RawRequest {
                endpoint,
                content_type: fixture.content_type.as_deref(),
                content_encoding: fixture.content_encoding.as_deref(),
                body: fixture.body.bytes().into(),
            };
            let found = told(decode(&request, &context()));
            assert_eq!(
                found,
                fixture.expected,
                "{}/{name} gave\n{}",
                format.name(),
                serde_json::to_string_pretty(&found).unwrap()
            );
        }
    }
}

#[test]
fn every_directory_of_fixtures_belongs_to_a_format() {
    let formats: BTreeSet<_> = FORMATS.iter().map(|format| format.name().to_owned()).collect();
    assert_eq!(names_in(&directory()), formats);
}
