//! Buckets of time as instants.

use model::Timestamp;

use super::KernelError;

/// Adjoining half-open buckets. Their edges come from the calendar; a bucket has any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// At least two, strictly ascending; microseconds since the epoch.
    edges: Vec<i64>,
}

impl Buckets {
    /// The buckets between these instants: bucket `i` is `[edges[i], edges[i + 1])`.
    ///
    /// # Errors
    /// [`KernelError::Settings`] for fewer than two edges, or edges that do not ascend.
    pub fn new(edges: &[Timestamp]) -> Result<Self, KernelError> {
        if edges.len() < 2 {
            return Err(KernelError::Settings("buckets need two edges at least"));
        }
        if !edges.is_sorted_by(|left, right| left < right) {
            return Err(KernelError::Settings("the edges of buckets must ascend"));
        }
        Ok(Self {
            edges: edges.iter().map(|edge| edge.as_micros()).collect(),
        })
    }

    /// How many buckets there are; at least one.
    pub fn count(&self) -> usize {
        self.edges.len() - 1
    }

    /// The first instant of the first bucket, microseconds.
    pub(super) fn start(&self) -> i64 {
        self.edges[0]
    }

    /// The first instant after a bucket, microseconds.
    pub(super) fn end_of(&self, bucket: usize) -> i64 {
        self.edges[bucket + 1]
    }

    /// The bucket of an instant; `None` outside all. `hint` is a bucket near it: rows of an actor come by time, so the bucket of the row
    /// before is mostly right.
    #[inline]
    pub(super) fn find(&self, time_micros: i64, hint: usize) -> Option<usize> {
        if self.edges.get(hint).is_some_and(|edge| *edge <= time_micros)
            && self.edges.get(hint + 1).is_some_and(|edge| time_micros < *edge)
        {
            return Some(hint);
        }
        let after = self.edges.partition_point(|edge| *edge <= time_micros);
        (after > 0 && after < self.edges.len()).then(|| after - 1)
    }
}
