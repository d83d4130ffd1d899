//! Content-Encoding: decompression that never holds more than the limit, whatever the bytes claim.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use model::limits;

use crate::{RequestError, error::shown};

/// A compression that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952; several members in a row are one body.
    Gzip,
    /// RFC 1950 (zlib), and the bare RFC 1951 stream that some clients send under this name.
    Deflate,
    /// RFC 7932, windows up to 16 MiB.
    Brotli,
    /// RFC 8878, windows up to 8 MiB as RFC 9659 asks.
    Zstd,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    /// As in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Reads the header; `None` when the body is as it is. One encoding at a time: stacked ones are refused.
    pub fn of(content_encoding: Option<&str>) -> Result<Option<Self>, RequestError> {
        let header = content_encoding.unwrap_or_default();
        let mut found = None;
        for token in header.split(',').map(str::trim) {
            if token.is_empty() || token.eq_ignore_ascii_case("identity") {
                continue;
            }
            let token = if token.eq_ignore_ascii_case("x-gzip") {
                "gzip"
            } else {
                token
            };
            let encoding = Self::ALL
                .into_iter()
                .find(|encoding| encoding.name().eq_ignore_ascii_case(token));
            match (encoding, found) {
                (Some(encoding), None) => found = Some(encoding),
                _ => return Err(RequestError::UnsupportedEncoding { found: shown(header) }),
            }
        }
        Ok(found)
    }
}

/// The body as the client wrote it before compressing. Gzip is also recognised without a header, by its first bytes:
/// JSON cannot start with them. Nothing larger than `limit` bytes is ever held.
pub fn decode<'a>(body: &'a [u8], content_encoding: Option<&str>, limit: usize) -> Result<Cow<'a, [u8]>, RequestError> {
    const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
    let encoding = match Encoding::of(content_encoding)? {
        None if body.starts_with(&GZIP_MAGIC) => Some(Encoding::Gzip),
        encoding => encoding,
    };
    match encoding {
        Some(encoding) if !body.is_empty() => decompress(body, encoding, limit).map(Cow::Owned),
        _ if body.len() > limit => Err(RequestError::TooLarge { limit }),
        _ => Ok(Cow::Borrowed(body)),
    }
}

fn decompress(body: &[u8], encoding: Encoding, limit: usize) -> Result<Vec<u8>, RequestError> {
    let mut sink = Sink::new(body.len(), limit);
    let result = match encoding {
        Encoding::Gzip => sink.fill_from(flate2::bufread::MultiGzDecoder::new(body)),
        Encoding::Deflate => inflate(body, &mut sink),
        Encoding::Brotli => unbrotli(body, &mut sink),
        Encoding::Zstd => unzstd(body, &mut sink),
    };
    match result {
        Ok(()) => Ok(sink.bytes),
        Err(Fault::TooLarge) => Err(RequestError::TooLarge { limit }),
        Err(Fault::Broken(reason)) => Err(RequestError::BrokenEncoding {
            encoding: encoding.name(),
            reason,
        }),
    }
}

enum Fault {
    TooLarge,
    Broken(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
            _ => error.to_string(),
        })
    }
}

/// Collects output up to a limit, with a little memory while it is small and the whole limit at once later:
/// doubling all the way would hold twice as much while it copies.
struct Sink {
    bytes: Vec<u8>,
    limit: usize,
}

impl Sink {
    /// Most bytes written between two looks at the limit.
    const STEP_BYTES: usize = 16 * 1024;

    fn new(compressed_bytes: usize, limit: usize) -> Self {
        let guess = compressed_bytes.saturating_mul(4).clamp(256, Self::STEP_BYTES);
        Self {
            bytes: Vec::with_capacity(guess),
            limit,
        }
    }

    /// Room to write into, never empty; what was not written is given back by [`Sink::advance`].
    fn room(&mut self) -> &mut [u8] {
        let start = self.bytes.len();
        if start == self.bytes.capacity() {
            let capacity = match start * 4 {
                next if next >= self.limit / 4 => self.limit + Self::STEP_BYTES,
                next => next,
            };
            self.bytes
                .reserve_exact(capacity.saturating_sub(start).max(Self::STEP_BYTES));
        }
        let end = self.bytes.capacity().min(start + Self::STEP_BYTES);
        self.bytes.resize(end, 0);
        &mut self.bytes[start..]
    }

    fn advance(&mut self, start: usize, written: usize) -> Result<(), Fault> {
        self.bytes.truncate(start + written);
        if self.bytes.len() > self.limit {
            return Err(Fault::TooLarge);
        }
        Ok(())
    }

    fn fill_from(&mut self, mut reader: impl Read) -> Result<(), Fault> {
        loop {
            let start = self.bytes.len();
            let read = reader.read(self.room());
            self.advance(start, *read.as_ref().unwrap_or(&0))?;
            if read? == 0 {
                return Ok(());
            }
        }
    }
}

fn inflate(body: &[u8], sink: &mut Sink) -> Result<(), Fault> {
    let mut zlib = flate2::bufread::ZlibDecoder::new(body);
    let fault = match sink.fill_from(&mut zlib) {
        Ok(()) => return nothing_left(zlib.get_ref()),
        Err(Fault::Broken(reason)) => Fault::Broken(reason),
        Err(fault) => return Err(fault),
    };
    sink.bytes.clear();
    let mut bare = flate2::bufread::DeflateDecoder::new(body);
    match sink.fill_from(&mut bare) {
        Ok(()) => nothing_left(bare.get_ref()),
        Err(Fault::TooLarge) => Err(Fault::TooLarge),
        // What zlib said is of more use: it is what the name stands for.
        Err(Fault::Broken(_)) => Err(fault),
    }
}

fn unzstd(body: &[u8], sink: &mut Sink) -> Result<(), Fault> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(limits::ZSTD_WINDOW_LOG_MAX)?;
    sink.fill_from(decoder)
}

fn unbrotli(body: &[u8], sink: &mut Sink) -> Result<(), Fault> {
    // Strict: the large-window extension would let sixteen bytes claim a window of 1 GiB.
    let mut state = BrotliState::new_strict(
        StandardAlloc::default(),
        StandardAlloc::default(),
        StandardAlloc::default(),
    );
    let (mut available_in, mut input_offset, mut total) = (body.len(), 0, 0);
    loop {
        let start = sink.bytes.len();
        let room = sink.room();
        let (mut available_out, mut written) = (room.len(), 0);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut input_offset,
            body,
            &mut available_out,
            &mut written,
            room,
            &mut total,
            &mut state,
        );
        sink.advance(start, written)?;
        match result {
            BrotliResult::ResultSuccess => return nothing_left(&body[input_offset..]),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput => return Err(Fault::Broken("it ends too early".to_owned())),
            BrotliResult::ResultFailure => return Err(Fault::Broken("the stream is corrupt".to_owned())),
        }
    }
}

/// Events behind the end of the stream would be lost without a word.
fn nothing_left(rest: &[u8]) -> Result<(), Fault> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Fault::Broken("there are bytes after its end".to_owned()))
}

#[cfg(test)]
mod tests;
