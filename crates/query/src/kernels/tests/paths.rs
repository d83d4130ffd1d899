//! Rules of "Paths", by hand and against paths cut from whole lists.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::{HISTORIES, at, summary_of};
use crate::kernels::{PathEdge, PathNode, PathsAnswer, PathsKernel, PathsRow, PathsSettings, TimeSummary};

/// Items are compared the other way round than they are numbered.
fn ask(settings: PathsSettings, rows: &[PathsRow]) -> PathsAnswer {
    let mut kernel = PathsKernel::new(settings).unwrap();
    for row in rows {
        kernel.push(*row).unwrap();
    }
    kernel.finish(|left, right| right.cmp(&left)).unwrap()
}

const FIVE: PathsSettings = PathsSettings {
    start: None,
    end: None,
    max_steps: 5,
    gap_micros: None,
    limit: 50,
};

/// The events of an actor: an item a letter, an event a unit of time, a pause where there is a space.
fn rows(actor: u32, items: &str) -> Vec<PathsRow> {
    let events = items.bytes().enumerate().filter(|(_, item)| *item != b' ');
    let row = |(time, item): (usize, u8)| PathsRow {
        actor,
        item: item.into(),
        time_micros: at(time as i64),
    };
    events.map(row).collect()
}

/// Edges with their counts, in order.
fn edges(settings: PathsSettings, rows: &[PathsRow]) -> Vec<String> {
    let letter = |item: u32| char::from(u8::try_from(item).unwrap());
    let answer = ask(settings, rows);
    let edges = answer.edges.iter();
    edges
        .map(|edge| format!("{}{}{} {}", edge.step, letter(edge.from), letter(edge.to), edge.count))
        .collect()
}

#[test]
fn consecutive_repeats_collapse() {
    assert_eq!(edges(FIVE, &rows(1, "aaabba")), ["1ab 1", "2ba 1"]);
    // From the first of the repeats to the first of the next ones.
    let time = TimeSummary {
        median_seconds: 3.000_003,
        average_seconds: 3.000_003,
    };
    assert_eq!(ask(FIVE, &rows(1, "aaabba")).edges[0].time, time);
    // Sessions do not collapse into each other.
    let answer = ask(FIVE, &[rows(1, "a"), rows(2, "ab")].concat());
    assert_eq!((answer.paths, answer.nodes[0].count, answer.edges[0].count), (2, 2, 1));
}

#[test]
fn first_max_steps_items_from_the_start_point() {
    assert_eq!(edges(FIVE, &rows(1, "abcdefg")), ["1ab 1", "2bc 1", "3cd 1", "4de 1"]);
    let from_c = PathsSettings {
        start: Some(b'c'.into()),
        max_steps: 3,
        ..FIVE
    };
    assert_eq!(edges(from_c, &rows(1, "abcdefcg")), ["1cd 1", "2de 1"]);
    assert_eq!(ask(from_c, &rows(1, "abd")), PathsAnswer::default());
}

#[test]
fn or_up_to_the_end_point() {
    let to_d = PathsSettings {
        end: Some(b'd'.into()),
        max_steps: 3,
        ..FIVE
    };
    // The last ones; the end point has the same place in all.
    let both = [rows(1, "abcdcd"), rows(2, "cd"), rows(3, "d"), rows(4, "abc")].concat();
    assert_eq!(edges(to_d, &both), ["2cd 2", "1bc 1"]);
    assert_eq!(ask(to_d, &both).paths, 3);
    let b_to_d = PathsSettings {
        start: Some(b'b'.into()),
        max_steps: 3,
        ..to_d
    };
    let all = [rows(1, "abdbd"), rows(2, "dabcad"), rows(3, "ab"), rows(4, "ad")].concat();
    assert_eq!(edges(b_to_d, &all), ["1bd 1", "1bc 1", "2ca 1"]);
}

#[test]
fn edges_weighted_by_sessions_with_median_time_top_edges() {
    let all = [
        rows(1, "ab"),
        rows(2, "a b"),
        rows(3, "a      b"),
        rows(4, "ac"),
        rows(5, "ad"),
        rows(6, "xa"),
    ]
    .concat();
    let answer = ask(PathsSettings { limit: 2, ..FIVE }, &all);
    let time = TimeSummary {
        median_seconds: 2.000_002,
        average_seconds: 10_000_010.0 / 3e6,
    };
    let edge = |to: u8, count, time| PathEdge {
        step: 1,
        from: b'a'.into(),
        to: to.into(),
        count,
        time,
    };
    assert_eq!(answer.edges[0], edge(b'b', 3, time));
    // Of edges of one size first that from (then that to) the item that is first by comparison: x, then d.
    assert_eq!((answer.edges[1].from, answer.edges[1].to), (b'x'.into(), b'a'.into()));
    // All that were there, not only those that went on by these edges.
    let node = |step, item: u8, count| PathNode {
        step,
        item: item.into(),
        count,
    };
    let nodes = [node(1, b'a', 5), node(1, b'x', 1), node(2, b'b', 3), node(2, b'a', 1)];
    assert_eq!(answer.nodes, nodes);
}

#[test]
fn of_a_user_a_longer_pause_begins_another_path() {
    let settings = PathsSettings {
        gap_micros: Some(at(2)),
        ..FIVE
    };
    let answer = ask(settings, &rows(1, "a b  b"));
    assert_eq!((answer.paths, answer.edges.len()), (2, 1));
    // A repeat is an event: the pause is counted from it.
    assert_eq!(edges(settings, &rows(1, "a a b")), ["1ab 1"]);
}

