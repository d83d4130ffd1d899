//! Values come back as they went in, to those who may see them.

use std::sync::Arc;

use model::{DerivedKeys, EnrichedEvent, Outcome, Timestamp};
use store::{AppendOutcome, EventStore, Statement, StoreError, Value};

use super::{Harness, QUEUE, append, batch, column, count, named_event, now, read, scope};
use crate::build::{enriched_event, instant, project};

/// Every documented column, in the order of [`Statement`]'s documentation.
const COLUMNS: &str = "id, event_id, event_source, event_name, user_id, uid, session_id, properties, timestamp, received_at, \
    ip_address, user_agent, path, hostname, referrer_host, utm_source, utm_medium, utm_campaign, utm_term, utm_content, \
    country, browser, browser_version, os, device";

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_empty_store_holds_nothing(harness: &dyn Harness) {
    let store = harness.open().await;
    store.check().await.expect("check");
    assert_eq!(count(&*store, project(1)).await, 0);
    assert_eq!(store.ledger().await.expect("ledger"), []);
    assert_eq!(store.checkpoint(QUEUE).await.expect("checkpoint"), None);
    assert_eq!(store.delete(project(1), None, false).await.expect("delete"), 0);
    let status = store.status(now()).await.expect("status");
    assert_eq!((status.events, status.projects), (0, Vec::new()));
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_event_comes_back_as_it_went_in(harness: &dyn Harness) {
    let store = harness.open().await;
    let some = |name: &str| Some(name.to_owned());
    let event = EnrichedEvent {
        event_source: some("web"),
        ip_address: some("2001:db8::1"),
        user_agent: some("Mozilla/5.0"),
        properties: r#"{"b":1.50,"a":[1e3,{"c":null}],"b":2}"#.to_owned(),
        timestamp: instant("2026-01-15T11:59:58.123456Z"),
        derived: DerivedKeys {
            path: some("/a"),
            hostname: some("example.com"),
            referrer_host: some("search.example"),
            utm_source: some("s"),
            utm_medium: some("m"),
            utm_campaign: some("c"),
            utm_term: some("t"),
            utm_content: some("x"),
            country: some("DE"),
            browser: some("Firefox"),
            browser_version: some("130.0"),
            os: some("Linux"),
            device: some("desktop"),
        },
        ..named_event(project(1), 1)
    };
    append(&*store, 1, [event.clone()]).await;
    let rows = read(&*store, project(1), |events, _| {
        format!("select {COLUMNS} from {events}")
    })
    .await;
    assert_eq!(rows.columns, COLUMNS.split(", ").map(str::trim).collect::<Vec<_>>());
    let expected = [
        Value::Id(event.id.0),
        text("event-1"),
        text("web"),
        text("page_view"),
        text("user-1"),
        Value::Integer(0),
        text("session-1"),
        text(r#"{"b":1.50,"a":[1e3,{"c":null}],"b":2}"#),
        Value::Instant(event.timestamp),
        Value::Instant(event.received_at),
        text("2001:db8::1"),
        text("Mozilla/5.0"),
    ];
    let derived = "/a example.com search.example s m c t x DE Firefox 130.0 Linux desktop";
    let expected: Vec<Value> = expected.into_iter().chain(derived.split(' ').map(text)).collect();
    assert_eq!(rows.rows, [expected]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn absent_values_come_back_as_null(harness: &dyn Harness) {
    let store = harness.open().await;
    let bare = EnrichedEvent {
        event_source: None,
        ip_address: None,
        user_agent: None,
        derived: DerivedKeys::default(),
        ..enriched_event(project(1), 1)
    };
    append(&*store, 1, [bare]).await;
    let rows = read(&*store, project(1), |events, _| {
        format!("select {COLUMNS} from {events}")
    })
    .await;
    let null: Vec<&str> = rows
        .columns
        .iter()
        .zip(&rows.rows[0])
        .filter(|(_, value)| **value == Value::Null)
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = "event_id event_source ip_address user_agent path hostname referrer_host utm_source utm_medium utm_campaign \
        utm_term utm_content country browser browser_version os device";
    assert_eq!(null, expected.split_whitespace().collect::<Vec<_>>());
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn extreme_values_come_back_as_they_went_in(harness: &dyn Harness) {
    let store = harness.open().await;
    let names = [
        "",
        "'; drop table events; --",
        "\"quoted\" \\ $1 ? %s",
        "тест 测试 🦀 e\u{301}",
        "line\r\nbreak\ttab",
        &"x".repeat(255),
        "123456789012",
        "1234567890123",
    ];
    let times = [
        Timestamp::MIN,
        Timestamp::MAX,
        Timestamp::default(),
        instant("1969-12-31T23:59:59.999999Z"),
    ];
    let big = format!(r#"{{"big":"{}"}}"#, "é".repeat(32_000));
    let events = names.iter().enumerate().map(|(number, name)| EnrichedEvent {
        user_id: (*name).to_owned(),
        event_name: (*name).to_owned(),
        timestamp: times[number % times.len()],
        properties: if number == 0 { big.clone() } else { "{}".to_owned() },
        ..enriched_event(project(1), number as u128)
    });
    append(&*store, 1, events).await;
    drop(store);
    let store = harness.open().await;
    let rows = read(&*store, project(1), |events, _| {
        format!("select user_id, event_name, timestamp, properties from {events} order by id")
    })
    .await;
    for (number, name) in names.iter().enumerate() {
        let row = &rows.rows[number];
        assert_eq!(row[..2], [text(*name), text(*name)]);
        assert_eq!(row[2], Value::Instant(times[number % times.len()]), "{name:?}");
        assert_eq!(row[3], if number == 0 { text(big.as_str()) } else { text("{}") });
    }
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn what_is_stored_is_there_when_opened_again(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, (0..50).map(|number| enriched_event(project(1), number))).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(count(&*store, project(1)).await, 50);
    assert_eq!(super::ledger(&*store, project(1), Outcome::Stored).await, 50);
    assert_eq!(store.checkpoint(QUEUE).await.expect("checkpoint"), Some(50));
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_scope_reads_its_project_alone(harness: &dyn Harness) {
    let store = harness.open().await;
    let of = |project_number, number| EnrichedEvent {
        user_id: format!("of {project_number}"),
        ..enriched_event(project(project_number), number)
    };
    append(&*store, 1, [of(1, 1), of(2, 2), of(1, 3), of(3, 4)]).await;
    assert_eq!(
        column(&*store, project(1), "user_id").await,
        [text("of 1"), text("of 1")]
    );
    assert_eq!(column(&*store, project(2), "user_id").await, [text("of 2")]);
    assert_eq!(count(&*store, project(4)).await, 0, "a project without events");
    // The relation may be used more than once, and conditions cannot widen it.
    let rows = read(&*store, project(3), |events, _| {
        format!("select (select count(*) from {events} a), count(*) from {events} where true or user_id = 'of 1'")
    })
    .await;
    assert_eq!(rows.rows, [[Value::Integer(1), Value::Integer(1)]]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn values_are_bound_and_typed(harness: &dyn Harness) {
    let store = harness.open().await;
    let event = EnrichedEvent {
        user_id: "it's $1".to_owned(),
        ..enriched_event(project(1), 7)
    };
    append(&*store, 1, [event.clone(), enriched_event(project(1), 8)]).await;
    let rows = read(&*store, project(1), |events, parameters| {
        let at = parameters.bind(Value::Instant(event.timestamp));
        let id = parameters.bind(Value::Id(event.id.0));
        let user = parameters.bind(Value::Text("it's $1".to_owned()));
        let number = parameters.bind(Value::Integer(3));
        let share = parameters.bind(Value::Float(0.5));
        // Out of order, and one of them twice.
        format!(
            "select user_id, id, timestamp, uid, cast({number} as bigint) * 2, cast({share} as double precision), \
             cast(sum(uid) over () as bigint), count(*) over (), sum(cast(uid as bigint)) over (), \
             uid = 0, null, avg(cast(uid as double precision)) over (), cast(timestamp as date), 1.25 \
             from {events} where user_id = {user} and id = {id} and timestamp >= {at} and timestamp <= {at}"
        )
    })
    .await;
    let expected = [
        text("it's $1"),
        Value::Id(event.id.0),
        Value::Instant(event.timestamp),
        Value::Integer(0),
        Value::Integer(6),
        Value::Float(0.5),
        Value::Integer(0),
        Value::Integer(1),
        Value::Integer(0),
        Value::Bool(true),
        Value::Null,
        Value::Float(0.0),
        text("2026-01-15"),
        Value::Float(1.25),
    ];
    assert_eq!(rows.rows, [expected]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_answer_of_no_rows_has_its_columns(harness: &dyn Harness) {
    let store = harness.open().await;
    let rows = read(&*store, project(1), |events, _| {
        format!("select event_name as name, count(*) as events from {events} group by event_name")
    })
    .await;
    assert_eq!(rows.columns, ["name", "events"]);
    assert!(rows.rows.is_empty());
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_wrong_statement_is_refused(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, [enriched_event(project(1), 1)]).await;
    let scope = scope(project(1)).await;
    for wrong in [
        "select from where",
        "select nothing from {}",
        "select cast(user_id as bigint) from {}",
    ] {
        let statement = Statement::over_events(&scope, |events, _| wrong.replace("{}", events));
        let refused = store.read(statement).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{wrong}: {refused:?}");
    }
    // And the next one finds everything as it was.
    assert_eq!(count(&*store, project(1)).await, 1);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_statement_cannot_write(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, [enriched_event(project(1), 1)]).await;
    let scope = scope(project(1)).await;
    for write in [
        "delete from events where true or $1 is null",
        "update events set user_id = 'x' where $1 is not null",
    ] {
        let statement = Statement::over_events(&scope, |_, _| write.to_owned());
        assert!(store.read(statement).await.is_err(), "{write}");
    }
    drop(store);
    let store = harness.open().await;
    assert_eq!(column(&*store, project(1), "user_id").await, [text("user-1")]);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn an_answer_without_end_is_refused(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, (0..100).map(|number| enriched_event(project(1), number))).await;
    let scope = scope(project(1)).await;
    let statement = Statement::over_events(&scope, |events, _| {
        format!("select a.properties, b.user_agent from {events} a, {events} b, {events} c, {events} d")
    });
    let refused = store.read(statement).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{:?}",
        refused.map(|rows| rows.rows.len())
    );
    assert_eq!(count(&*store, project(1)).await, 100);
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn reads_go_on_beside_appends(harness: &dyn Harness) {
    const BATCHES: u64 = 40;
    const EVENTS: u64 = 50;
    let store = harness.open().await;
    let (done, finished) = tokio::sync::watch::channel(());
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, finished) = (Arc::clone(&store), finished.clone());
            tokio::spawn(async move {
                let (mut last, mut reads) = (0, 0_u32);
                while finished.has_changed().is_ok() {
                    let seen = count(&*store, project(1)).await;
                    assert!(seen >= last, "what was seen stays");
                    assert_eq!(seen % EVENTS as i64, 0, "batches are seen whole");
                    (last, reads) = (seen, reads + 1);
                }
                reads
            })
        })
        .collect();
    for number in 0..BATCHES {
        let events = (number * EVENTS..(number + 1) * EVENTS).map(|event| enriched_event(project(1), event.into()));
        let outcomes = append(&*store, number * EVENTS + 1, events).await;
        assert!(outcomes.iter().all(|outcome| *outcome == AppendOutcome::Stored));
        let seen = count(&*store, project(1)).await;
        assert_eq!(
            seen,
            ((number + 1) * EVENTS) as i64,
            "an append that has returned is seen"
        );
    }
    drop(done);
    for reader in readers {
        assert!(reader.await.expect("reader") > 0);
    }
}

#[expect(missing_docs, reason = "the name says what the store must do")]
pub async fn a_closed_store_is_unavailable(harness: &dyn Harness) {
    let store = harness.open().await;
    append(&*store, 1, [enriched_event(project(1), 1)]).await;
    store.close().await.expect("close");
    let refused: Vec<bool> = vec![
        unavailable(store.append(batch(2, [enriched_event(project(1), 2)])).await),
        unavailable(store.checkpoint(QUEUE).await),
        unavailable(store.ledger().await),
        unavailable(store.delete(project(1), None, false).await),
        unavailable(store.reclaim(false).await),
        unavailable(store.status(now()).await),
        unavailable(store.check().await),
        unavailable(read_count(&*store).await),
    ];
    assert_eq!(refused, vec![true; refused.len()]);
    drop(store);
    let store = harness.open().await;
    assert_eq!(count(&*store, project(1)).await, 1);
}

async fn read_count(store: &dyn EventStore) -> Result<store::Rows, StoreError> {
    let scope = scope(project(1)).await;
    let statement = Statement::over_events(&scope, |events, _| format!("select count(*) from {events}"));
    store.read(statement).await
}

fn unavailable<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}
