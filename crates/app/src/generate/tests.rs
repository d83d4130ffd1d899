use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn plan(events: u64) -> Plan {
    Plan {
        seed: 7,
        users: 500,
        events,
        from: "2026-01-01T00:00:00Z".parse().unwrap(),
        until: "2026-01-31T00:00:00Z".parse().unwrap(),
    }
}

fn lines(plan: Plan) -> Vec<String> {
    Traffic::new(plan)
        .flatten()
        .map(|event| serde_json::to_string(&event).unwrap())
        .collect()
}

#[test]
fn the_same_plan_makes_the_same_events_and_another_seed_others() {
    let once = lines(plan(3_000));
    assert_eq!(once.len(), 3_000);
    assert_eq!(once, lines(plan(3_000)));
    let other = lines(Plan { seed: 8, ..plan(3_000) });
    assert_eq!(once.iter().filter(|line| other.contains(line)).count(), 0);
    assert_eq!(lines(plan(1)).len(), 1);
}

#[test]
fn events_are_distinct_inside_the_range_and_in_order_within_a_visit() {
    let plan = plan(5_000);
    let mut ids = BTreeSet::new();
    for visit in Traffic::new(plan) {
        let times: Vec<Timestamp> = visit.iter().map(|event| event.timestamp.parse().unwrap()).collect();
        assert!(
            times.is_sorted() && times[0] >= plan.from && *times.last().unwrap() < plan.until,
            "{times:?}"
        );
        let one = |field: fn(&ImportEvent) -> Option<String>| {
            assert_eq!(visit.iter().map(field).collect::<BTreeSet<_>>().len(), 1);
        };
        one(|event| event.user_id.clone());
        one(|event| event.session_id.clone());
        one(|event| event.ip_address.clone());
        one(|event| event.user_agent.clone());
        ids.extend(visit.into_iter().map(|event| event.event_id));
    }
    assert_eq!(ids.len(), 5_000);
}

#[test]
fn the_shape_is_that_of_a_shop() {
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut sign_ups = BTreeSet::new();
    let mut visits_by_user: BTreeMap<String, u32> = BTreeMap::new();
    let mut days = BTreeSet::new();
    for visit in Traffic::new(plan(20_000)) {
        *visits_by_user.entry(visit[0].user_id.clone().unwrap()).or_default() += 1;
        for event in visit {
            *names.entry(event.event_name.clone()).or_default() += 1;
            days.insert(event.timestamp[..10].to_owned());
            let user = event.user_id.unwrap();
            match event.event_name.as_str() {
                "sign_up" => assert!(sign_ups.insert(user.clone()), "{user} signed up twice"),
                "purchase" => assert!(sign_ups.contains(&user), "{user} bought without an account"),
                _ => {}
            }
        }
    }
    // A funnel: many look, some sign up, fewer buy; every day has visitors; most people come back.
    assert!(
        names["page_view"] > 15_000 && names["add_to_cart"] > 100 && names["search"] > 100,
        "{names:?}"
    );
    assert!(names["sign_up"] > 50 && names["purchase"] > 30, "{names:?}");
    assert_eq!(days.len(), 30);
    let returning = visits_by_user.values().filter(|visits| **visits > 1).count();
    assert!(
        returning * 2 > visits_by_user.len() && visits_by_user.len() > 300,
        "{returning} of {}",
        visits_by_user.len()
    );
}

#[test]
fn live_traffic_never_ends_and_mixes_visits() {
    let mut traffic = LiveTraffic::new(7, 1, 100, 20);
    let events: Vec<ImportEvent> = (0..2_000).map(|_| traffic.event()).collect();
    let sessions = |events: &[ImportEvent]| {
        events
            .iter()
            .map(|event| event.session_id.clone())
            .collect::<BTreeSet<_>>()
    };
    assert!(sessions(&events[..20]).len() > 8);
    assert!(sessions(&events).len() > 200);
    let mut other_run = LiveTraffic::new(7, 2, 100, 20);
    let other: Vec<ImportEvent> = (0..2_000).map(|_| other_run.event()).collect();
    assert!(sessions(&events).is_disjoint(&sessions(&other)));
}
