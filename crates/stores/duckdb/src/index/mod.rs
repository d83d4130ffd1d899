//! The index: which recent ids are taken, and which number each user has. An LSM tree beside the database.
//!
//! Everything in it can be derived from the database, and is derived anew when the index is missing, damaged or of another
//! time than the database ([`Identity`]). What it promises in return: a claim or a number is durable before the transaction that relies on
//! it commits. So after a crash between the two, the redelivered event meets its own claim, and a number is never given twice.
//!
//! Every commit counts a mark, which the database keeps too: a log that was cut short leaves an index that looks whole, but its mark is
//! behind.
//!
//! Keyspaces: `meta` (identity; mark; next number per project), `users` (project number and user id → number), `claims-<epoch>`
//! (event id → owner).

mod claims;
mod users;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserKey, UserValue,
    compaction::Leveled,
    config::{PartitioningPolicy, PinningPolicy},
};
use model::{EventId, Timestamp, limits};
use uuid::Uuid;

use claims::epoch_of;
pub(crate) use claims::{Owner, REMEMBERED_DAYS, fold};
use users::Numbers;

use crate::failure::Failure;

const IDENTITY: &str = "identity";
const NEXT: &[u8] = b"next:";
const MARK: &str = "mark";
/// Changes per batch while the index is rebuilt: a few hundred kilobytes.
const REBUILD_BATCH: usize = 10_000;

/// Which database an index belongs to, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The database's own id, made with it.
    pub(crate) store: Uuid,
    /// Made at every open, written to the index first, then to the database: a copy of either from another time does not match.
    pub(crate) session: Uuid,
}

/// The open index. Used by the writer thread alone.
pub(crate) struct Index {
    database: Database,
    meta: Keyspace,
    users: Keyspace,
    claims: BTreeMap<i64, Keyspace>,
    numbers: Numbers,
    mark: u64,
}

/// Changes of one batch of events, to be made durable together.
pub(crate) struct Changes {
    /// `None` once they are committed.
    batch: Option<OwnedWriteBatch>,
    claimed: Vec<(i64, EventId)>,
    numbered: HashMap<u32, u32>,
}

impl Changes {
    /// Ids that the batch claims, with their epochs, for [`Index::release`].
    pub(crate) fn claimed(&self) -> &[(i64, EventId)] {
        &self.claimed
    }

    /// The next free number of each project that got new ones.
    pub(crate) fn next_numbers(&self) -> Vec<(u32, u32)> {
        self.numbered.iter().map(|(project, next)| (*project, *next)).collect()
    }

    fn insert(&mut self, keyspace: &Keyspace, key: impl Into<UserKey>, value: impl Into<UserValue>) {
        if let Some(batch) = &mut self.batch {
            batch.insert(keyspace, key, value);
        }
    }
}

