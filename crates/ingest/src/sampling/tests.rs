use model::{Sampling, SamplingStrategy, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const PROJECT: ProjectId = ProjectId(Uuid::from_u128(7));

fn sampling(strategy: SamplingStrategy, rate: f64) -> Sampling {
    Sampling {
        enabled: true,
        rate,
        strategy,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const EXPECTED_PLACE: &str = "0.8470224572710892";

const STRATEGIES: [SamplingStrategy; 3] = [
    SamplingStrategy::Random,
    SamplingStrategy::Deterministic,
    SamplingStrategy::TimeWindow,
];

#[test]
fn switched_off_or_at_the_ends_nothing_is_left_to_chance() {
    let end_of_minute = at("2026-01-31T12:00:59.999999Z");
    let start_of_minute = at("2026-01-31T12:00:00Z");
    for strategy in STRATEGIES {
        for user in [None, Some("u")] {
            let off = Sampling {
                enabled: false,
                ..sampling(strategy, 0.0)
            };
            assert!(keeps(off, PROJECT, user, end_of_minute, 0.999));
            for rate in [1.0, 2.0, f64::INFINITY, f64::NAN] {
                assert!(
                    keeps(sampling(strategy, rate), PROJECT, user, end_of_minute, 0.999),
                    "{rate}"
                );
            }
            for rate in [0.0, -0.0, -1.0, f64::NEG_INFINITY] {
                assert!(
                    !keeps(sampling(strategy, rate), PROJECT, user, start_of_minute, 0.0),
                    "{rate}"
                );
            }
        }
    }
}

#[test]
fn random_goes_by_the_given_number_alone() {
    let kept = |random| {
        keeps(
            sampling(SamplingStrategy::Random, 0.3),
            PROJECT,
            Some("u"),
            at("2026-01-31"),
            random,
        )
    };
    assert_eq!([0.0, 0.299, 0.3, 0.9].map(kept), [true, true, false, false]);
}

#[test]
fn without_a_user_deterministic_is_random() {
    let sampling = sampling(SamplingStrategy::Deterministic, 0.5);
    let kept = |user, random| keeps(sampling, PROJECT, user, at("2026-01-31"), random);
    assert_eq!([kept(None, 0.4), kept(None, 0.6)], [true, false]);
    assert_eq!(kept(Some("u"), 0.0), kept(Some("u"), 0.999));
}

#[test]
fn a_time_window_is_the_first_share_of_each_minute() {
    let kept = |text| {
        keeps(
            sampling(SamplingStrategy::TimeWindow, 0.25),
            PROJECT,
            Some("u"),
            at(text),
            0.0,
        )
    };
    for (text, expected) in [
        ("2026-01-31T12:34:00Z", true),
        ("2026-01-31T12:34:14.999999Z", true),
        ("2026-01-31T12:34:15Z", false),
        ("2026-01-31T12:34:59.999999Z", false),
        ("1969-12-31T23:59:14Z", true),
        ("1969-12-31T23:59:15Z", false),
    ] {
        assert_eq!(kept(text), expected, "{text}");
    }
}

#[test]
fn a_users_place_is_fixed_for_ever_and_differs_between_projects() {
    // First 53 bits of SHA-256(16 bytes of the id, then "user-1"), computed with another implementation.
    assert_eq!(place_of_user(PROJECT, "user-1").to_string(), EXPECTED_PLACE);
    let place: f64 = EXPECTED_PLACE.parse().unwrap();
    let kept = |rate| {
        keeps(
            sampling(SamplingStrategy::Deterministic, rate),
            PROJECT,
            Some("user-1"),
            at("2026-01-31"),
            0.5,
        )
    };
    assert_eq!(
        [kept(place - 1e-9), kept(place), kept(place + 1e-9)],
        [false, false, true]
    );
    assert_ne!(
        place_of_user(PROJECT, "user-1"),
        place_of_user(ProjectId(Uuid::from_u128(8)), "user-1")
    );
}

#[test]
fn the_kept_share_of_users_is_the_rate() {
    for rate in [0.01, 0.1, 0.5, 0.9] {
        let sampling = sampling(SamplingStrategy::Deterministic, rate);
        let kept = (0..20_000)
            .filter(|number| {
                keeps(
                    sampling,
                    PROJECT,
                    Some(&format!("user-{number}")),
                    at("2026-01-31"),
                    0.0,
                )
            })
            .count();
        let share = kept as f64 / 20_000.0;
        assert!((share - rate).abs() < 0.015, "{rate}: {share}");
    }
}

proptest! {
    #[test]
    fn raising_the_rate_keeps_everyone_who_was_in(
        user in ".{1,40}", project in any::<u128>(), low in 0.0..1.0_f64, more in 0.0..1.0_f64,
    ) {
        let project = ProjectId(Uuid::from_u128(project));
        let kept = |rate| keeps(sampling(SamplingStrategy::Deterministic, rate), project, Some(&user), at("2026-01-31"), 0.5);
        prop_assert!(!kept(low) || kept(low + more));
    }
}

#[test]
fn the_user_that_counts_is_the_clients_else_the_browsers() {
    let mut event = crate::decode_import_line(
        br#"{"event_id":"1","event_name":"a","timestamp":"2020-01-01T00:00:00Z","user_id":"u","anonymous_id":"a"}"#,
        PROJECT,
        at("2026-01-31"),
    )
    .unwrap();
    assert_eq!(sampled_user(&event), Some("u"));
    event.user_id = None;
    assert_eq!(sampled_user(&event), Some("a"));
    event.anonymous_id = None;
    assert_eq!(sampled_user(&event), None);
}
