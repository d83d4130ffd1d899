//! The files of a store: who may open them, and which generation counts.
//!
//! ```text
//! LOCK                  held by the process that has the store open
//! CURRENT               name of the database file that counts, replaced atomically
//! events-<n>.duckdb     generation n; compaction writes n + 1, then points CURRENT at it
//! events-<n>.duckdb.wal DuckDB's log of generation n
//! index/                derived data: recent ids and user numbers; may be deleted while no process runs
//! temp/                 what queries spill; emptied at open
//! ```
//! A crash at any instant leaves CURRENT on a complete generation; every other generation is a leftover, removed at open.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use store::StoreError;

const LOCK: &str = "LOCK";
const CURRENT: &str = "CURRENT";
/// What is to become CURRENT, while it is written.
const STAGED: &str = "CURRENT.new";
const FIRST_GENERATION: u64 = 1;

/// A locked store directory. Dropping it releases the lock, as [`Self::unlock`] does.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    lock: Mutex<Option<File>>,
    /// Which of the next flushes of the directory fail, the next one in the lowest bit.
    #[cfg(test)]
    pub(crate) failing_flushes: std::sync::atomic::AtomicU32,
}

impl Files {
    /// Makes the directory when there is none, locks it, and removes the leftovers of crashes. Returns the generation that counts.
    pub(crate) fn open(directory: &Path) -> Result<(Self, u64), StoreError> {
        let failed = |what: &str, error: io::Error| {
            StoreError::Unavailable(format!("cannot {what} {}: {error}", directory.display()))
        };
        fs::create_dir_all(directory).map_err(|error| failed("make the store's directory", error))?;
        // DuckDB resolves paths against the working directory of the moment.
        let directory = fs::canonicalize(directory).map_err(|error| failed("find the store's directory", error))?;
        let files = Self {
            lock: Mutex::new(Some(lock(&directory)?)),
            directory,
            #[cfg(test)]
            failing_flushes: Default::default(),
        };
        let generation = files.current()?;
        files.remove_leftovers(generation).map_err(|error| {
            StoreError::Unavailable(format!("cannot tidy up {}: {error}", files.directory.display()))
        })?;
        Ok((files, generation))
    }