impl Index {
    /// Opens the index if it is whole and belongs to `identity`; `next_numbers` are the database's own marks (project number, next number)
    /// below which no number may be given again, `mark` is the last commit of the index that the database relies on. `None`: it must be
    /// rebuilt.
    pub(crate) fn open(
        path: &Path,
        identity: Identity,
        next_numbers: &HashMap<u32, u32>,
        mark: u64,
    ) -> Result<Option<Self>, Failure> {
        if !path.exists() {
            return Ok(None);
        }
        // A damaged file may also show as a panic inside the tree.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let index = Self::open_files(path)?;
            let is_known = index.knows(identity)?;
            Ok::<_, Failure>((index, is_known))
        }));
        let (index, is_known) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the index cannot be opened; it is made anew from the database");
                return Ok(None);
            }
            Err(_) => {
                tracing::warn!("the index is damaged; it is made anew from the database");
                return Ok(None);
            }
        };
        if !is_known {
            tracing::warn!("the index belongs to another time or database; it is made anew from the database");
            return Ok(None);
        }
        let behind = next_numbers
            .iter()
            .any(|(project, next)| index.numbers.next(*project) < *next);
        if behind || index.mark < mark {
            tracing::warn!("the index is older than the database; it is made anew from it");
            return Ok(None);
        }
        Ok(Some(index))
    }

    /// An empty index in place of whatever lies at `path`. Belongs to nobody until [`Self::adopt`].
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::Unavailable(format!(
                    "cannot remove the old index {}: {error}",
                    path.display()
                )));
            }
            _ => {}
        }
        Self::open_files(path)
    }

    fn open_files(path: &Path) -> Result<Self, Failure> {
        let database = Database::builder(path)
            .cache_size(limits::STORE_INDEX_CACHE_BYTES_MAX)
            .worker_threads(1)
            .open()?;
        let meta = database.keyspace("meta", keyspace_options)?;
        let users = database.keyspace("users", keyspace_options)?;
        let mut claims = BTreeMap::new();
        for name in database.list_keyspace_names() {
            if let Some(epoch) = claims::epoch_of_keyspace(&name) {
                claims.insert(epoch, database.keyspace(&name, keyspace_options)?);
            }
        }
        Ok(Self {
            numbers: Numbers::new(stored_next_numbers(&meta)?),
            mark: stored_mark(&meta)?,
            database,
            meta,
            users,
            claims,
        })
    }

    /// Whether the stored identity, or the one before it, is `identity`: a crash between writing it here and in the database leaves
    /// the database one behind.
    fn knows(&self, identity: Identity) -> Result<bool, Failure> {
        let Some(stored) = self.meta.get(IDENTITY)? else {
            return Ok(false);
        };
        let ids: Vec<Uuid> = stored
            .chunks_exact(16)
            .filter_map(|bytes| Uuid::from_slice(bytes).ok())
            .collect();
        Ok(ids.len() == 3 && ids[0] == identity.store && ids[1..].contains(&identity.session))
    }

    /// Makes the index belong to `identity`, durably; `before` stays known until the next call.
    pub(crate) fn adopt(&mut self, identity: Identity, before: Uuid) -> Result<(), Failure> {
        let mut bytes = Vec::with_capacity(48);
        for id in [identity.store, identity.session, before] {
            bytes.extend_from_slice(id.as_bytes());
        }
        self.meta.insert(IDENTITY, bytes)?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    /// Starts the changes of a batch of so many events.
    pub(crate) fn begin(&mut self, events: usize) -> Changes {
        self.numbers.trim(limits::STORE_USER_CACHE_ENTRIES_MAX);
        Changes {
            // A claim for each event, and the users among them that are new.
            batch: Some(
                OwnedWriteBatch::with_capacity(self.database.clone(), events + events / 4)
                    .durability(Some(PersistMode::SyncData)),
            ),
            claimed: Vec::with_capacity(events),
            numbered: HashMap::new(),
        }
    }

    fn durable_batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncData))
    }

    /// Makes changes durable and visible, and returns the mark of this commit. Nothing to do is free, and leaves no mark.
    pub(crate) fn commit(&mut self, changes: &mut Changes) -> Result<Option<u64>, Failure> {
        for (project, next) in changes.next_numbers() {
            changes.insert(&self.meta, next_key(project), next.to_le_bytes());
        }
        let Some(mut batch) = changes.batch.take().filter(|batch| !batch.is_empty()) else {
            return Ok(None);
        };
        let mark = self.mark + 1;
        batch.insert(&self.meta, MARK, mark.to_le_bytes());
        batch.commit()?;
        self.mark = mark;
        Ok(Some(mark))
    }

    /// Goes on, in an index that [`Self::create`] made, from the last mark that the database knows.
    pub(crate) fn restore_mark(&mut self, mark: u64) -> Result<(), Failure> {
        self.meta.insert(MARK, mark.to_le_bytes())?;
        self.mark = mark;
        Ok(())
    }

    /// Forgets numbers that were given in memory for changes that were not committed.
    pub(crate) fn reload_numbers(&mut self) -> Result<(), Failure> {
        self.numbers = Numbers::new(stored_next_numbers(&self.meta)?);
        Ok(())
    }

    /// Fills an index that [`Self::create`] made: every user with its number, then the marks below which none may be given again.
    pub(crate) fn restore_users(
        &mut self,
        users: &mut dyn Iterator<Item = Result<(u32, String, u32), Failure>>,
        next_numbers: &HashMap<u32, u32>,
    ) -> Result<(), Failure> {
        let mut next = next_numbers.clone();
        let mut batch = self.database.batch();
        for user in users {
            let (project, user_id, number) = user?;
            let mark = next.entry(project).or_default();
            *mark = (*mark).max(number.saturating_add(1));
            batch.insert(&self.users, users::key(project, &user_id), number.to_le_bytes());
            if batch.len() >= REBUILD_BATCH {
                std::mem::replace(&mut batch, self.database.batch()).commit()?;
            }
        }
        for (project, next) in &next {
            batch.insert(&self.meta, next_key(*project), next.to_le_bytes());
        }
        batch.commit()?;
        self.numbers = Numbers::new(next);
        Ok(())
    }

    /// Fills an index that [`Self::create`] made: ids of stored events, which are taken whoever comes.
    pub(crate) fn restore_claims(
        &mut self,
        ids: &mut dyn Iterator<Item = Result<(EventId, Timestamp), Failure>>,
    ) -> Result<(), Failure> {
        let mut batch = self.database.batch();
        for stored in ids {
            let (id, received_at) = stored?;
            let epoch = epoch_of(received_at);
            // Drops none: those of a wrong clock must not make the others forgotten.
            let keyspace = self.make_claims_of(epoch)?;
            batch.insert(&keyspace, *id.0.as_bytes(), Owner::PAST.to_bytes());
            if batch.len() >= REBUILD_BATCH {
                std::mem::replace(&mut batch, self.database.batch()).commit()?;
            }
        }
        Ok(batch.commit()?)
    }

    /// Flushes to the disk.
    pub(crate) fn persist(&self) -> Result<(), Failure> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

