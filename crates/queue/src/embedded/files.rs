//! What the embedded queue needs of a file system, behind a trait so that tests can make each call fail.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::blocks::BLOCK_BYTES;

/// Keeps a directory for one process until it is dropped.
pub type DirectoryLock = Box<dyn Send + Sync>;

/// A directory tree.
pub trait FileSystem: Send + Sync + 'static {
    /// Makes a directory and its parents; fine when it is there.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock file for this process; `None` when another process (or another queue of this one) has it.
    fn lock(&self, path: &Path) -> io::Result<Option<DirectoryLock>>;

    /// Makes an empty file, or empties one, and reserves `bytes` for it: its length is `bytes`, it reads as zeros, and writing
    /// inside it cannot run out of space where the file system can promise that. Whole blocks are written to it directly.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DataFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DataFile>>;

    /// The names in a directory, in no order.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the file system of `directory`.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DataFile: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; fails with `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. After a failure any part of them may be there.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable. After a failure the file's unsynced bytes are lost or not, nobody knows.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl FileSystem for SystemFiles {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirectoryLock>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DataFile>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(path)?;
        reserve(&file, bytes)?;
        // Where the file system cannot, everything goes through the page cache.
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(DIRECT.cast_signed())
            .open(path);
        Ok(Arc::new(SystemFile {
            file,
            direct: Mutex::new(direct.ok()),
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DataFile>> {
        Ok(Arc::new(SystemFile {
            file: OpenOptions::new().read(true).write(true).open(path)?,
            direct: Mutex::default(),
        }))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            // Our own names are all ASCII; others are not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(directory)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

/// Reserves blocks where the file system can; elsewhere the length alone is set and a full disk shows at the write.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::{fs::FallocateFlags, io::Errno};
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

/// Writes past the page cache, which a queue that is read from memory has no use for: measured, a copy of every byte in the kernel,
/// and a third of a batch's processor time.
const DIRECT: u32 = rustix::fs::OFlags::DIRECT.bits();

/// A file of the machine.
struct SystemFile {
    file: File,
    /// The same file for whole blocks; `None` where the file system knows no such thing, and once nothing is appended any more.
    direct: Mutex<Option<File>>,
}

impl SystemFile {
    /// Writes whole blocks past the page cache. Whether it did; if not, they are still to be written.
    fn write_directly(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let are_blocks = bytes.as_ptr().align_offset(BLOCK_BYTES) == 0
            && bytes.len().is_multiple_of(BLOCK_BYTES)
            && offset.is_multiple_of(BLOCK_BYTES as u64);
        if !are_blocks {
            return Ok(false);
        }
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = direct.as_ref() else {
            return Ok(false);
        };
        match file.write_all_at(bytes, offset) {
            // This device wants larger blocks.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                *direct = None;
                Ok(false)
            }
            written => written.map(|()| true),
        }
    }
}

impl DataFile for SystemFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.write_directly(bytes, offset)? {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        // Nothing is appended behind a cut.
        *self.direct.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.file.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Blocks;
    use super::*;

    #[test]
    fn blocks_and_odd_bytes_end_in_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = SystemFiles.create(&path, 4 * BLOCK_BYTES as u64).unwrap();
        let mut blocks = Blocks::default();
        for (number, offset) in [(1, 0), (2, BLOCK_BYTES), (3, BLOCK_BYTES)] {
            blocks.begin(BLOCK_BYTES);
            blocks.extend(&[number; BLOCK_BYTES]);
            blocks.pad(0);
            file.write_all_at(blocks.bytes(), offset as u64).unwrap();
        }
        file.write_all_at(&[4; 10], BLOCK_BYTES as u64 - 5).unwrap();
        file.sync().unwrap();
        let expected = [&[1; BLOCK_BYTES - 5][..], &[4; 10], &[3; BLOCK_BYTES - 5]].concat();
        let mut read = vec![0; 2 * BLOCK_BYTES];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, expected);
        file.truncate(BLOCK_BYTES as u64).unwrap();
        // After a cut as before it.
        blocks.begin(BLOCK_BYTES);
        blocks.extend(&[5; BLOCK_BYTES]);
        file.write_all_at(blocks.bytes(), 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [5; BLOCK_BYTES]);
    }
}
