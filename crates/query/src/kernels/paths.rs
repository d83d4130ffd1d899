//! Paths: what actors do one after the other.
//!
//! What `docs/semantics` leaves open is decided so:
//! - A path is a session, or a user's events between two pauses longer than `gap_micros` (without it: all of them). `include`, `exclude` and
//!   filters are SQL's: what is not delivered does not separate repeats, and leaves a pause where it was.
//! - Consecutive repeats collapse first. The item's time is that of the first of them, and an edge takes the time from one item to the next.
//! - With a start point a path begins at its first occurrence, without one where it begins. With an end point it ends at the first
//!   occurrence after the start. Paths without the start or the end point are not counted.
//! - Of a path the first `max_steps` items count, numbered from 1. With an end point and no start point the last ones do, numbered so that the
//!   end point has the number `max_steps` in every path.
//! - Items at one instant come in the order delivered.

mod edges;

use std::cmp::{Ordering, Reverse};

use model::limits::PATH_STEPS_MAX;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{KernelError, TimeSummary, order::Order};
use edges::Edges;

/// An event as an item of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathsRow {
    /// The actor's number: a session, or a user.
    pub actor: u32,
    /// The number of the item's name.
    pub item: u32,
    /// Microseconds since the epoch.
    pub time_micros: i64,
}

/// What paths ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathsSettings {
    /// The item that paths start from.
    pub start: Option<u32>,
    /// The item that paths end with.
    pub end: Option<u32>,
    /// Items of a path, 2 to [`PATH_STEPS_MAX`].
    pub max_steps: usize,
    /// A longer pause begins another path; microseconds.
    pub gap_micros: Option<i64>,
    /// Edges answered, the largest ones.
    pub limit: usize,
}

/// An item at a place in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathNode {
    /// Its place, from 1.
    pub step: usize,
    /// The item.
    pub item: u32,
    /// Paths that have it there, whether or not their next edge is among those answered.
    pub count: u64,
}

/// From an item to the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathEdge {
    /// The place of `from`, from 1; that of `to` is the next.
    pub step: usize,
    /// The item before.
    pub from: u32,
    /// The item after.
    pub to: u32,
    /// Paths that went this way.
    pub count: u64,
    /// The time they took.
    pub time: TimeSummary,
}

/// The answer of paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathsAnswer {
    /// Paths counted, of one item too.
    pub paths: u64,
    /// The ends of the edges; by step, then the largest first, then by item.
    pub nodes: Vec<PathNode>,
    /// The largest first, then by step and by items.
    pub edges: Vec<PathEdge>,
}

/// How far the path at hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The start point has not come.
    BeforeStart,
    /// Items count.
    Open,
    /// The path counts, and no further item of it does.
    Over,
}

/// Counts paths.
#[derive(Debug)]
pub struct PathsKernel {
    settings: PathsSettings,
    order: Order,
    state: State,
    /// The row before, and whether it is of the path at hand.
    last: Option<PathsRow>,
    /// Items and times of the path at hand, as far as they count.
    items: Vec<(u32, i64)>,
    paths: u64,
    /// Paths by their first place and item; every other node has an edge to it.
    firsts: FxHashMap<(usize, u32), u64>,
    edges: Edges,
}

