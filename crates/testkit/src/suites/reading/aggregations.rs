//! `aggregations/{daily,hourly,5min}`.
#![expect(missing_docs, reason = "the name of a test says it all")]

use query::{DailyAggregation, FiveMinuteAggregation, HourlyAggregation};
use serde_json::{Value, json};
use store::EventStore;

use crate::build;

use super::fixture::{ALL, append, column, counts, event, scope, shop, shop_events, shop_id, source_id, summaries};

/// A row of the shop; `bucket` is the field of the interval and its value.
fn row(
    bucket: (&str, &str),
    (source, name): (Option<&str>, &str),
    [events, users, sessions]: [u64; 3],
    (created_at, updated_at): (&str, &str),
) -> Value {
    let mut row = json!({
        "project_name": "Shop",
        "event_source_name": source,
        "event_name": name,
        "event_count": events,
        "unique_users": users,
        "unique_sessions": sessions,
        "created_at": created_at,
        "updated_at": updated_at,
    });
    row[bucket.0] = json!(bucket.1);
    row
}

pub async fn days_are_counted_by_source_and_name(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let (web, app) = (Some("web"), Some("app"));
    let at = |time: &'static str| (time, time);
    let expected = [
        row(
            ("date", "2026-01-16"),
            (web, "page_view"),
            [1, 1, 1],
            at("2026-01-15T23:00:01Z"),
        ),
        row(
            ("date", "2026-01-15"),
            (web, "page_view"),
            [2, 2, 2],
            ("2026-01-14T23:00:01Z", "2026-01-15T08:05:00.999999Z"),
        ),
        row(
            ("date", "2026-01-15"),
            (app, "page_view"),
            [1, 1, 1],
            at("2026-01-16T10:00:00.250000Z"),
        ),
        row(
            ("date", "2026-01-15"),
            (web, "purchase"),
            [1, 1, 1],
            at("2026-01-15T08:05:01Z"),
        ),
        row(
            ("date", "2026-01-15"),
            (None, "purchase"),
            [1, 1, 1],
            at("2026-01-15T08:05:01Z"),
        ),
        row(
            ("date", "2026-01-14"),
            (web, "login"),
            [1, 1, 1],
            at("2026-01-14T22:30:01Z"),
        ),
    ];
    assert_eq!(
        counts::<DailyAggregation>(store, &shop, &ALL).await,
        json!({"count": 6, "next": null, "previous": null, "results": expected})
    );
}

pub async fn counts_are_of_the_events_that_meet_the_filters(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let web_id = source_id(1).to_string();
    let filtered = [
        ALL[0],
        ALL[1],
        ("event_source_id", web_id.as_str()),
        ("event_name", "page_view"),
        ("user_id", "u2"),
    ];
    assert_eq!(
        counts::<DailyAggregation>(store, &shop, &filtered).await["results"],
        json!([row(
            ("date", "2026-01-15"),
            (Some("web"), "page_view"),
            [1, 1, 1],
            ("2026-01-15T08:05:00.999999Z", "2026-01-15T08:05:00.999999Z")
        )])
    );
    // A day at the end of a range counts only what lies inside.
    let part = [
        ("start_date", "2026-01-15T00:00:00Z"),
        ("end_date", "2026-01-15T08:05:00Z"),
    ];
    assert_eq!(
        column(&counts::<DailyAggregation>(store, &shop, &part).await, "event_count"),
        [1]
    );
}

pub async fn hours_and_5_minutes_are_counted_by_source_and_name(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let page_views = [ALL[0], ALL[1], ("event_name", "page_view")];
    let hours = counts::<HourlyAggregation>(store, &shop, &page_views).await;
    assert_eq!(
        hours["results"][0],
        row(
            ("datetime_hour", "2026-01-15T23:00:00Z"),
            (Some("web"), "page_view"),
            [1, 1, 1],
            ("2026-01-15T23:00:01Z", "2026-01-15T23:00:01Z")
        )
    );
    assert_eq!(
        column(&hours, "datetime_hour"),
        [
            "2026-01-15T23:00:00Z",
            "2026-01-15T09:00:00Z",
            "2026-01-15T08:00:00Z",
            "2026-01-14T23:00:00Z"
        ]
    );
    let minutes = counts::<FiveMinuteAggregation>(store, &shop, &ALL).await;
    assert_eq!(
        minutes["results"][2],
        row(
            ("datetime_5min", "2026-01-15T08:05:00Z"),
            (Some("web"), "purchase"),
            [1, 1, 1],
            ("2026-01-15T08:05:01Z", "2026-01-15T08:05:01Z")
        )
    );
    assert_eq!(
        column(&minutes, "datetime_5min"),
        [
            "2026-01-15T23:00:00Z",
            "2026-01-15T09:00:00Z",
            "2026-01-15T08:05:00Z",
            "2026-01-15T08:05:00Z",
            "2026-01-15T08:00:00Z",
            "2026-01-14T23:00:00Z",
            "2026-01-14T22:30:00Z"
        ]
    );
}

/// Events of one user every 20 minutes from `start`, as many as `count`.
fn every_20_minutes(start: &str, count: u128) -> Vec<model::EnrichedEvent> {
    let start = crate::build::instant(start);
    (0..count)
        .map(|number| {
            let seconds = i64::try_from(number).unwrap() * 20 * 60;
            let time = start.saturating_add_seconds(seconds).to_string();
            event(shop_id(), number + 1, &time, (Some("web"), "page_view"), ("u1", "s1"))
        })
        .collect()
}

