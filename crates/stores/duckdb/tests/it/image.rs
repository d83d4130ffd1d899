//! The files of a store at one moment, to be laid out elsewhere and damaged.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::it::harness::TestStore;

/// Files by their path below the store's directory. Taken from a store that is open and quiet, it is what a power cut leaves.
#[derive(Clone)]
pub struct Image(pub BTreeMap<String, Content>);

/// A file: the index's log is long, and zeros from where it ends.
#[derive(Clone)]
pub struct Content {
    pub bytes: Vec<u8>,
    pub length: u64,
}

impl Content {
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            length: bytes.len() as u64,
        }
    }
}

impl Image {
    pub fn of(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(directory, "", &mut files);
        Self(files)
    }

    /// A store made of these files.
    pub fn lay_out(&self) -> TestStore {
        let store = TestStore::new();
        for (name, content) in &self.0 {
            let path = store.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(path).unwrap();
            file.set_len(content.length).unwrap();
            file.write_all_at(&content.bytes, 0).unwrap();
        }
        store
    }

    /// The same with one file put in, or in place of another.
    pub fn with(&self, name: &str, content: Content) -> Self {
        let mut image = self.clone();
        image.0.insert(name.to_owned(), content);
        image
    }

    /// The same with some files of another.
    pub fn with_files_of(&self, other: &Self, prefix: &str) -> Self {
        let files = other.0.iter().filter(|(name, _)| name.starts_with(prefix));
        let mut image = self.clone();
        image
            .0
            .extend(files.map(|(name, content)| (name.clone(), content.clone())));
        image
    }
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Content>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
            continue;
        }
        let mut bytes = fs::read(entry.path()).unwrap();
        let length = bytes.len() as u64;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        files.insert(name, Content { bytes, length });
    }
}
