//! What the tests share.

use std::io::Write;

use ingest::{Encoding, RequestContext};
use model::{ProjectId, Timestamp};
use uuid::Uuid;

/// The context in which every fixture is read.
pub fn context() -> RequestContext<'static> {
    RequestContext {
        project_id: ProjectId(Uuid::from_u128(7)),
        received_at: at("2026-01-31T12:00:00Z"),
        address: Some([192, 0, 2, 1].into()),
        user_agent: Some("Agent/1.0"),
        cookie_anonymous_id: None,
    }
}

/// An instant from its RFC 3339 text.
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Writes what `fill` writes, compressed fast.
pub fn compress(encoding: Encoding, fill: impl Fn(&mut dyn Write)) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match encoding {
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        Encoding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        Encoding::Brotli => {
            let mut compressed = Vec::new();
            fill(&mut brotli::CompressorWriter::new(&mut compressed, 4096, 1, 24));
            compressed
        }
        Encoding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
    }
}
