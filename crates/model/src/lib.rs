//! Data and rules of the platform: ids, events, outcomes, limits, time. No I/O, no async, no SQL.

pub mod clock;
pub mod event;
pub mod field_errors;
pub mod id;
pub mod inspection;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod outcome;
pub mod person;
pub mod project;
pub mod time;

pub use clock::{Clock, SystemClock};
pub use event::{AcceptedEvent, Deduplication, DerivedKeys, EnrichedEvent};
pub use field_errors::FieldErrors;
pub use id::{EventId, PersonId, ProjectId, SourceId};
pub use key::{KeyKind, PrivateKey, PublicKey};
pub use ledger::{LedgerEntry, LedgerTotals, Tally};
pub use outcome::{Outcome, Rejection};
pub use person::Person;
pub use project::{Project, ProjectChanges, Sampling, SamplingStrategy, Source, SourceChanges};
pub use time::Timestamp;
