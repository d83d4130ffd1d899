//! Ids from content: the same file imported twice means the same events.
//!
//! The id of a record is the SHA-256 of its bytes, and, where the same bytes stood in the same file before, how often they did: identical
//! lines are all kept, and a line keeps its id when the file grows, is rotated, or is imported beside others.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use sha2::{Digest, Sha256};

/// Gives ids to the records of one file, in its order. Needs 9 to 20 bytes of memory per distinct record.
#[derive(Debug, Default)]
pub struct Identities {
    // By the first 8 bytes of the digest. Should two different records share them, the second is only numbered needlessly: its id still
    // holds its whole digest.
    seen: HashSet<u64, BuildHasherDefault<Prehashed>>,
    repeated: HashMap<u64, u32, BuildHasherDefault<Prehashed>>,
}

impl Identities {
    /// The id of the next record.
    pub fn next(&mut self, record: &[u8]) -> String {
        let digest = Sha256::digest(record);
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        let short = u64::from_le_bytes(short);
        let hex = Hex(&digest[..16]);
        if self.seen.insert(short) {
            return hex.to_string();
        }
        let count = self.repeated.entry(short).or_default();
        *count += 1;
        format!("{hex}-{count}")
    }
}

/// The `anonymous_id` of a visitor who is known by the name of a host: the same for the same host and user agent.
pub fn visitor(host: &str, user_agent: &str) -> String {
    let digest = Sha256::digest(format!("{host}|{user_agent}"));
    format!("host_{}", Hex(&digest[..8]))
}

/// Writes bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A hasher for values that are hashes already.
#[derive(Debug, Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_records_are_numbered_and_the_rest_is_content() {
        let mut first = Identities::default();
        let ids: Vec<String> = ["a", "b", "a", "a"].map(|line| first.next(line.as_bytes())).into();
        // SHA-256 of "a" begins so.
        assert_eq!(ids[0], "ca978112ca1bbdcafac231b39a23dc4d");
        assert_eq!(ids[2], format!("{}-1", ids[0]));
        assert_eq!(ids[3], format!("{}-2", ids[0]));
        assert_ne!(ids[1], ids[0]);
        // Another order of other lines changes nothing for "a".
        let mut second = Identities::default();
        second.next(b"c");
        assert_eq!(second.next(b"a"), ids[0]);
    }
}
