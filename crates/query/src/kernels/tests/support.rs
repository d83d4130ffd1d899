//! What tests of several kernels share.

use std::collections::BTreeSet;

use model::Timestamp;
use proptest::prelude::*;

use crate::kernels::{Buckets, TimeSummary};

/// Long enough that half of it is no whole second.
pub const UNIT_MICROS: i64 = 1_000_001;
/// Random histories a property is tried on.
pub const HISTORIES: u32 = 1_500;

/// An instant of small numbers.
pub fn at(units: i64) -> i64 {
    units * UNIT_MICROS
}

pub fn instant(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

/// Buckets between these instants of small numbers.
pub fn buckets(edges: &[i64]) -> Buckets {
    let edges: Vec<Timestamp> = edges.iter().map(|edge| instant(at(*edge))).collect();
    Buckets::new(&edges).unwrap()
}

/// Edges of uneven buckets from 0 on, as days around changes of the clock are.
pub fn uneven_edges(buckets: usize) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(1..5_i64, buckets).prop_map(|lengths| {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    })
}

/// The bucket of an instant, by looking at each.
pub fn bucket_of(edges: &[i64], time_micros: i64) -> Option<usize> {
    edges
        .windows(2)
        .position(|edges| at(edges[0]) <= time_micros && time_micros < at(edges[1]))
}

/// By sorting.
pub fn summary_of(mut micros: Vec<i64>) -> Option<TimeSummary> {
    micros.sort_unstable();
    let count = micros.len();
    let median = match count {
        0 => return None,
        odd if odd % 2 == 1 => micros[count / 2] as f64 / 1e6,
        _ => (micros[count / 2 - 1] + micros[count / 2]) as f64 / 2e6,
    };
    Some(TimeSummary {
        median_seconds: median,
        average_seconds: micros.iter().sum::<i64>() as f64 / (count as f64 * 1e6),
    })
}

pub fn part(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The actors for which something holds.
pub fn actors_where(actors: &BTreeSet<u32>, holds: impl Fn(u32) -> bool) -> BTreeSet<u32> {
    actors.iter().copied().filter(|actor| holds(*actor)).collect()
}
