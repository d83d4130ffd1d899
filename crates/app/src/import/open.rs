//! Opens what is imported: files and standard input, plain or gzip.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use super::{Format, Records, combined_log, combined_log::LogRecords, csv_file::CsvRecords, ndjson::NdjsonRecords};

/// Read from the medium at once.
const READ_BYTES: usize = 128 * 1024;
/// Looked at to tell the format: holds the first line of any sensible file.
const PREFIX_BYTES_MAX: usize = 64 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The name that stands for standard input.
pub const STANDARD_INPUT: &str = "-";

/// Counts the bytes that come from the medium, before decompression: progress is told by them.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What the person says about a file.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// `None` = told by the first line.
    pub format: Option<Format>,
    /// The site whose access log it is.
    pub hostname: Option<String>,
}

/// The records of the file at `path` (`-` = standard input). Adds the bytes read to `count`.
///
/// # Errors
/// When the file cannot be read or its format cannot be told; the text says which.
pub fn open(path: &Path, hints: &Hints, count: Arc<AtomicU64>) -> io::Result<Box<dyn Records>> {
    let raw: Box<dyn Read + Send> = if path.as_os_str() == STANDARD_INPUT {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    records(Counted { inner: raw, count }, hints)
}

/// As [`open`], of any bytes.
pub fn records(raw: impl Read + Send + 'static, hints: &Hints) -> io::Result<Box<dyn Records>> {
    let mut raw = BufReader::with_capacity(READ_BYTES, raw);
    let is_gzip = raw.fill_buf()?.starts_with(&GZIP_MAGIC);
    let mut plain: Box<dyn BufRead + Send> = if is_gzip {
        Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(raw)))
    } else {
        Box::new(raw)
    };
    let prefix = prefix(&mut plain)?;
    let start = if prefix.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    let format = match hints.format {
        Some(format) => format,
        None => detect(&prefix[start..]).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the first line is neither a JSON object, nor a CSV head with event_name and timestamp, nor an access-log line; say --format",
            )
        })?,
    };
    let mut beginning = Cursor::new(prefix);
    beginning.set_position(start as u64);
    let reader = BufReader::with_capacity(READ_BYTES, beginning.chain(plain));
    Ok(match format {
        Format::Ndjson => Box::new(NdjsonRecords::new(reader)),
        Format::Csv => Box::new(CsvRecords::new(reader)?),
        Format::CombinedLog => Box::new(LogRecords::new(reader, hints.hostname.clone())),
    })
}

/// The beginning of the file: up to the end of its first line that is not blank.
fn prefix(reader: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut prefix = Vec::new();
    while prefix.len() < PREFIX_BYTES_MAX {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            break;
        }
        let used = available.len();
        prefix.extend_from_slice(available);
        reader.consume(used);
        if first_line(&prefix).is_some_and(|(_, complete)| complete) {
            break;
        }
    }
    Ok(prefix)
}

/// The first line that is not blank, and whether its end was seen.
fn first_line(text: &[u8]) -> Option<(&[u8], bool)> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| (line.trim_ascii(), line.ends_with(b"\n")))
        .find(|(line, _)| !line.is_empty())
}

/// Tells the format by the first line. An empty file has any format.
fn detect(prefix: &[u8]) -> Option<Format> {
    let Some((line, _)) = first_line(prefix) else {
        return Some(Format::Ndjson);
    };
    if line.starts_with(b"{") {
        return Some(Format::Ndjson);
    }
    if combined_log::parse(line, None).is_ok() {
        return Some(Format::CombinedLog);
    }
    let mut head = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let names = head.records().next()?.ok()?;
    let has = |wanted: &str| names.iter().any(|name| name.trim() == wanted);
    (has("event_name") && has("timestamp")).then_some(Format::Csv)
}

#[cfg(test)]
mod tests;
