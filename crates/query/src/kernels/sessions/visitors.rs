//! Distinct users of groups: a list where they are few, bits by their number where those take no more room.

use model::limits::SESSION_VISITORS_MAX;

use crate::kernels::KernelError;

/// Users listed before repeats are looked for: groups may be a million.
const LISTED_MIN: usize = 16;
const BITS: u32 = u64::BITS;

/// How many different users may still be listed, over all groups.
#[derive(Debug)]
pub(super) struct VisitorsLeft(usize);

impl Default for VisitorsLeft {
    fn default() -> Self {
        Self(SESSION_VISITORS_MAX)
    }
}

/// The distinct users of one group.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    /// Users beyond the bits; with repeats until the next look for them.
    listed: Vec<u32>,
    /// How many of `listed` are known to be different: the first ones, sorted.
    distinct: usize,
    /// A bit for each user below 64 times its length.
    bits: Vec<u64>,
    /// How many of them are set.
    set: usize,
}

impl Visitors {
    /// Notes a user.
    #[inline]
    pub(super) fn add(&mut self, user: u32, left: &mut VisitorsLeft) -> Result<(), KernelError> {
        if let Some(word) = self.bits.get_mut((user / BITS) as usize) {
            let bit = 1 << (user % BITS);
            self.set += usize::from(*word & bit == 0);
            *word |= bit;
            return Ok(());
        }
        if self.listed.last() != Some(&user) {
            self.listed.push(user);
            if self.listed.len() >= LISTED_MIN.max(2 * self.distinct) {
                self.compact(left)?;
            }
        }
        Ok(())
    }

    /// Leaves out repeats, and goes over to bits where they take no more room than the list.
    #[cold]
    fn compact(&mut self, left: &mut VisitorsLeft) -> Result<(), KernelError> {
        self.listed.sort_unstable();
        self.listed.dedup();
        left.0 += self.distinct;
        self.distinct = self.listed.len();
        let words = self.listed.last().map_or(0, |largest| (largest / BITS) as usize + 1);
        if words * size_of::<u64>() <= (self.set + self.distinct) * size_of::<u32>() {
            self.bits.resize(words, 0);
            for user in self.listed.drain(..) {
                self.bits[(user / BITS) as usize] |= 1 << (user % BITS);
            }
            self.set += self.distinct;
            self.distinct = 0;
        }
        left.0 = left.0.checked_sub(self.distinct).ok_or(KernelError::TooManyGroups {
            what: "pairs of a value or an interval and a visitor",
            limit: SESSION_VISITORS_MAX,
        })?;
        Ok(())
    }

    /// How many users there are.
    pub(super) fn count(mut self) -> u64 {
        self.listed.sort_unstable();
        self.listed.dedup();
        (self.set + self.listed.len()) as u64
    }
}
