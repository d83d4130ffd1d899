//! Edges of paths, counted.

use std::cmp::{Ordering, Reverse};

use model::limits::PATH_EDGES_MAX;
use rustc_hash::FxHashMap;

use super::PathEdge;
use crate::kernels::{
    KernelError,
    durations::{TimesLeft, summary},
};

/// An edge as it is counted.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// The place of `from`, from 0.
    step: usize,
    from: u32,
    to: u32,
    count: u64,
}

/// All edges, and each time that one was taken.
#[derive(Debug)]
pub(super) struct Edges {
    /// By step of the item before: the numbers of the edges between two items.
    numbers: Vec<FxHashMap<(u32, u32), u32>>,
    /// By number.
    edges: Vec<Edge>,
    /// The number of every edge taken, in the order of the paths.
    taken: Vec<u32>,
    /// The time it took, microseconds. Not by edge: most edges are not answered, and writing goes straight on.
    taken_micros: Vec<i64>,
    times_left: TimesLeft,
}

impl Edges {
    pub(super) fn new(max_steps: usize) -> Self {
        Self {
            numbers: vec![FxHashMap::default(); max_steps],
            edges: Vec::new(),
            taken: Vec::new(),
            taken_micros: Vec::new(),
            times_left: TimesLeft::default(),
        }
    }

    /// Counts a path that goes from one item, at the place `step` from 0, to another.
    #[inline]
    pub(super) fn add(&mut self, step: usize, from: u32, to: u32, micros: i64) -> Result<(), KernelError> {
        self.times_left.take()?;
        let number = match self.numbers[step].get(&(from, to)) {
            Some(number) => *number,
            None => self.make(step, from, to)?,
        };
        self.edges[number as usize].count += 1;
        self.taken.push(number);
        self.taken_micros.push(micros);
        Ok(())
    }

    #[cold]
    fn make(&mut self, step: usize, from: u32, to: u32) -> Result<u32, KernelError> {
        let number = u32::try_from(self.edges.len()).ok();
        let number = number.filter(|_| self.edges.len() < PATH_EDGES_MAX);
        let number = number.ok_or(KernelError::TooManyGroups {
            what: "edges of paths",
            limit: PATH_EDGES_MAX,
        })?;
        self.numbers[step].insert((from, to), number);
        self.edges.push(Edge {
            step,
            from,
            to,
            count: 0,
        });
        Ok(number)
    }

    /// Adds every edge to the count of the item that it goes to, by place from 0.
    pub(super) fn count_ends(&self, counts: &mut FxHashMap<(usize, u32), u64>) {
        for edge in &self.edges {
            *counts.entry((edge.step + 1, edge.to)).or_default() += edge.count;
        }
    }

    /// The largest edges, in the order of an answer.
    pub(super) fn largest(&self, limit: usize, compare: impl Fn(u32, u32) -> Ordering) -> Vec<PathEdge> {
        let mut numbers: Vec<usize> = (0..self.edges.len()).collect();
        numbers.sort_unstable_by(|left, right| {
            let (left, right) = (self.edges[*left], self.edges[*right]);
            (Reverse(left.count), left.step)
                .cmp(&(Reverse(right.count), right.step))
                .then_with(|| compare(left.from, right.from).then(left.from.cmp(&right.from)))
                .then_with(|| compare(left.to, right.to).then(left.to.cmp(&right.to)))
        });
        numbers.truncate(limit);
        let mut places = vec![None; self.edges.len()];
        for (place, number) in numbers.iter().enumerate() {
            places[*number] = Some(place);
        }
        let mut times = vec![Vec::new(); numbers.len()];
        for (number, micros) in self.taken.iter().zip(&self.taken_micros) {
            if let Some(place) = places[*number as usize] {
                times[place].push(*micros);
            }
        }
        let largest = numbers.iter().zip(times).filter_map(|(number, mut times)| {
            let edge = self.edges[*number];
            Some(PathEdge {
                step: edge.step + 1,
                from: edge.from,
                to: edge.to,
                count: edge.count,
                time: summary(&mut times)?,
            })
        });
        largest.collect()
    }
}
