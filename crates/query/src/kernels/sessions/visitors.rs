//! Distinct users of groups.

use model::limits::SESSION_VISITORS_MAX;
use rustc_hash::FxHashMap;

use crate::kernels::KernelError;

/// Pairs before repeats are looked for.
const COMPACT_PAIRS_MIN: usize = 64 * 1024;

/// Pairs of group and user, with repeats between two compactions: no more of them than there are different pairs.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    pairs: Vec<u64>,
    /// Different pairs of the last compaction; they are the first and sorted.
    distinct: usize,
}

impl Visitors {
    /// Notes that `user` is in `group`, which is below 2^32.
    #[inline]
    pub(super) fn add(&mut self, group: usize, user: u32) -> Result<(), KernelError> {
        self.pairs.push((group as u64) << 32 | u64::from(user));
        if self.pairs.len() >= 2 * self.distinct.max(COMPACT_PAIRS_MIN) {
            self.compact();
            if self.distinct > SESSION_VISITORS_MAX {
                return Err(KernelError::TooManyGroups {
                    what: "pairs of a value or an interval and a visitor",
                    limit: SESSION_VISITORS_MAX,
                });
            }
        }
        Ok(())
    }

    #[cold]
    fn compact(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.dedup();
        self.distinct = self.pairs.len();
    }

    /// Different users of each group that has any.
    pub(super) fn count(mut self) -> FxHashMap<usize, u64> {
        self.compact();
        let groups = self.pairs.chunk_by(|left, right| left >> 32 == right >> 32);
        groups
            .map(|pairs| ((pairs[0] >> 32) as usize, pairs.len() as u64))
            .collect()
    }
}
