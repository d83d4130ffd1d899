//! The reading endpoints: shapes, filters, paging, and that no key reads another project.

use serde_json::{Value, json};

use crate::harness::{Server, wait_until};

const READING: [&str; 8] = [
    "/api/events/query/",
    "/api/events/aggregations/daily/",
    "/api/events/aggregations/hourly/",
    "/api/events/aggregations/5min/",
    "/api/events/summaries/daily/",
    "/api/events/metrics/realtime/",
    "/api/events/names/",
    "/api/events/sources/",
];

fn seeded() -> Server {
    let server = Server::start();
    let event = |name: &str, user: &str, time: &str| json!({"event_name": name, "event_source": "web", "user_id": user, "session_id": format!("s-{user}"), "timestamp": time});
    let events = json!([
        event("view", "u1", "2026-03-01T10:01:00Z"),
        event("view", "u2", "2026-03-01T10:04:59Z"),
        event("view", "u1", "2026-03-01T10:05:00Z"),
        event("buy", "u1", "2026-03-01T11:00:00Z"),
        event("view", "u3", "2026-03-02T00:00:00Z"),
    ]);
    let answer = server.post(
        "/api/events/batch/",
        server.public_key(),
        "application/json",
        events.to_string().as_bytes(),
    );
    assert_eq!(answer.json()["accepted"], 5);
    server.wait_for_events(5);
    server
}