/// The path's items, with the place of the first; nothing when it does not count.
fn cut(settings: PathsSettings, path: &[PathsRow]) -> Option<(usize, Vec<PathsRow>)> {
    let mut items: Vec<PathsRow> = path.to_vec();
    items.dedup_by_key(|row| row.item);
    if let Some(start) = settings.start {
        let first = items.iter().position(|row| row.item == start)?;
        items.drain(..first);
    }
    if let Some(end) = settings.end {
        let after = usize::from(settings.start.is_some());
        let last = after + items.iter().skip(after).position(|row| row.item == end)?;
        items.truncate(last + 1);
    }
    let excess = items.len().saturating_sub(settings.max_steps);
    if settings.end.is_some() && settings.start.is_none() {
        items.drain(..excess);
        return Some((1 + settings.max_steps - items.len(), items));
    }
    items.truncate(settings.max_steps);
    Some((1, items))
}

/// The paths of all actors.
fn paths(settings: PathsSettings, rows: &[PathsRow]) -> Vec<&[PathsRow]> {
    let is_same = |left: &PathsRow, right: &PathsRow| {
        let is_pause = settings
            .gap_micros
            .is_some_and(|gap| right.time_micros - left.time_micros > gap);
        left.actor == right.actor && !is_pause
    };
    rows.chunk_by(is_same).collect()
}

fn expected(settings: PathsSettings, rows: &[PathsRow]) -> PathsAnswer {
    let paths: Vec<_> = paths(settings, rows)
        .into_iter()
        .filter_map(|path| cut(settings, path))
        .collect();
    let mut edges: BTreeMap<(usize, u32, u32), Vec<i64>> = BTreeMap::new();
    let mut nodes: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for (first, items) in &paths {
        for (place, item) in items.iter().enumerate() {
            *nodes.entry((first + place, item.item)).or_default() += 1;
            if let Some(next) = items.get(place + 1) {
                let edge = (first + place, item.item, next.item);
                edges.entry(edge).or_default().push(next.time_micros - item.time_micros);
            }
        }
    }
    let mut edges: Vec<PathEdge> = edges
        .into_iter()
        .map(|((step, from, to), times)| PathEdge {
            step,
            from,
            to,
            count: times.len() as u64,
            time: summary_of(times).unwrap(),
        })
        .collect();
    edges.sort_by_key(|edge| {
        (
            u64::MAX - edge.count,
            edge.step,
            u32::MAX - edge.from,
            u32::MAX - edge.to,
        )
    });
    edges.truncate(settings.limit);
    let is_end = |step: usize, item: u32| {
        let mut edges = edges.iter();
        edges.any(|edge| (edge.step, edge.from) == (step, item) || (edge.step + 1, edge.to) == (step, item))
    };
    let nodes = nodes.into_iter().filter(|((step, item), _)| is_end(*step, *item));
    let mut nodes: Vec<PathNode> = nodes
        .map(|((step, item), count)| PathNode { step, item, count })
        .collect();
    nodes.sort_by_key(|node| (node.step, u64::MAX - node.count, u32::MAX - node.item));
    PathsAnswer {
        paths: paths.len() as u64,
        nodes,
        edges,
    }
}

fn settings() -> impl Strategy<Value = PathsSettings> {
    let point = || prop_oneof![Just(None), (0..4_u32).prop_map(Some)];
    let gap = prop_oneof![Just(None), (0..4_i64).prop_map(|gap| Some(at(gap)))];
    (point(), point(), 2..6_usize, gap, 1..12_usize).prop_map(|(start, end, max_steps, gap_micros, limit)| {
        PathsSettings {
            start,
            end,
            max_steps,
            gap_micros,
            limit,
        }
    })
}

fn history() -> impl Strategy<Value = Vec<PathsRow>> {
    let event = (1..5_u32, 0..30_i64, 0..4_u32).prop_map(|(actor, time, item)| PathsRow {
        actor,
        item,
        time_micros: at(time),
    });
    prop::collection::vec(event, 0..50).prop_map(|mut rows| {
        rows.sort_by_key(|row| (row.actor, row.time_micros));
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * HISTORIES))]

    #[test]
    fn paths_are_what_cutting_whole_lists_gives(settings in settings(), rows in history()) {
        prop_assert_eq!(ask(settings, &rows), expected(settings, &rows));
    }

    #[test]
    fn a_node_counts_what_comes_in_and_at_least_what_goes_out(settings in settings(), rows in history()) {
        let answer = ask(PathsSettings { limit: 1_000, ..settings }, &rows);
        let steps: BTreeSet<usize> = answer.nodes.iter().map(|node| node.step).collect();
        for node in &answer.nodes {
            let out: u64 = answer.edges.iter().filter(|edge| (edge.step, edge.from) == (node.step, node.item)).map(|edge| edge.count).sum();
            let into: u64 = answer.edges.iter().filter(|edge| (edge.step + 1, edge.to) == (node.step, node.item)).map(|edge| edge.count).sum();
            prop_assert!(out <= node.count && into <= node.count);
            let is_first = Some(&node.step) == steps.first();
            prop_assert!(is_first || settings.start.is_none() && settings.end.is_some() || into == node.count);
        }
    }
}