fn keyspace_options() -> KeyspaceCreateOptions {
    // Filters and tables of contents stay in memory, some 15 bits an id. Of a large file neither fits into the cache, and each look-up read it
    // whole and summed it up anew: from 1.7 million recent ids on a batch took 0.6 s, where it takes 0.03. (In parts they fit, but then a
    // damaged file makes the tree ask for 171 GB of memory, which ends the process.)
    let in_memory = || PinningPolicy::all(true);
    KeyspaceCreateOptions::default()
        .max_memtable_size(limits::STORE_INDEX_MEMTABLE_BYTES_MAX)
        .compaction_strategy(Arc::new(
            Leveled::default().with_table_target_size(limits::STORE_INDEX_TABLE_BYTES),
        ))
        .filter_block_pinning_policy(in_memory())
        .index_block_pinning_policy(in_memory())
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
}

fn stored_next_numbers(meta: &Keyspace) -> Result<HashMap<u32, u32>, Failure> {
    let mut next = HashMap::new();
    for entry in meta.prefix(NEXT) {
        let (key, value) = entry.into_inner()?;
        next.insert(number_of(&key[NEXT.len()..])?, number_of(&value)?);
    }
    Ok(next)
}

fn stored_mark(meta: &Keyspace) -> Result<u64, Failure> {
    let Some(bytes) = meta.get(MARK)? else { return Ok(0) };
    let mark = <[u8; 8]>::try_from(&*bytes).map(u64::from_le_bytes);
    mark.map_err(|_| Failure::Damaged(format!("a mark of {} bytes", bytes.len())))
}

fn next_key(project: u32) -> Vec<u8> {
    [NEXT, &project.to_le_bytes()].concat()
}

fn number_of(bytes: &[u8]) -> Result<u32, Failure> {
    <[u8; 4]>::try_from(bytes)
        .map(u32::from_le_bytes)
        .map_err(|_| Failure::Damaged(format!("a number of {} bytes", bytes.len())))
}

#[cfg(test)]
mod tests;
