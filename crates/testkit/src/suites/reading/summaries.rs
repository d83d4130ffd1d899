//! `summaries/daily`.
#![expect(missing_docs, reason = "the name of a test says it all")]

use query::DailyAggregation;
use serde_json::json;
use store::EventStore;

use super::fixture::{ALL, append, column, counts, event, shop, shop_events, shop_id, summaries};

pub async fn days_are_summed_up(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let one_event = |date: &str, name: &str, received: &str| {
        json!({
            "project_name": "Shop",
            "date": date,
            "total_events": 1,
            "unique_users": 1,
            "unique_sessions": 1,
            "unique_event_names": 1,
            "source_breakdown": {"web": 1},
            "top_events": [{"event_name": name, "event_count": 1, "unique_users": 1}],
            "created_at": received,
            "updated_at": received,
        })
    };
    let expected = json!({
        "count": 3,
        "next": null,
        "previous": null,
        "results": [
            one_event("2026-01-16", "page_view", "2026-01-15T23:00:01Z"),
            {
                "project_name": "Shop",
                "date": "2026-01-15",
                "total_events": 5,
                "unique_users": 3,
                "unique_sessions": 4,
                "unique_event_names": 2,
                "source_breakdown": {"(none)": 1, "app": 1, "web": 3},
                "top_events": [
                    {"event_name": "page_view", "event_count": 3, "unique_users": 2},
                    {"event_name": "purchase", "event_count": 2, "unique_users": 2},
                ],
                "created_at": "2026-01-14T23:00:01Z",
                "updated_at": "2026-01-16T10:00:00.250000Z",
            },
            one_event("2026-01-14", "login", "2026-01-14T22:30:01Z"),
        ],
    });
    assert_eq!(summaries(store, &shop, &ALL).await, expected);
    let of_one_user = summaries(store, &shop, &[ALL[0], ALL[1], ("user_id", "u1")]).await;
    assert_eq!(column(&of_one_user, "total_events"), [2, 1]);
    assert_eq!(
        of_one_user["results"][0]["source_breakdown"],
        json!({"app": 1, "web": 1})
    );
}

pub async fn a_summary_names_ten_events(store: &dyn EventStore) {
    let shop = shop().await;
    // name-01 happens once, name-12 twelve times, each time by another user; name-00 as often as name-12.
    let mut events = Vec::new();
    let mut number = 0;
    for (name, times) in (1..=12).map(|times| (times, times)).chain([(0, 12)]) {
        for user in 0..times {
            number += 1;
            let of = (Some("web"), format!("name-{name:02}"));
            let by = (format!("u{user}"), "s1");
            events.push(event(
                shop_id(),
                number,
                "2026-01-15T08:00:00Z",
                (of.0, &of.1),
                (&by.0, by.1),
            ));
        }
    }
    append(store, events).await;
    let answer = summaries(store, &shop, &ALL).await;
    let day = &answer["results"][0];
    let top = day["top_events"].as_array().unwrap();
    let names: Vec<&str> = top.iter().map(|event| event["event_name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "name-00", "name-12", "name-11", "name-10", "name-09", "name-08", "name-07", "name-06", "name-05",
            "name-04"
        ]
    );
    assert_eq!(
        top[2],
        json!({"event_name": "name-11", "event_count": 11, "unique_users": 11})
    );
    assert_eq!(
        (&day["unique_event_names"], &day["total_events"]),
        (&json!(13), &json!(90))
    );
}

pub async fn a_summary_names_the_larger_sources(store: &dyn EventStore) {
    let shop = shop().await;
    // 1003 sources: two events of each but the last five in the alphabet, which have one.
    let mut events = Vec::new();
    for number in 0..1003_u128 {
        let source = format!("source {number:04}");
        for time in ["2026-01-15T08:00:00Z", "2026-01-15T08:00:01Z"] {
            if number < 998 || time.ends_with("00Z") {
                let id = u128::try_from(events.len()).unwrap() + 1;
                events.push(event(shop_id(), id, time, (Some(&source), "page_view"), ("u1", "s1")));
            }
        }
    }
    append(store, events).await;
    let answer = summaries(store, &shop, &ALL).await;
    let day = &answer["results"][0];
    let sources = day["source_breakdown"].as_object().unwrap();
    assert_eq!(sources.len(), 1001);
    assert_eq!(sources["source 0997"], 2);
    assert_eq!(sources["source 0999"], 1);
    assert_eq!(sources["(other)"], 3);
    let sum: u64 = sources.values().map(|events| events.as_u64().unwrap()).sum();
    assert_eq!(day["total_events"], sum);
}

pub async fn pages_of_days_cover_the_list_once(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let whole = summaries(store, &shop, &ALL).await;
    let mut pages = Vec::new();
    for page in ["1", "2", "3"] {
        let answer = summaries(store, &shop, &[ALL[0], ALL[1], ("page_size", "1"), ("page", page)]).await;
        assert_eq!(answer["count"], 3, "page {page}");
        pages.extend(answer["results"].as_array().unwrap().clone());
    }
    assert_eq!(json!(pages), whole["results"]);
}

pub async fn late_events_are_counted_where_they_belong(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let mut late = event(
        shop_id(),
        100,
        "2026-01-14T22:45:00Z",
        (Some("web"), "login"),
        ("u9", "s9"),
    );
    late.received_at = crate::build::instant("2026-01-20T00:00:00Z");
    append(store, vec![late]).await;
    let logins = [ALL[0], ALL[1], ("event_name", "login")];
    let days = counts::<DailyAggregation>(store, &shop, &logins).await;
    assert_eq!(
        days["results"],
        json!([{
            "project_name": "Shop",
            "event_source_name": "web",
            "event_name": "login",
            "date": "2026-01-14",
            "event_count": 2,
            "unique_users": 2,
            "unique_sessions": 2,
            "created_at": "2026-01-14T22:30:01Z",
            "updated_at": "2026-01-20T00:00:00Z",
        }])
    );
    let summary = summaries(store, &shop, &logins).await;
    assert_eq!(column(&summary, "total_events"), [2]);
}
