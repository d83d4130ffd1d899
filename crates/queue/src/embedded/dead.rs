//! Dead letters: one checksummed file each, so that one can be looked at, moved or removed alone.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use model::{ProjectId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use super::{damage::read_all, files::FileSystem, format::u32_at};
use crate::{DeadLetter, Delivery, Position, Record};

/// Name of the folder.
const DIRECTORY: &str = "dead";
const SUFFIX: &str = ".letter";
const MAGIC: [u8; 8] = *b"SAQDEAD\x01";

/// A dead letter as stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    position: u64,
    reason: String,
    attempts: u32,
    dead_at: Timestamp,
    project_id: ProjectId,
    received_at: Timestamp,
    events: u32,
    payload: Bytes,
}

/// The folder of dead letters.
pub(super) struct DeadLetters {
    files: Arc<dyn FileSystem>,
    directory: PathBuf,
    positions: BTreeSet<u64>,
    bytes: u64,
}

impl DeadLetters {
    pub(super) fn open(files: Arc<dyn FileSystem>, queue: &Path) -> io::Result<Self> {
        let directory = queue.join(DIRECTORY);
        files.create_directory(&directory)?;
        let mut letters = Self {
            files,
            directory,
            positions: BTreeSet::new(),
            bytes: 0,
        };
        for name in letters.files.names(&letters.directory)? {
            let position = name
                .strip_suffix(SUFFIX)
                .and_then(|hex| u64::from_str_radix(hex, 16).ok());
            if let Some(position) = position {
                letters.bytes += letters.files.open(&letters.directory.join(&name))?.length()?;
                letters.positions.insert(position);
            }
        }
        Ok(letters)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.positions.len() as u64
    }

    /// Their bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The highest position among them.
    pub(super) fn last_position(&self) -> Option<u64> {
        self.positions.last().copied()
    }

    fn path(&self, position: u64) -> PathBuf {
        self.directory.join(format!("{position:016x}{SUFFIX}"))
    }

    /// Writes one durably. Again for the same position: changes nothing.
    pub(super) fn add(&mut self, delivery: &Delivery, reason: &str, dead_at: Timestamp) -> io::Result<()> {
        let position = delivery.position.0;
        if self.positions.contains(&position) {
            return Ok(());
        }
        let stored = Stored {
            position,
            reason: reason[..reason.floor_char_boundary(limits::DEAD_LETTER_REASON_BYTES_MAX)].to_owned(),
            attempts: delivery.attempt,
            dead_at,
            project_id: delivery.record.project_id,
            received_at: delivery.record.received_at,
            events: delivery.record.events,
            payload: delivery.record.payload.clone(),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 4]);
        let mut bytes = postcard::to_extend(&stored, bytes).map_err(io::Error::other)?;
        let checksum = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());

        let path = self.path(position);
        let unfinished = path.with_extension("unfinished");
        let file = self.files.create(&unfinished, 0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync()?;
        self.files.rename(&unfinished, &path)?;
        self.files.sync_directory(&self.directory)?;
        self.positions.insert(position);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Removes those of `positions` that there are, durably, and returns how many.
    pub(super) fn discard(&mut self, positions: &[Position]) -> io::Result<u64> {
        let mut discarded = 0;
        for position in positions {
            if !self.positions.contains(&position.0) {
                continue;
            }
            let path = self.path(position.0);
            let bytes = self.files.open(&path).and_then(|file| file.length()).unwrap_or(0);
            match self.files.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // Somebody may have removed it by hand.
                _ => {}
            }
            self.positions.remove(&position.0);
            self.bytes = self.bytes.saturating_sub(bytes);
            discarded += 1;
        }
        if discarded > 0 {
            self.files.sync_directory(&self.directory)?;
        }
        Ok(discarded)
    }

    /// The first `limit` by position, at `from` or later. Damaged ones are logged and left out; their files stay.
    pub(super) fn list(&self, from: Position, limit: usize) -> Vec<DeadLetter> {
        let letters = self.positions.range(from.0..).filter_map(|position| {
            let path = self.path(*position);
            match read_all(&*self.files, &path).map(|bytes| decode(&bytes)) {
                Ok(Some(letter)) => Some(letter),
                Ok(None) => {
                    tracing::error!(file = %path.display(), "dead letter is damaged: look at it, then remove it");
                    None
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "dead letter is unreadable");
                    None
                }
            }
        });
        letters.take(limit).collect()
    }
}

fn decode(bytes: &[u8]) -> Option<DeadLetter> {
    let body = bytes.get(12..)?;
    if bytes[..8] != MAGIC || u32_at(bytes, 8) != crc32fast::hash(body) {
        return None;
    }
    let stored: Stored = postcard::from_bytes(body).ok()?;
    Some(DeadLetter {
        position: Position(stored.position),
        reason: stored.reason,
        attempts: stored.attempts,
        dead_at: stored.dead_at,
        record: Record {
            project_id: stored.project_id,
            received_at: stored.received_at,
            events: stored.events,
            payload: stored.payload,
        },
    })
}