    /// Lets others open the directory: the store is closed.
    pub(crate) fn unlock(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The database file of a generation.
    pub(crate) fn database(&self, generation: u64) -> PathBuf {
        self.directory.join(database_name(generation))
    }

    /// Where the index lives.
    pub(crate) fn index(&self) -> PathBuf {
        self.directory.join("index")
    }

    /// Where queries spill.
    pub(crate) fn temp(&self) -> PathBuf {
        self.directory.join("temp")
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Points CURRENT at `generation`, durably. Before it returns the old generation counts, after it the new one. When the flush at its
    /// end has failed, CURRENT names the new one, and after a power cut either.
    pub(crate) fn set_current(&self, generation: u64) -> io::Result<()> {
        // First: after the rename there must be nothing left that fails for want of a file handle.
        let directory = File::open(&self.directory)?;
        let staged = self.directory.join(STAGED);
        let mut file = File::create(&staged)?;
        writeln!(file, "{}", database_name(generation))?;
        file.sync_all()?;
        fs::rename(&staged, self.directory.join(CURRENT))?;
        #[cfg(test)]
        if self.flush_fails() {
            return Err(io::Error::other("a flush fails"));
        }
        directory.sync_all()
    }

    #[cfg(test)]
    fn flush_fails(&self) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        let next = self.failing_flushes.load(SeqCst);
        self.failing_flushes.store(next >> 1, SeqCst);
        next & 1 == 1
    }

    /// Bytes that the disk has left for us.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Removes a generation and its log. Processes that have it open keep reading it.
    pub(crate) fn remove(&self, generation: u64) -> io::Result<()> {
        for path in [self.database(generation), wal(&self.database(generation))] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of `generation` and its log.
    pub(crate) fn database_bytes(&self, generation: u64) -> u64 {
        let path = self.database(generation);
        [wal(&path), path]
            .iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|metadata| on_disk(&metadata))
            .sum()
    }

    /// Bytes of everything in the directory.
    pub(crate) fn bytes(&self) -> u64 {
        directory_bytes(&self.directory)
    }

    /// Bytes of the log of `generation`.
    pub(crate) fn wal_bytes(&self, generation: u64) -> u64 {
        fs::metadata(wal(&self.database(generation))).map_or(0, |metadata| metadata.len())
    }

    /// The generation that CURRENT names.
    pub(crate) fn current(&self) -> Result<u64, StoreError> {
        let pointer = self.directory.join(CURRENT);
        match fs::read_to_string(&pointer) {
            Ok(name) => generation_of(name.trim()).ok_or_else(|| {
                StoreError::Unavailable(format!(
                    "{} names no database file but {name:?}; write the name of the newest events-<n>.duckdb into it",
                    pointer.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.first_generation(),
            Err(error) => Err(StoreError::Unavailable(format!(
                "cannot read {}: {error}",
                pointer.display()
            ))),
        }
        .and_then(|generation| {
            // The first one is made by DuckDB after CURRENT, but before its log and the index, and DuckDB would throw that log away;
            // every later one is complete before CURRENT names it.
            let database = self.database(generation);
            let is_new = generation == FIRST_GENERATION && !wal(&database).exists() && !self.index().exists();
            if is_new || database.exists() {
                return Ok(generation);
            }
            Err(StoreError::Unavailable(format!(
                "{} is missing, though {} names it; put it back from a backup, or move the directory away to start empty",
                database.display(),
                pointer.display()
            )))
        })
    }

    /// For a directory without CURRENT: a fresh store, unless a database lies there, which must not be overlooked.
    fn first_generation(&self) -> Result<u64, StoreError> {
        let failed =
            |error: io::Error| StoreError::Unavailable(format!("cannot use {}: {error}", self.directory.display()));
        if let Some(newest) = self.generations().map_err(failed)?.last() {
            return Err(StoreError::Unavailable(format!(
                "{} is missing beside {}; write that name into it to use that database, or move the database away to start empty",
                self.directory.join(CURRENT).display(),
                database_name(*newest)
            )));
        }
        self.set_current(FIRST_GENERATION).map_err(failed)?;
        Ok(FIRST_GENERATION)
    }

    fn remove_leftovers(&self, current: u64) -> io::Result<()> {
        for generation in self.generations()? {
            if generation != current {
                tracing::info!(generation, "removing a leftover of an interrupted compaction");
                self.remove(generation)?;
            }
        }
        match fs::remove_file(self.directory.join(STAGED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::remove_dir_all(self.temp()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // DuckDB makes its own directory inside, when it first spills, but not this one.
        fs::create_dir(self.temp())
    }

    /// Every generation of which the database or its log is there, the newest last.
    fn generations(&self) -> io::Result<BTreeSet<u64>> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.extend(generation_of(name.strip_suffix(".wal").unwrap_or(&name)));
        }
        Ok(found)
    }
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let failed = |error: io::Error| StoreError::Unavailable(format!("cannot lock {}: {error}", path.display()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
            "another process has the event store in {} open; stop the server, or run the command beside it with the same data directory",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn database_name(generation: u64) -> String {
    format!("events-{generation}.duckdb")
}

fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("events-")?.strip_suffix(".duckdb")?;
    // `+1` and `01` parse as numbers, but no such name was written here.
    digits
        .parse()
        .ok()
        .filter(|generation| database_name(*generation) == name)
}

fn wal(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".wal");
    path.into()
}

/// Bytes of the files under `directory`; what vanishes meanwhile counts nothing.
fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
            Ok(metadata) => on_disk(&metadata),
            Err(_) => 0,
        })
        .sum()
}

/// Bytes that a file takes: the index's log is long from the start and mostly a hole.
fn on_disk(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

#[cfg(test)]
mod tests;