pub async fn a_repeated_hour_is_counted_twice_and_its_day_once(store: &dyn EventStore) {
    let shop = shop().await;
    // In Berlin 02:00 to 03:00 happens twice on 25 October 2026: from 00:00 and from 01:00 UTC.
    append(store, every_20_minutes("2026-10-24T22:00:00Z", 25 * 3)).await;
    let night = [
        ("start_date", "2026-10-24T23:00:00Z"),
        ("end_date", "2026-10-25T03:00:00Z"),
    ];
    let hours = counts::<HourlyAggregation>(store, &shop, &night).await;
    assert_eq!(
        column(&hours, "datetime_hour"),
        [
            "2026-10-25T02:00:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T00:00:00Z",
            "2026-10-24T23:00:00Z"
        ]
    );
    assert_eq!(column(&hours, "event_count"), [3, 3, 3, 3]);
    let around = [
        ("start_date", "2026-10-24T00:00:00Z"),
        ("end_date", "2026-10-27T00:00:00Z"),
    ];
    let days = counts::<DailyAggregation>(store, &shop, &around).await;
    assert_eq!(column(&days, "date"), ["2026-10-25"], "one day of 25 hours");
    assert_eq!(column(&days, "event_count"), [75]);
}

pub async fn hours_of_a_half_hour_zone_begin_at_half_past(store: &dyn EventStore) {
    let shop = scope(shop_id(), "Shop", "Asia/Kolkata").await;
    append(store, shop_events()).await;
    let hours = counts::<HourlyAggregation>(store, &shop, &[ALL[0], ALL[1], ("user_id", "u1")]).await;
    assert_eq!(
        column(&hours, "datetime_hour"),
        ["2026-01-15T08:30:00Z", "2026-01-14T22:30:00Z", "2026-01-14T22:30:00Z"]
    );
    // Midnight in India is 18:30 UTC.
    let days = counts::<DailyAggregation>(store, &shop, &[ALL[0], ALL[1], ("event_source_id", "")]).await;
    assert_eq!(
        column(&days, "date"),
        [
            "2026-01-16",
            "2026-01-15",
            "2026-01-15",
            "2026-01-15",
            "2026-01-15",
            "2026-01-15"
        ]
    );
    assert_eq!(column(&days, "event_count"), [1, 2, 1, 1, 1, 1]);
}

pub async fn a_change_by_half_an_hour_cuts_an_hour_in_two(store: &dyn EventStore) {
    let shop = scope(shop_id(), "Shop", "Australia/Lord_Howe").await;
    // From +11 to +10:30 at 15:00 UTC on 4 April 2026.
    append(store, every_20_minutes("2026-04-04T14:00:00Z", 9)).await;
    let around = [
        ("start_date", "2026-04-04T00:00:00Z"),
        ("end_date", "2026-04-05T00:00:00Z"),
    ];
    let hours = counts::<HourlyAggregation>(store, &shop, &around).await;
    assert_eq!(
        column(&hours, "datetime_hour"),
        [
            "2026-04-04T16:30:00Z",
            "2026-04-04T15:30:00Z",
            "2026-04-04T15:00:00Z",
            "2026-04-04T14:00:00Z"
        ]
    );
    assert_eq!(column(&hours, "event_count"), [1, 3, 2, 3]);
}

pub async fn pages_of_counts_cover_the_list_once(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let whole = counts::<FiveMinuteAggregation>(store, &shop, &ALL).await;
    assert_eq!(whole["count"], 7);
    let mut pages = Vec::new();
    for page in ["1", "2", "3"] {
        let parameters = [ALL[0], ALL[1], ("page_size", "3"), ("page", page)];
        let answer = counts::<FiveMinuteAggregation>(store, &shop, &parameters).await;
        assert_eq!(answer["count"], 7, "page {page}");
        pages.extend(answer["results"].as_array().unwrap().clone());
    }
    assert_eq!(json!(pages), whole["results"]);
}

pub async fn the_first_hour_of_time_is_counted(store: &dyn EventStore) {
    // Local days and hours that began before the first instant there is.
    for (number, zone) in [(21, "Europe/Berlin"), (22, "America/New_York")] {
        let project = scope(build::project(number), "Old", zone).await;
        let events = ["0001-01-01T00:00:00Z", "0001-01-01T00:01:00Z"];
        let events = events.into_iter().zip(number * 100..);
        let events = events.map(|(time, id)| event(project.project().id, id, time, (None, "old"), ("u1", "s1")));
        append(store, events.collect()).await;
        let range = [
            ("start_date", "0001-01-01T00:00:00Z"),
            ("end_date", "0001-01-02T00:00:00Z"),
        ];
        let first = "0001-01-01T00:00:00Z";
        let hours = counts::<HourlyAggregation>(store, &project, &range).await;
        assert_eq!(column(&hours, "datetime_hour"), [first], "{zone}");
        let minutes = counts::<FiveMinuteAggregation>(store, &project, &range).await;
        assert_eq!(column(&minutes, "datetime_5min"), [first], "{zone}");
        for days in [
            counts::<DailyAggregation>(store, &project, &range).await,
            summaries(store, &project, &range).await,
        ] {
            assert_eq!(column(&days, "date"), ["0001-01-01"], "{zone}");
        }
        let days = summaries(store, &project, &range).await;
        assert_eq!(column(&days, "total_events"), [2], "{zone}");
    }
}