impl PathsKernel {
    /// A kernel that has seen no row.
    ///
    /// # Errors
    /// [`KernelError::Settings`].
    pub fn new(settings: PathsSettings) -> Result<Self, KernelError> {
        if !(2..=PATH_STEPS_MAX).contains(&settings.max_steps) {
            return Err(KernelError::Settings("paths have 2 to 20 steps"));
        }
        Ok(Self {
            order: Order::default(),
            state: State::BeforeStart,
            last: None,
            items: Vec::with_capacity(settings.max_steps),
            paths: 0,
            firsts: FxHashMap::default(),
            edges: Edges::new(settings.max_steps),
            settings,
        })
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// Any [`KernelError`] but `Settings` and `ActorTooLong`; the kernel is of no use then.
    #[inline]
    pub fn push(&mut self, row: PathsRow) -> Result<(), KernelError> {
        if self.order.admit(row.actor, row.time_micros)? {
            self.close_path()?;
        } else if let (Some(gap_micros), Some(last)) = (self.settings.gap_micros, self.last)
            && row.time_micros.saturating_sub(last.time_micros) > gap_micros
        {
            self.close_path()?;
        }
        let before = self.last.replace(row);
        if before.is_none_or(|before| before.item != row.item) {
            self.take(row);
        }
        Ok(())
    }

    /// Takes an item that is no repeat.
    #[inline]
    fn take(&mut self, row: PathsRow) {
        let PathsSettings {
            start, end, max_steps, ..
        } = self.settings;
        match self.state {
            State::Over => return,
            State::BeforeStart if start.is_some_and(|start| start != row.item) => return,
            State::BeforeStart => {
                self.state = State::Open;
                self.items.push((row.item, row.time_micros));
                // What paths start from is not what they end with, if it is the same.
                let is_over = start.is_none() && end == Some(row.item);
                if is_over {
                    self.state = State::Over;
                }
                return;
            }
            State::Open => {}
        }
        if self.items.len() < max_steps {
            self.items.push((row.item, row.time_micros));
        } else if start.is_none() {
            self.items.rotate_left(1);
            self.items[max_steps - 1] = (row.item, row.time_micros);
        }
        let is_over = match end {
            Some(end) => end == row.item,
            None => self.items.len() == max_steps,
        };
        if is_over {
            self.state = State::Over;
        }
    }

    fn close_path(&mut self) -> Result<(), KernelError> {
        let is_counted = match self.state {
            State::BeforeStart => false,
            State::Open => self.settings.end.is_none(),
            State::Over => true,
        };
        if is_counted {
            self.paths += 1;
            let first = match self.settings {
                PathsSettings {
                    start: None,
                    end: Some(_),
                    max_steps,
                    ..
                } => max_steps - self.items.len(),
                _ => 0,
            };
            *self.firsts.entry((first, self.items[0].0)).or_default() += 1;
            for (step, pair) in (first..).zip(self.items.windows(2)) {
                self.edges.add(step, pair[0].0, pair[1].0, pair[1].1 - pair[0].1)?;
            }
        }
        self.items.clear();
        self.last = None;
        self.state = State::BeforeStart;
        Ok(())
    }

    /// The answer. `compare` orders items where counts are the same; by name, for an answer that does not depend on how they are numbered.
    ///
    /// # Errors
    /// As [`Self::push`], for the last path.
    pub fn finish(mut self, compare: impl Fn(u32, u32) -> Ordering) -> Result<PathsAnswer, KernelError> {
        self.close_path()?;
        let edges = self.edges.largest(self.settings.limit, &compare);
        let mut counts = self.firsts;
        self.edges.count_ends(&mut counts);
        Ok(PathsAnswer {
            paths: self.paths,
            nodes: nodes(&edges, &counts, compare),
            edges,
        })
    }
}

/// The ends of these edges. `counts` is by place, from 0.
fn nodes(
    edges: &[PathEdge],
    counts: &FxHashMap<(usize, u32), u64>,
    compare: impl Fn(u32, u32) -> Ordering,
) -> Vec<PathNode> {
    let ends: FxHashSet<(usize, u32)> = edges
        .iter()
        .flat_map(|edge| [(edge.step, edge.from), (edge.step + 1, edge.to)])
        .collect();
    let mut nodes: Vec<PathNode> = ends
        .into_iter()
        .map(|(step, item)| PathNode {
            step,
            item,
            count: counts.get(&(step - 1, item)).copied().unwrap_or(0),
        })
        .collect();
    nodes.sort_unstable_by(|left, right| {
        (left.step, Reverse(left.count))
            .cmp(&(right.step, Reverse(right.count)))
            .then_with(|| compare(left.item, right.item).then(left.item.cmp(&right.item)))
    });
    nodes
}
