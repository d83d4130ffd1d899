//! Stickiness: in how many intervals actors are active.

use super::{Buckets, CountRow, KernelError, order::Order};

/// How many events of an interval make an actor active in it. None never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// So many or more.
    AtLeast(u32),
    /// So many or fewer, but one.
    AtMost(u32),
    /// Exactly so many.
    Exactly(u32),
}

impl Criterion {
    fn holds(self, count: u32) -> bool {
        count > 0
            && match self {
                Self::AtLeast(value) => count >= value,
                Self::AtMost(value) => count <= value,
                Self::Exactly(value) => count == value,
            }
    }
}

/// Counts stickiness of one series.
#[derive(Debug)]
pub struct StickinessKernel {
    buckets: Buckets,
    criterion: Criterion,
    is_cumulative: bool,
    order: Order,
    /// The interval of the row before.
    bucket: usize,
    /// Events of the actor at hand in it.
    count: u32,
    /// Earlier intervals in which the actor is active.
    active: usize,
    /// Actors by the number of intervals, from 1 on.
    actors: Vec<u64>,
}

impl StickinessKernel {
    /// A kernel that has seen no row. `is_cumulative`: at least so many intervals instead of exactly so many.
    pub fn new(buckets: Buckets, criterion: Criterion, is_cumulative: bool) -> Self {
        Self {
            actors: vec![0; buckets.count()],
            buckets,
            criterion,
            is_cumulative,
            order: Order::default(),
            bucket: 0,
            count: 0,
            active: 0,
        }
    }

    /// Takes the next row. Rows outside the buckets change nothing.
    ///
    /// # Errors
    /// [`KernelError::OutOfOrder`]; the kernel is of no use then.
    #[inline]
    pub fn push(&mut self, row: CountRow) -> Result<(), KernelError> {
        if self.order.admit(row.actor, row.time_micros)? {
            self.close_actor();
        }
        if let Some(bucket) = self.buckets.find(row.time_micros, self.bucket) {
            if bucket != self.bucket {
                self.close_bucket();
                self.bucket = bucket;
            }
            self.count = self.count.saturating_add(row.count);
        }
        Ok(())
    }

    fn close_bucket(&mut self) {
        self.active += usize::from(self.criterion.holds(self.count));
        self.count = 0;
    }

    fn close_actor(&mut self) {
        self.close_bucket();
        if let Some(intervals) = self.active.checked_sub(1) {
            self.actors[intervals] += 1;
        }
        self.active = 0;
        self.bucket = 0;
    }

    /// Actors active in 1, 2, … intervals, one entry for each number up to that of the buckets.
    pub fn finish(mut self) -> Vec<u64> {
        self.close_actor();
        if self.is_cumulative {
            for intervals in (1..self.actors.len()).rev() {
                self.actors[intervals - 1] += self.actors[intervals];
            }
        }
        self.actors
    }
}
