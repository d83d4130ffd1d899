//! Of several schedulers one acts at a time, whatever becomes of it.

use rustix::process::Signal;

use super::members::{Group, Member};
use crate::harness::wait_until;

const RUNS: &str = "simple_analytics_retention_runs_total";
const ACTIVE: &str = "simple_analytics_scheduler_active";

fn runs(member: &Member) -> f64 {
    member.metric(RUNS).unwrap_or(0.0)
}

/// The member that is the scheduler, once it has acted.
fn acting(members: &[Member], among: &[usize]) -> usize {
    let before: Vec<f64> = among.iter().map(|index| runs(&members[*index])).collect();
    wait_until("a scheduler that acts", || {
        let mut acting = among
            .iter()
            .zip(&before)
            .filter(|(index, before)| runs(&members[**index]) > **before);
        let first = acting.next().map(|(index, _)| *index);
        assert!(acting.next().is_none(), "two of them acted in the same moment");
        first.ok_or_else(|| "nobody acts".to_owned())
    })
}

/// Every run so far: when, in which term, by whom.
fn acts(members: &[Member]) -> Vec<(String, u64, usize)> {
    let mut acts: Vec<_> = members
        .iter()
        .enumerate()
        .flat_map(|(index, member)| {
            member.logged("retention begins").into_iter().map(move |line| {
                let at = line["timestamp"].as_str().expect("a time").to_owned();
                (at, line["term"].as_u64().expect("a term"), index)
            })
        })
        .collect();
    acts.sort();
    acts
}

#[test]
fn of_three_schedulers_one_acts_and_another_takes_over_when_it_dies_hangs_or_stops() {
    let Some(mut group) = Group::new() else { return };
    group.set("RETENTION_INTERVAL_SECONDS", "1");
    let mut members = ["scheduler"; 3].map(|roles| group.start(roles));

    let first = acting(&members, &[0, 1, 2]);
    for (index, member) in members.iter().enumerate() {
        assert_eq!(
            member.metric(ACTIVE),
            Some(f64::from(u8::from(index == first))),
            "{index}"
        );
        let status = member.command(&["event_status"]);
        assert_eq!(status["scheduler"]["is_this_process"], index == first, "{status}");
        assert_eq!(status["scheduler"]["term"], 1, "{status}");
    }
    members[first].signal(Signal::KILL);
    let rest: Vec<usize> = (0..3).filter(|index| *index != first).collect();
    let second = acting(&members, &rest);

    members[second].signal(Signal::STOP);
    let third = rest[usize::from(rest[0] == second)];
    assert_eq!(acting(&members, &[third]), third);
    members[second].signal(Signal::CONT);
    // It goes on living, and hears that it is the scheduler no longer.
    wait_until("the one that hung to stand by", || {
        (members[second].metric(ACTIVE) == Some(0.0))
            .then_some(())
            .ok_or_else(String::new)
    });
    let stood_by = runs(&members[second]);
    for _ in 0..2 {
        assert_eq!(acting(&members, &[second, third]), third);
    }
    assert_eq!(runs(&members[second]).to_bits(), stood_by.to_bits());

    assert!(members[third].stop(), "exit code 0");
    assert_eq!(acting(&members, &[second]), second);

    let acts = acts(&members);
    let terms: Vec<(u64, usize)> = acts.iter().map(|(_, term, by)| (*term, *by)).collect();
    assert!(
        terms.is_sorted_by_key(|(term, _)| *term),
        "an act of an earlier term came late: {acts:?}"
    );
    let mut of_terms = terms;
    of_terms.dedup();
    let holders: Vec<usize> = of_terms.iter().map(|(_, by)| *by).collect();
    let expected = [first, second, third, second];
    assert_eq!(holders, expected, "each term is of one process: {acts:?}");
}
