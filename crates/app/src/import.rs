//! Files into events: streaming, in bounded memory, every line accounted for.
//!
//! A file is decompressed if it is gzip (told by its first bytes), its format is told by its first line if nobody says it, and each of
//! its records becomes an [`ImportEvent`] or a [`Refusal`] with its line number. An event without an id of its own gets one from its
//! content ([`identity`]), so that importing the same file again adds nothing.

pub mod combined_log;
pub mod csv_file;
pub mod identity;
pub mod lines;
pub mod ndjson;
pub mod open;
pub mod report;

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A format of imported files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a head.
    Csv,
    /// A web server's log: common or combined.
    CombinedLog,
}

impl Format {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::CombinedLog => "combined-log",
        }
    }
}

/// One event of a file, as the admin socket takes it (`ingest::decode_import`), with properties as their own text, so that
/// numbers keep their spelling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportEvent {
    /// The id that an export wrote; it counts where no client gave the event one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// As in the contract; derived from content where the file has neither it nor `id`. Empty = none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_id: String,
    /// As in the contract.
    #[serde(default)]
    pub event_name: String,
    /// As in the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_source: Option<String>,
    /// As in the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// As in the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// As in the contract: who it was where there is no `user_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// As in the contract: an object.
    #[serde(default = "empty_object")]
    pub properties: Properties,
    /// The event's own time, RFC 3339.
    #[serde(default)]
    pub timestamp: String,
    /// When the exporting server took it, RFC 3339; kept, so that a copy says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<String>,
    /// The visitor's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// The visitor's user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl ImportEvent {
    /// Sees to it that the event has an id: the file's, the exporting server's, or the one that `derive` makes of the content.
    fn identify(&mut self, derive: impl FnOnce() -> String) {
        // The id of an event is a UUID; whatever else a file calls `id` is the client's name for the event.
        if let Some(id) = self.id.take_if(|id| id.parse::<uuid::Uuid>().is_err())
            && self.event_id.is_empty()
        {
            self.event_id = id;
        }
        if self.event_id.is_empty() && self.id.is_none() {
            self.event_id = derive();
        }
    }
}

/// A JSON object as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub Box<RawValue>);

impl Default for Properties {
    fn default() -> Self {
        empty_object()
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl From<&serde_json::Map<String, serde_json::Value>> for Properties {
    fn from(map: &serde_json::Map<String, serde_json::Value>) -> Self {
        serde_json::value::to_raw_value(map).map_or_else(|_| empty_object(), Self)
    }
}

fn empty_object() -> Properties {
    let empty: Result<Box<RawValue>, _> = serde_json::from_str("{}");
    #[expect(clippy::expect_used, reason = "a constant text")]
    Properties(empty.expect("{} is JSON"))
}

/// Why a record is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault, the same for all records that have it: refusals are counted by it.
    pub reason: String,
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// One record of a file.
#[derive(Debug)]
pub struct Record {
    /// Its first line, from 1.
    pub line: u64,
    /// The event, or why there is none.
    pub outcome: Result<ImportEvent, Refusal>,
}

/// The records of a file, in its order.
pub trait Records: Send {
    /// The next record; `None` after the last. An error ends the file.
    fn next_record(&mut self) -> io::Result<Option<Record>>;

    /// Names of fields that the format has no place for and that were left out so far.
    fn ignored_fields(&self) -> Vec<String> {
        Vec::new()
    }
}
