//! `metrics/realtime`, `names`, and what holds for every endpoint.
#![expect(missing_docs, reason = "the name of a test says it all")]

use query::{DailyAggregation, FiveMinuteAggregation, HourlyAggregation};
use serde_json::{Value, json};
use store::{EventStore, ProjectScope};

use super::fixture::{
    ALL, NOW, append, counts, event, events, names, realtime, scope, shop, shop_events, source_id, summaries,
};
use crate::build;

fn sources() -> Value {
    json!([
        {"id": source_id(2), "name": "app", "description": "Auto-created source: app"},
        {"id": source_id(1), "name": "web", "description": "Auto-created source: web"},
    ])
}

pub async fn realtime_counts_until_now(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    assert_eq!(
        realtime(store, &shop, NOW).await,
        json!({
            "project_name": "Shop",
            "current_hour_events": 1,
            "current_day_events": 5,
            "last_24h_events": 6,
            "active_users_today": 3,
            "active_sessions_now": 1,
            "top_events_today": [["page_view", 3], ["purchase", 2]],
            "event_sources": sources(),
            "last_updated": "2026-01-15T09:30:00Z",
        })
    );
    // Edges: an event of this very instant counts, one of exactly 60 minutes or 24 hours ago no longer.
    for (now, [hour, day, last_24h, users, sessions]) in [
        ("2026-01-14T22:59:59.999999Z", [1, 1, 1, 1, 1]),
        ("2026-01-14T23:00:00Z", [1, 1, 2, 1, 1]),
        ("2026-01-15T09:05:00Z", [1, 5, 6, 3, 1]),
        ("2026-01-15T09:04:59.999999Z", [1, 5, 6, 3, 3]),
        ("2026-01-15T22:30:00Z", [0, 5, 5, 3, 0]),
        ("2026-01-15T23:00:00Z", [1, 1, 5, 1, 1]),
        ("2027-01-01T00:00:00Z", [0, 0, 0, 0, 0]),
    ] {
        let metrics = realtime(store, &shop, now).await;
        let expected = [
            ("current_hour_events", hour),
            ("current_day_events", day),
            ("last_24h_events", last_24h),
            ("active_users_today", users),
            ("active_sessions_now", sessions),
        ];
        for (field, value) in expected {
            assert_eq!(metrics[field], value, "{field} at {now}");
        }
    }
}

pub async fn names_are_those_of_the_last_30_days(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    for (now, expected) in [
        ("2026-01-14T22:30:00Z", &["login"][..]),
        (NOW, &["login", "page_view", "purchase"]),
        // 30 days with today: since midnight of 15 January in Berlin.
        ("2026-02-13T22:59:59Z", &["page_view", "purchase"]),
        ("2026-02-13T23:00:00Z", &["page_view"]),
        ("2026-03-01T00:00:00Z", &[]),
    ] {
        let answer = names(store, &shop, now).await;
        assert_eq!(
            answer,
            json!({"event_names": expected, "count": expected.len()}),
            "{now}"
        );
    }
}

/// Every list, then the two objects.
async fn every_answer(store: &dyn EventStore, scope: &ProjectScope) -> [Value; 7] {
    [
        events(store, scope, &ALL).await,
        counts::<DailyAggregation>(store, scope, &ALL).await,
        counts::<HourlyAggregation>(store, scope, &ALL).await,
        counts::<FiveMinuteAggregation>(store, scope, &ALL).await,
        summaries(store, scope, &ALL).await,
        realtime(store, scope, NOW).await,
        names(store, scope, NOW).await,
    ]
}

pub async fn an_empty_project_is_answered(store: &dyn EventStore) {
    let shop = shop().await;
    let answers = every_answer(store, &shop).await;
    for answer in &answers[..5] {
        assert_eq!(
            answer,
            &json!({"count": 0, "next": null, "previous": null, "results": []})
        );
    }
    assert_eq!(
        answers[5],
        json!({
            "project_name": "Shop",
            "current_hour_events": 0,
            "current_day_events": 0,
            "last_24h_events": 0,
            "active_users_today": 0,
            "active_sessions_now": 0,
            "top_events_today": [],
            "event_sources": sources(),
            "last_updated": NOW,
        })
    );
    assert_eq!(answers[6], json!({"event_names": [], "count": 0}));
}

pub async fn another_project_is_never_seen(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let before = every_answer(store, &shop).await;
    // The same users, sessions, sources, names and times.
    let neighbour = build::project(2);
    let theirs = shop_events()
        .into_iter()
        .zip(1000..)
        .map(|(ours, number)| model::EnrichedEvent {
            project_id: neighbour,
            id: event(neighbour, number, NOW, (None, "x"), ("u", "s")).id,
            ..ours
        })
        .collect();
    append(store, theirs).await;
    assert_eq!(every_answer(store, &shop).await, before);
    let nobody = scope(build::project(3), "Nobody", "UTC").await;
    let theirs = every_answer(store, &nobody).await;
    assert!(theirs[..5].iter().all(|answer| answer["count"] == 0));
}
