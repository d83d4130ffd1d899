//! Lifecycle: who is new, returning, resurrecting and dormant in each interval.

use super::{Buckets, CountRow, KernelError, order::Order};

/// Actors by interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleAnswer {
    /// Their first event ever is in it.
    pub new: Vec<u64>,
    /// Active in the interval before.
    pub returning: Vec<u64>,
    /// Active in it, earlier, but not in the interval before.
    pub resurrecting: Vec<u64>,
    /// Active in the interval before, not in it; negative or 0.
    pub dormant: Vec<i64>,
}

/// Counts lifecycles over actors that have the event. The first bucket is the interval before the range: it says who returns in the range's
/// first one and is not answered. Rows before it say who is not new; of an actor's events before the range the last one is enough.
#[derive(Debug)]
pub struct LifecycleKernel {
    /// The interval before the range, then those of the range.
    buckets: Buckets,
    order: Order,
    /// Where the actor at hand was last active; `None`: not yet, or before all buckets.
    last: Option<usize>,
    was_active_earlier: bool,
    answer: LifecycleAnswer,
}

impl LifecycleKernel {
    /// A kernel that has seen no row. `buckets`: the interval before the range, then those of the range.
    ///
    /// # Errors
    /// [`KernelError::Settings`] without an interval of the range.
    pub fn new(buckets: Buckets) -> Result<Self, KernelError> {
        let answered = buckets.count() - 1;
        if answered == 0 {
            return Err(KernelError::Settings(
                "lifecycle needs the interval before the range and one of it",
            ));
        }
        Ok(Self {
            buckets,
            order: Order::default(),
            last: None,
            was_active_earlier: false,
            answer: LifecycleAnswer {
                new: vec![0; answered],
                returning: vec![0; answered],
                resurrecting: vec![0; answered],
                dormant: vec![0; answered],
            },
        })
    }

    /// Takes the next row. Rows after the last bucket change nothing.
    ///
    /// # Errors
    /// [`KernelError::OutOfOrder`]; the kernel is of no use then.
    #[inline]
    pub fn push(&mut self, row: CountRow) -> Result<(), KernelError> {
        if self.order.admit(row.actor, row.time_micros)? {
            self.close_actor();
        }
        if row.count == 0 {
            return Ok(());
        }
        let Some(bucket) = self.buckets.find(row.time_micros, self.last.unwrap_or(0)) else {
            self.was_active_earlier |= row.time_micros < self.buckets.start();
            return Ok(());
        };
        if self.last == Some(bucket) {
            return Ok(());
        }
        // Bucket 0 is before the range.
        if let Some(answered) = bucket.checked_sub(1) {
            if self.last == Some(answered) {
                self.answer.returning[answered] += 1;
            } else if self.last.is_some() || self.was_active_earlier {
                self.answer.resurrecting[answered] += 1;
            } else {
                self.answer.new[answered] += 1;
            }
        }
        if self.last.is_some_and(|last| last + 1 < bucket) {
            self.rest();
        }
        self.last = Some(bucket);
        Ok(())
    }

    /// The actor at hand is not active in the interval after its last one.
    fn rest(&mut self) {
        if let Some(dormant) = self.last.and_then(|last| self.answer.dormant.get_mut(last)) {
            *dormant -= 1;
        }
    }

    fn close_actor(&mut self) {
        self.rest();
        self.last = None;
        self.was_active_earlier = false;
    }

    /// The answer, an entry for each bucket but the first.
    pub fn finish(mut self) -> LifecycleAnswer {
        self.close_actor();
        self.answer
    }
}
