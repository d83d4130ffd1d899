//! The file `checkpoint`: the queue's id, what was acknowledged and how far the log reached, in two slots written in turn, so that
//! a write that fails half-way leaves the other. The layout is specified in the module `embedded`.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    files::{DataFile, FileSystem},
    format::{Fields, u32_at, u64_at, uuid_at},
};

/// Name of the file.
pub(super) const CHECKPOINT_NAME: &str = "checkpoint";
const MAGIC: [u8; 8] = *b"SAQCHKP\n";
const VERSION: u32 = 1;
/// One page each: a torn page costs one slot.
const SLOT_BYTES: usize = 4096;
const USED_BYTES: usize = 64;
const CLOSED: u64 = 1;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) queue: Uuid,
    /// Every position below it is acknowledged.
    pub(super) watermark: u64,
    /// Every position below it was durable, or never given.
    pub(super) durable_end: u64,
    /// Nothing was appended after it was written.
    pub(super) closed: bool,
}

impl Checkpoint {
    fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut fields = Fields(Vec::with_capacity(USED_BYTES));
        fields.0.extend_from_slice(&MAGIC);
        fields.u32(0).u32(VERSION);
        fields.0.extend_from_slice(self.queue.as_bytes());
        fields
            .u64(sequence)
            .u64(self.watermark)
            .u64(self.durable_end)
            .u64(if self.closed { CLOSED } else { 0 });
        let checksum = crc32fast::hash(&fields.0[12..]);
        fields.0[8..12].copy_from_slice(&checksum.to_le_bytes());
        fields.0
    }

    /// Sequence and content, if the slot is sound.
    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let bytes = slot.get(..USED_BYTES)?;
        let sound = bytes[..8] == MAGIC && u32_at(bytes, 8) == crc32fast::hash(&bytes[12..]);
        (sound && u32_at(bytes, 12) == VERSION).then(|| {
            let content = Self {
                queue: uuid_at(bytes, 16),
                watermark: u64_at(bytes, 40),
                durable_end: u64_at(bytes, 48),
                closed: u64_at(bytes, 56) == CLOSED,
            };
            (u64_at(bytes, 32), content)
        })
    }
}

/// The open file.
pub(super) struct CheckpointFile {
    file: Arc<dyn DataFile>,
    sequence: u64,
}

impl CheckpointFile {
    /// Opens the file, or makes it; gives the newest sound slot.
    pub(super) fn open(files: &dyn FileSystem, directory: &Path) -> io::Result<(Self, Option<Checkpoint>)> {
        let path = directory.join(CHECKPOINT_NAME);
        let file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = files.create(&path, 2 * SLOT_BYTES as u64)?;
                files.sync_directory(directory)?;
                return Ok((Self { file, sequence: 0 }, None));
            }
            Err(error) => return Err(error),
        };
        let newest = (0..2)
            .filter_map(|slot| {
                let mut bytes = [0; USED_BYTES];
                file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64).ok()?;
                Checkpoint::decode(&bytes)
            })
            .max_by_key(|(sequence, _)| *sequence);
        let sequence = newest.map_or(0, |(sequence, _)| sequence);
        Ok((Self { file, sequence }, newest.map(|(_, content)| content)))
    }

    /// Makes `content` durable.
    pub(super) fn write(&mut self, content: &Checkpoint) -> io::Result<()> {
        let sequence = self.sequence + 1;
        self.file
            .write_all_at(&content.encode(sequence), (sequence % 2) * SLOT_BYTES as u64)?;
        self.file.sync()?;
        self.sequence = sequence;
        Ok(())
    }
}
