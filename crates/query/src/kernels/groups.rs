//! Groups of a breakdown: every value is counted apart; at the end the largest stay and the rest becomes one.

use std::cmp::{Ordering, Reverse};

use super::KernelError;

/// The value of a row whose key is absent, null or "".
pub const NO_VALUE: u32 = u32::MAX;

/// What a group of an answer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Everything: there is no breakdown.
    All,
    /// The value with this index. Indexes should be dense from 0: memory grows with the largest.
    Value(u32),
    /// "(none)": [`NO_VALUE`].
    NoValue,
    /// "(other)": all values beyond the limit.
    Other,
}

/// A breakdown by the values of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakdown {
    /// Groups that stay apart, the largest ones; at least 1.
    pub limit: usize,
}

/// Something counted for each value.
#[derive(Debug)]
pub(super) struct Groups<T> {
    /// By slot: 0 is [`NO_VALUE`], then the values.
    slots: Vec<T>,
    slots_max: usize,
    what: &'static str,
}

impl<T> Groups<T> {
    /// No groups yet. `slots_max` and `what` are for the refusal.
    pub(super) fn new(slots_max: usize, what: &'static str) -> Self {
        Self {
            slots: Vec::new(),
            slots_max,
            what,
        }
    }

    /// What is counted for `value`; `make` where there is nothing yet.
    #[inline]
    pub(super) fn of(&mut self, value: u32, make: impl FnMut() -> T) -> Result<&mut T, KernelError> {
        let slot = value.wrapping_add(1) as usize;
        if slot >= self.slots.len() {
            self.grow(slot, make)?;
        }
        Ok(&mut self.slots[slot])
    }

    #[cold]
    fn grow(&mut self, slot: usize, make: impl FnMut() -> T) -> Result<(), KernelError> {
        if slot > self.slots_max {
            return Err(KernelError::TooManyGroups {
                what: self.what,
                limit: self.slots_max,
            });
        }
        self.slots.resize_with(slot + 1, make);
        Ok(())
    }

    /// Every group with its value, by value.
    pub(super) fn into_values(self) -> impl Iterator<Item = (u32, T)> {
        (NO_VALUE..=NO_VALUE).chain(0..NO_VALUE).zip(self.slots)
    }

    /// The groups of an answer: the `limit` largest by `size`, the largest first, then the rest merged as [`Group::Other`]; groups of size
    /// 0 are left out. Of groups of one size those first whose values come first by `compare`, "(none)" last. Without a breakdown: the
    /// one group, made by `make` where no row came.
    pub(super) fn ranked(
        self,
        breakdown: Option<Breakdown>,
        compare: impl Fn(u32, u32) -> Ordering,
        size: impl Fn(&T) -> u64,
        mut merge: impl FnMut(&mut T, T),
        make: impl FnOnce() -> T,
    ) -> Vec<(Group, T)> {
        let Some(breakdown) = breakdown else {
            // Without a breakdown every row was counted under NO_VALUE.
            return vec![(Group::All, self.slots.into_iter().next().unwrap_or_else(make))];
        };
        let mut groups: Vec<(u32, T)> = self.into_values().filter(|(_, group)| size(group) > 0).collect();
        groups.sort_by(|(left, left_group), (right, right_group)| {
            let by_size = Reverse(size(left_group)).cmp(&Reverse(size(right_group)));
            by_size.then_with(|| match (*left == NO_VALUE, *right == NO_VALUE) {
                (false, false) => compare(*left, *right).then(left.cmp(right)),
                (left, right) => left.cmp(&right),
            })
        });
        let rest = groups.split_off(groups.len().min(breakdown.limit));
        let mut ranked: Vec<(Group, T)> = groups
            .into_iter()
            .map(|(value, group)| match value {
                NO_VALUE => (Group::NoValue, group),
                value => (Group::Value(value), group),
            })
            .collect();
        let mut rest = rest.into_iter().map(|(_, group)| group);
        if let Some(mut other) = rest.next() {
            rest.for_each(|group| merge(&mut other, group));
            ranked.push((Group::Other, other));
        }
        ranked
    }
}
