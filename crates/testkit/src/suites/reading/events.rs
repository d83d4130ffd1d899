//! `events/query`.
#![expect(missing_docs, reason = "the name of a test says it all")]

use query::{EventsRequest, QueryError};
use serde_json::json;
use store::EventStore;

use super::fixture::{ALL, append, event, events, numbers, shop, shop_events, shop_id, source_id};
use crate::build::instant;

pub async fn events_come_newest_first_as_they_were_sent(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let answer = events(store, &shop, &[ALL[0], ALL[1], ("event_name", "purchase")]).await;
    // Of one instant the larger id comes first.
    let expected = json!({
        "count": 2,
        "next": null,
        "previous": null,
        "results": [
            {
                "id": "00000000-0000-0000-0000-000000000005",
                "event_id": null,
                "project_name": "Shop",
                "event_source_name": null,
                "event_name": "purchase",
                "event_properties": {},
                "user_id": "u3",
                "session_id": "s3",
                "ip_address": null,
                "user_agent": null,
                "timestamp": "2026-01-15T08:05:00Z",
                "created_at": "2026-01-15T08:05:01Z",
            },
            {
                "id": "00000000-0000-0000-0000-000000000004",
                "event_id": "order-17",
                "project_name": "Shop",
                "event_source_name": "web",
                "event_name": "purchase",
                "event_properties": answer["results"][1]["event_properties"], // compared to the byte elsewhere
                "user_id": "u2",
                "session_id": "s2",
                "ip_address": "2001:db8::1",
                "user_agent": "Mozilla/5.0 (test)",
                "timestamp": "2026-01-15T08:05:00Z",
                "created_at": "2026-01-15T08:05:01Z",
            },
        ],
    });
    assert_eq!(answer, expected);
    assert_eq!(numbers(&events(store, &shop, &ALL).await), [7, 6, 5, 4, 3, 2, 1]);
}

pub async fn properties_come_back_to_the_byte(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let pairs = [("user_id".to_owned(), "u2".to_owned())];
    let request = EventsRequest::parse(&pairs, instant("2026-01-15T09:30:00Z")).unwrap();
    let page = query::read_events(store, &shop, &request).await.unwrap();
    let purchase = &page.results[0];
    assert_eq!(
        purchase.event_properties.get(),
        shop_events()[3].properties,
        "numbers, spaces and the order of keys"
    );
    let text = serde_json::to_string(purchase).unwrap();
    assert!(text.contains(r#""price":12.50, "items":["größe","#), "{text}");
}

pub async fn filters_choose_events(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    let (web, old) = (source_id(1).to_string(), source_id(3).to_string());
    let elsewhere = source_id(404).to_string();
    for (filters, expected) in [
        (&[("event_name", "page_view")][..], &[7, 6, 3, 2][..]),
        (&[("event_name", "page_views")], &[]),
        (&[("event_name", "PAGE_VIEW")], &[]),
        (&[("event_name", "' or 1 = 1 --")], &[]),
        (&[("event_source_id", &web)], &[7, 4, 3, 2, 1]),
        (&[("event_source_id", &old)], &[]),
        (&[("event_source_id", &elsewhere)], &[]),
        (&[("user_id", "u1")], &[6, 2, 1]),
        (&[("user_id", "u1"), ("event_source_id", &web)], &[2, 1]),
        (
            &[("user_id", "u1"), ("event_source_id", &web), ("event_name", "login")],
            &[1],
        ),
    ] {
        let answer = events(store, &shop, &[&ALL[..], filters].concat()).await;
        assert_eq!(numbers(&answer), expected, "{filters:?}");
        assert_eq!(answer["count"], expected.len(), "{filters:?}");
    }
}

pub async fn a_range_includes_its_start_and_not_its_end(store: &dyn EventStore) {
    let shop = shop().await;
    append(store, shop_events()).await;
    for (start, end, expected) in [
        ("2026-01-15T08:05:00Z", "2026-01-15T09:00:00Z", &[5, 4][..]),
        ("2026-01-15T08:04:59.999999Z", "2026-01-15T08:05:00Z", &[3]),
        ("2026-01-15T08:05:00.000001Z", "2026-01-15T09:00:00.000001Z", &[6]),
        ("2026-01-15T09:05:00+01:00", "2026-01-15T10:00:00+01:00", &[5, 4]),
        ("", "2026-01-15T08:05:00Z", &[3, 2, 1]),
        ("2026-01-15T08:05:00Z", "", &[7, 6, 5, 4]),
        ("", "", &[6, 5, 4, 3, 2, 1]),
    ] {
        let answer = events(store, &shop, &[("start_date", start), ("end_date", end)]).await;
        assert_eq!(numbers(&answer), expected, "{start:?} to {end:?}");
    }
}

pub async fn pages_of_events_cover_the_list_once(store: &dyn EventStore) {
    let shop = shop().await;
    // Ten instants with 23 events each: pages cut through events of one instant.
    let minute = |number: u128| format!("2026-01-15T08:0{}:00Z", number % 10);
    let many = (1..=230)
        .map(|number| {
            event(
                shop_id(),
                number,
                &minute(number),
                (Some("web"), "page_view"),
                ("u1", "s1"),
            )
        })
        .collect();
    append(store, many).await;
    let whole = numbers(&events(store, &shop, &[("page_size", "1000")]).await);
    let mut expected: Vec<u128> = (1..=230).collect();
    expected.sort_by_key(|number| std::cmp::Reverse((number % 10, *number)));
    assert_eq!(whole, expected);
    let mut pages = Vec::new();
    for page in 1..=8 {
        let answer = events(store, &shop, &[("page", &page.to_string()), ("page_size", "30")]).await;
        assert_eq!(answer["count"], 230);
        let named = |number: i32| (1..=8).contains(&number).then(|| format!("page {number}"));
        assert_eq!(answer["previous"], json!(named(page - 1)));
        assert_eq!(answer["next"], json!(named(page + 1)));
        pages.extend(numbers(&answer));
    }
    assert_eq!(pages, whole);
    for page in ["9", "1000000", "0"] {
        let pairs = [("page", page), ("page_size", "30")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = EventsRequest::parse(&pairs, instant("2026-01-15T09:30:00Z")).unwrap();
        let error = query::read_events(store, &shop, &request).await.unwrap_err();
        assert!(matches!(error, QueryError::PageNotFound { .. }), "{page}: {error}");
    }
}
