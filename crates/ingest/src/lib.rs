//! Bytes to events: decoding, validation, sampling and enrichment, without HTTP and without I/O.
//!
//! - [`decode`]: a request's bytes to one [`Candidate`] per event; [`decode_import`] does it for imports.
//! - [`keeps`]: sampling. [`OriginRules`]: which pages may send. [`client_address`]: whose address counts.
//! - [`Enricher`]: fills in what the worker owes an accepted event.

mod address;
mod element;
mod encoding;
mod enrich;
mod error;
mod event;
mod formats;
mod import;
mod json;
mod media_type;
mod origin;
mod request;
mod sampling;

pub use address::client_address;
pub use encoding::Encoding;
pub use enrich::{Enricher, EnricherError};
pub use error::{RequestError, RequestErrorKind};
pub use formats::{FORMATS, WireFormat};
pub use import::{decode_import, decode_import_line};
pub use media_type::MediaType;
pub use origin::{OriginRules, OriginRulesError};
pub use request::{Candidate, Endpoint, RawRequest, RequestContext, Warning, decode};
pub use sampling::{keeps, sampled_user};