#[test]
fn no_key_reads_another_projects_events() {
    let server = seeded();
    let other = server.command(&["project", "create", "--name", "Other"]);
    let stranger = other["private_api_key"].as_str().expect("a key");
    wait_until("the new project's key", || {
        let answer = server.get("/api/events/names/", stranger);
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    });
    let source_id = server.read("/api/events/sources/")["event_sources"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for path in READING {
        let query = format!("{path}?start_date=2026-03-01&end_date=2026-03-03&event_source_id={source_id}");
        for path in [path, query.as_str()] {
            let answer = server.get(path, stranger);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            for secret in ["view", "buy", "u1", "My project", &source_id] {
                let body = answer.json();
                // The address of the next page repeats what was asked; nothing else may.
                let mut shown = body.clone();
                shown["next"] = Value::Null;
                assert!(
                    !shown.to_string().contains(secret),
                    "{path} shows {secret}: {}",
                    answer.text
                );
            }
            for key in [
                server.public_key(),
                other["public_api_key"].as_str().expect("a key"),
                "",
                "sa_priv_x",
            ] {
                assert_eq!(server.get(path, key).status, 401, "{path} with {key:?}");
            }
        }
    }
}

#[test]
fn events_are_listed_newest_first_page_by_page() {
    let server = seeded();
    let range = "start_date=2026-03-01T00:00:00Z&end_date=2026-03-03T00:00:00Z";
    let first = server.read(&format!("/api/events/query?{range}&page_size=2"));
    assert_eq!((&first["count"], &first["previous"]), (&json!(5), &Value::Null));
    let times = |page: &Value| -> Vec<String> {
        page["results"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["timestamp"].as_str().expect("a time").to_owned())
            .collect()
    };
    let mut seen = times(&first);
    let mut page = first;
    while let Some(next) = page["next"].as_str() {
        let path = next
            .strip_prefix(&server.url)
            .unwrap_or_else(|| panic!("{next} is not below {}", server.url));
        page = server.read(path);
        assert!(
            page["previous"]
                .as_str()
                .is_some_and(|url| url.starts_with(&server.url)),
            "{page}"
        );
        seen.extend(times(&page));
    }
    let expected = [
        "2026-03-02T00:00:00Z",
        "2026-03-01T11:00:00Z",
        "2026-03-01T10:05:00Z",
        "2026-03-01T10:04:59Z",
        "2026-03-01T10:01:00Z",
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        server
            .get(
                &format!("/api/events/query/?{range}&page_size=2&page=4"),
                server.private_key()
            )
            .status,
        404
    );
    let filtered = server.read(&format!("/api/events/query/?{range}&event_name=view&user_id=u1"));
    assert_eq!(
        (&filtered["count"], times(&filtered)),
        (&json!(2), vec![expected[2].to_owned(), expected[4].to_owned()])
    );
    let half_open = server.read("/api/events/query/?start_date=2026-03-01T10:04:59Z&end_date=2026-03-01T11:00:00Z");
    assert_eq!(half_open["count"], 2);
    let bad = server.get(
        "/api/events/query/?start_date=soon&page=first&page_size=x&event_source_id=7",
        server.private_key(),
    );
    assert_eq!(bad.status, 400);
    let details = bad.json()["details"].clone();
    for field in ["start_date", "page", "page_size", "event_source_id"] {
        assert!(details[field].is_array(), "{field}: {details}");
    }
    let reversed = server.get(
        "/api/events/query/?start_date=2026-03-02&end_date=2026-03-01",
        server.private_key(),
    );
    assert_eq!(reversed.status, 400, "{}", reversed.text);
}

#[test]
fn aggregations_and_summaries_equal_the_events() {
    let server = seeded();
    let range = "start_date=2026-03-01&end_date=2026-03-03";
    let rows = |path: &str, time: &str| -> Vec<Value> {
        let page = server.read(&format!("/api/events/aggregations/{path}/?{range}"));
        page["results"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| {
                json!([
                    row[time],
                    row["event_name"],
                    row["event_source_name"],
                    row["event_count"],
                    row["unique_users"],
                    row["unique_sessions"]
                ])
            })
            .collect()
    };
    assert_eq!(
        rows("daily", "date"),
        [
            json!(["2026-03-02", "view", "web", 1, 1, 1]),
            json!(["2026-03-01", "view", "web", 3, 2, 2]),
            json!(["2026-03-01", "buy", "web", 1, 1, 1]),
        ]
    );
    assert_eq!(
        rows("hourly", "datetime_hour"),
        [
            json!(["2026-03-02T00:00:00Z", "view", "web", 1, 1, 1]),
            json!(["2026-03-01T11:00:00Z", "buy", "web", 1, 1, 1]),
            json!(["2026-03-01T10:00:00Z", "view", "web", 3, 2, 2]),
        ]
    );
    assert_eq!(
        rows("5min", "datetime_5min"),
        [
            json!(["2026-03-02T00:00:00Z", "view", "web", 1, 1, 1]),
            json!(["2026-03-01T11:00:00Z", "buy", "web", 1, 1, 1]),
            json!(["2026-03-01T10:05:00Z", "view", "web", 1, 1, 1]),
            json!(["2026-03-01T10:00:00Z", "view", "web", 2, 2, 2]),
        ]
    );
    let summaries = server.read(&format!("/api/events/summaries/daily/?{range}"));
    let mut first = summaries["results"][1].clone();
    for field in ["created_at", "updated_at"] {
        assert!(
            first[field].take().as_str().is_some_and(|text| text.ends_with('Z')),
            "{first}"
        );
    }
    let expected = json!({
        "project_name": "My project", "date": "2026-03-01", "total_events": 4, "unique_users": 2, "unique_sessions": 2, "unique_event_names": 2,
        "source_breakdown": {"web": 4},
        "top_events": [{"event_name": "view", "event_count": 3, "unique_users": 2}, {"event_name": "buy", "event_count": 1, "unique_users": 1}],
        "created_at": null, "updated_at": null,
    });
    assert_eq!(first, expected);
}

#[test]
fn what_happens_now_is_in_the_realtime_metrics_and_names() {
    let server = seeded();
    server.send(&json!({"event_name": "now", "user_id": "u9", "session_id": "s9", "event_source": "app"}));
    let metrics = wait_until("the event", || {
        let metrics = server.read("/api/events/metrics/realtime/");
        if metrics["last_24h_events"] == 1 {
            Ok(metrics)
        } else {
            Err(metrics.to_string())
        }
    });
    assert_eq!(metrics["project_name"], "My project");
    assert_eq!(metrics["current_hour_events"], 1);
    assert_eq!(
        (&metrics["active_users_today"], &metrics["active_sessions_now"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(metrics["top_events_today"], json!([["now", 1]]));
    wait_until("both sources", || {
        let names: Vec<Value> = server.read("/api/events/metrics/realtime/")["event_sources"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|source| source["name"].clone())
            .collect();
        if names == ["app", "web"] {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    });
    assert_eq!(
        server.read("/api/events/names/"),
        json!({"event_names": ["now"], "count": 1}),
        "the others are older than 30 days"
    );
}
