//! Damage is never silent: it is logged, counted over restarts, and its bytes are kept aside with the reason.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};

use model::limits;
use serde::{Deserialize, Serialize};

use super::files::FileSystem;

/// Name of the folder.
const DIRECTORY: &str = "damaged";

/// A damaged region of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Base of the segment.
    pub(super) segment: u64,
    /// Where it begins in the segment.
    pub(super) offset: u64,
    /// Its bytes, as found.
    pub(super) bytes: Vec<u8>,
    /// Records lost in it, as far as known.
    pub(super) records: u64,
    /// First position that may be lost.
    pub(super) position: u64,
    /// What is wrong, for people.
    pub(super) reason: &'static str,
}

/// What is kept beside the bytes.
#[derive(Serialize, Deserialize)]
struct Note {
    reason: String,
    segment: String,
    offset: u64,
    bytes: u64,
    first_position: u64,
    records: u64,
}

/// The folder of damaged bytes.
pub(super) struct DamageLog {
    files: Arc<dyn FileSystem>,
    directory: PathBuf,
    /// Regions noted already: the same damage is met again at every start until its segment is gone.
    known: BTreeSet<(u64, u64)>,
    records: u64,
    bytes: u64,
}

impl DamageLog {
    /// Reads what earlier runs have noted.
    pub(super) fn open(files: Arc<dyn FileSystem>, queue: &std::path::Path) -> io::Result<Self> {
        let directory = queue.join(DIRECTORY);
        files.create_directory(&directory)?;
        let mut log = Self {
            files,
            directory,
            known: BTreeSet::new(),
            records: 0,
            bytes: 0,
        };
        for name in log.files.names(&log.directory)? {
            let path = log.directory.join(&name);
            if !name.ends_with(".json") {
                continue;
            }
            let note = read_all(&*log.files, &path)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
            let Some(note) = note else {
                tracing::error!(file = %path.display(), "note about damaged queue bytes is unreadable: look at it, then remove it");
                continue;
            };
            if let Ok(segment) = u64::from_str_radix(&note.segment, 16) {
                log.known.insert((segment, note.offset));
                log.records += note.records;
                log.bytes += note.bytes;
            }
        }
        Ok(log)
    }

    /// Records lost, over all runs whose notes are still there.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes kept aside.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Logs, counts and keeps aside. Never fails: what cannot be kept is logged.
    pub(super) fn record(&mut self, damage: &Damage) {
        if !self.known.insert((damage.segment, damage.offset)) {
            return;
        }
        self.records += damage.records;
        tracing::error!(
            queue.segment = format!("{:016x}", damage.segment),
            queue.offset = damage.offset,
            queue.position = damage.position,
            bytes = damage.bytes.len(),
            records = damage.records,
            "queue damaged: {}; the records in it are lost, the rest is delivered; bytes kept in {}",
            damage.reason,
            self.directory.display(),
        );
        if let Err(error) = self.keep(damage) {
            tracing::error!(%error, "damaged queue bytes could not be kept aside");
        }
    }

    fn keep(&mut self, damage: &Damage) -> io::Result<()> {
        let room = limits::QUEUE_DAMAGED_BYTES_MAX.saturating_sub(self.bytes);
        let kept = damage.bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let note = Note {
            reason: damage.reason.to_owned(),
            segment: format!("{:016x}", damage.segment),
            offset: damage.offset,
            bytes: kept as u64,
            first_position: damage.position,
            records: damage.records,
        };
        let name = format!("{:016x}-{:08x}", damage.segment, damage.offset);
        self.write(&format!("{name}.bin"), &damage.bytes[..kept])?;
        self.bytes += kept as u64;
        // The note last: it says that the bytes are complete.
        self.write(&format!("{name}.json"), &serde_json::to_vec_pretty(&note)?)?;
        self.files.sync_directory(&self.directory)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.files.create(&self.directory.join(name), 0)?;
        file.write_all_at(bytes, 0)?;
        file.sync()
    }
}

/// The whole of a file.
pub(super) fn read_all(files: &dyn FileSystem, path: &std::path::Path) -> io::Result<Vec<u8>> {
    let file = files.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
