//! A file system in memory that can lose what was not flushed, run out of space and fail on demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use queue::embedded::files::{DataFile, DirectoryLock, FileSystem};

/// Disks write whole sectors.
const SECTOR_BYTES: u64 = 512;

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Create,
    Read,
    Write,
    Sync,
    SyncDirectory,
    Rename,
}

/// How calls fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: Call,
    /// Only on paths with this in their name.
    pub name: &'static str,
    pub kind: io::ErrorKind,
    /// How many calls fail.
    pub times: usize,
    /// A write that fails has written so many bytes at most.
    pub written_bytes: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    path: PathBuf,
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Default)]
struct World {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    locked: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    disk_bytes: Option<u64>,
}

/// The file system; clones are the same one.
#[derive(Clone, Default)]
pub struct SimulatedFiles(Arc<Mutex<World>>);

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many of `bytes` written at `offset` arrive when a write ends early: those up to the end of a sector.
fn in_sectors(offset: u64, bytes: u64) -> usize {
    let end = offset + bytes;
    usize::try_from((end - end % SECTOR_BYTES).saturating_sub(offset)).unwrap()
}

impl World {
    fn check(&mut self, call: Call, path: &Path) -> Result<(), (io::Error, usize)> {
        let name = path.to_string_lossy();
        let fault = self
            .faults
            .iter_mut()
            .find(|fault| fault.call == call && fault.times > 0 && name.contains(fault.name));
        match fault {
            Some(fault) => {
                fault.times -= 1;
                Err((io::Error::new(fault.kind, "made to fail"), fault.written_bytes))
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|node| self.nodes[*node].content.len() as u64)
            .sum()
    }

    fn change(&mut self, node: usize, change: Change) {
        change.apply(&mut self.nodes[node].content);
        self.nodes[node].unsynced.push(change);
    }

    fn node(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SimulatedFiles {
    /// The same with a disk of this size; `None` = without end.
    pub fn set_disk_bytes(&self, bytes: Option<u64>) {
        lock(&self.0).disk_bytes = bytes;
    }

    /// From now on calls fail like this, until their times are used up.
    pub fn inject(&self, fault: Fault) {
        lock(&self.0).faults.push(fault);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        lock(&self.0).faults.clear();
    }

    /// What is left after a power cut: flushed bytes and names, and of the unflushed writes to each file the first ones, the last of
    /// them in part. `choose(n)` picks a number from 0 to n.
    pub fn after_power_cut(&self, mut choose: impl FnMut(u64) -> u64) -> Self {
        let old = lock(&self.0);
        let mut world = old.clone();
        world.names = world.durable_names.clone();
        world.locked.clear();
        world.faults.clear();
        for node in &mut world.nodes {
            let mut content = std::mem::take(&mut node.durable);
            let kept = usize::try_from(choose(node.unsynced.len() as u64)).unwrap();
            for change in &node.unsynced[..kept] {
                change.apply(&mut content);
            }
            if let Some(Change::Write(offset, bytes)) = node.unsynced.get(kept) {
                let part = in_sectors(*offset, choose(bytes.len() as u64));
                Change::Write(*offset, bytes[..part].to_vec()).apply(&mut content);
            }
            node.unsynced.clear();
            node.durable.clone_from(&content);
            node.content = content;
        }
        Self(Arc::new(Mutex::new(world)))
    }

    /// A copy that goes its own way, with nothing lost and nothing locked.
    pub fn copy(&self) -> Self {
        let mut world = lock(&self.0).clone();
        world.locked.clear();
        Self(Arc::new(Mutex::new(world)))
    }

    /// The files whose path has `part` in it, in order.
    pub fn paths(&self, part: &str) -> Vec<PathBuf> {
        let world = lock(&self.0);
        world
            .names
            .keys()
            .filter(|path| path.to_string_lossy().contains(part))
            .cloned()
            .collect()
    }

    /// What is in a file.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let world = lock(&self.0);
        world.nodes[world.node(path).unwrap()].content.clone()
    }

    /// Replaces what is in a file, durably.
    pub fn set_content(&self, path: &Path, content: Vec<u8>) {
        let mut world = lock(&self.0);
        let node = world.node(path).unwrap();
        world.nodes[node].durable.clone_from(&content);
        world.nodes[node].content = content;
    }

    /// Removes a file, durably.
    pub fn lose(&self, path: &Path) {
        let mut world = lock(&self.0);
        world.names.remove(path);
        world.durable_names.remove(path);
    }
}

struct SimulatedLock(SimulatedFiles, PathBuf);

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        lock(&self.0.0).locked.remove(&self.1);
    }
}

impl FileSystem for SimulatedFiles {
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirectoryLock>> {
        let free = lock(&self.0).locked.insert(path.to_owned());
        Ok(free.then(|| Box::new(SimulatedLock(self.clone(), path.to_owned())) as DirectoryLock))
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DataFile>> {
        let mut world = lock(&self.0);
        world.check(Call::Create, path).map_err(|(error, _)| error)?;
        if world.disk_bytes.is_some_and(|disk| world.used() + bytes > disk) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let node = world.nodes.len();
        world.nodes.push(Node {
            path: path.to_owned(),
            ..Node::default()
        });
        world.names.insert(path.to_owned(), node);
        world.change(node, Change::Length(bytes));
        Ok(Arc::new(SimulatedFile(self.clone(), node)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DataFile>> {
        let node = lock(&self.0).node(path)?;
        Ok(Arc::new(SimulatedFile(self.clone(), node)))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let world = lock(&self.0);
        let own = world.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(own
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0)
            .names
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = lock(&self.0);
        world.check(Call::Rename, from).map_err(|(error, _)| error)?;
        let node = world.node(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut world = lock(&self.0);
        world
            .check(Call::SyncDirectory, directory)
            .map_err(|(error, _)| error)?;
        world.durable_names.retain(|path, _| path.parent() != Some(directory));
        let names = world.names.clone();
        let own = names.into_iter().filter(|(path, _)| path.parent() == Some(directory));
        world.durable_names.extend(own);
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let world = lock(&self.0);
        Ok(world
            .disk_bytes
            .map_or(u64::MAX, |disk| disk.saturating_sub(world.used())))
    }
}

struct SimulatedFile(SimulatedFiles, usize);

impl SimulatedFile {
    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.0.0)
    }
}

impl DataFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.world().nodes[self.1].content.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut world = self.world();
        let path = world.nodes[self.1].path.clone();
        world.check(Call::Read, &path).map_err(|(error, _)| error)?;
        let start = usize::try_from(offset).unwrap();
        let bytes = world.nodes[self.1]
            .content
            .get(start..start + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world();
        let path = world.nodes[self.1].path.clone();
        let checked = world.check(Call::Write, &path);
        let written = checked.as_ref().err().map_or(bytes.len(), |(_, written)| {
            in_sectors(offset, (*written).min(bytes.len()) as u64)
        });
        if written > 0 {
            world.change(self.1, Change::Write(offset, bytes[..written].to_vec()));
        }
        checked.map_err(|(error, _)| error)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        let path = world.nodes[self.1].path.clone();
        world.check(Call::Sync, &path).map_err(|(error, _)| error)?;
        let node = &mut world.nodes[self.1];
        node.unsynced.clear();
        node.durable.clone_from(&node.content);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.world().change(self.1, Change::Length(length));
        Ok(())
    }
}
