//! A segment in memory: its file and what is still wanted of it.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::ProjectId;

use super::{
    files::{DataFile, FileSystem},
    format::{SEGMENT_HEADER_BYTES, SegmentHeader},
};

const SUFFIX: &str = ".segment";
/// Unit in which an unreadable region is narrowed down.
const BLOCK_BYTES: usize = 4096;

/// A segment file. Positions `base..end` are in it.
pub(super) struct Segment {
    pub(super) base: u64,
    /// One after the last durable position.
    pub(super) end: u64,
    /// Bytes up to the end of the last durable record.
    pub(super) bytes: u64,
    /// Length of the file.
    pub(super) reserved: u64,
    /// Events that are not acknowledged, by project. Gone with the segment, and with it what damage has made unreachable.
    pub(super) waiting: HashMap<ProjectId, u64>,
    pub(super) file: Arc<dyn DataFile>,
    pub(super) path: PathBuf,
}

impl Segment {
    /// Makes a segment durable, its name included.
    pub(super) fn create(files: &dyn FileSystem, directory: &Path, header: &SegmentHeader) -> io::Result<Self> {
        let path = directory.join(format!("{:016x}{SUFFIX}", header.base));
        let file = files.create(&path, header.capacity)?;
        let made = file
            .write_all_at(&header.encode(), 0)
            .and_then(|()| file.sync())
            .and_then(|()| files.sync_directory(directory));
        if let Err(error) = made {
            // It holds nothing; left behind it would only look unfinished.
            let _ = files.remove(&path);
            return Err(error);
        }
        Ok(Self {
            base: header.base,
            end: header.base,
            bytes: SEGMENT_HEADER_BYTES as u64,
            reserved: header.capacity,
            waiting: HashMap::new(),
            file,
            path,
        })
    }

    /// Counts an event that waits.
    pub(super) fn add_waiting(&mut self, project_id: ProjectId, events: u32) {
        if events > 0 {
            *self.waiting.entry(project_id).or_default() += u64::from(events);
        }
    }

    /// Counts an event that waits no longer.
    pub(super) fn remove_waiting(&mut self, project_id: ProjectId, events: u32) {
        if let Some(count) = self.waiting.get_mut(&project_id) {
            *count = count.saturating_sub(u64::from(events));
            if *count == 0 {
                self.waiting.remove(&project_id);
            }
        }
    }

    /// Gives the reserved space after the last record back. Only where no record will be added any more.
    pub(super) fn trim(&mut self) {
        if self.bytes >= self.reserved {
            return;
        }
        match self.file.truncate(self.bytes) {
            Ok(()) => self.reserved = self.bytes,
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "reserved space of a queue segment could not be given back");
            }
        }
    }
}

/// The base in a segment's name; `None` when the name is none of a segment.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(SUFFIX).filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok()
}

/// Fills `bytes` from `offset` on. Blocks that the medium refuses read as zeros, which the walk then meets as damage.
/// Fails when nothing at all can be read.
pub(super) fn read_range(file: &dyn DataFile, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    let Err(first_error) = file.read_exact_at(bytes, offset) else {
        return Ok(());
    };
    let mut any = false;
    for (index, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
        match file.read_exact_at(block, offset + (index * BLOCK_BYTES) as u64) {
            Ok(()) => any = true,
            Err(_) => block.fill(0),
        }
    }
    if any { Ok(()) } else { Err(first_error) }
}
