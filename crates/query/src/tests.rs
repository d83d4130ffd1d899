//! Every statement that this crate can make.

use std::{fmt::Write, sync::Mutex};

use async_trait::async_trait;
use model::{EventId, LedgerEntry, Project, ProjectId, Source, Timestamp};
use store::{
    AppendBatch, AppendReport, Checkpoint, EventStore, ProjectScope, Reclaimed, Rows, Statement, StoreError,
    StoreStatus, Value,
};
use testkit::{build::instant, directory};
use uuid::Uuid;

use crate::{
    AggregationRequest, DailyAggregation, EventsRequest, FiveMinuteAggregation, HourlyAggregation, SummaryRequest,
    export::{ExportRequest, read_export_page},
    read_aggregations, read_daily_summaries, read_event_names, read_events, read_realtime_metrics,
};

/// Notes the statements that it is asked, and answers with a day where one is asked for, else with nothing.
#[derive(Default)]
struct Recorder {
    statements: Mutex<Vec<Statement>>,
    /// Answers instead.
    respond: Option<Respond>,
}

type Respond = Box<dyn Fn(&Statement) -> Result<Rows, StoreError> + Send + Sync>;

#[async_trait]
impl EventStore for Recorder {
    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        if let Some(respond) = &self.respond {
            return respond(&statement);
        }
        let asks_for_days = statement.sql().ends_with("group by 1 order by 1 desc");
        self.statements.lock().unwrap().push(statement);
        let rows = if asks_for_days {
            vec![vec![Value::Instant(instant("2026-01-15T00:00:00Z"))]]
        } else {
            Vec::new()
        };
        Ok(Rows {
            columns: Vec::new(),
            rows,
        })
    }
    async fn append(&self, _: AppendBatch) -> Result<AppendReport, StoreError> {
        unreachable!("reading writes nothing")
    }
    async fn checkpoint(&self, _: Uuid) -> Result<Option<u64>, StoreError> {
        unreachable!("reading asks statements alone")
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        unreachable!("reading asks statements alone")
    }
    async fn claims(&self, _: ProjectId, _: Vec<EventId>) -> Result<Vec<Option<Timestamp>>, StoreError> {
        unreachable!("reading asks statements alone")
    }
    async fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        unreachable!("reading asks statements alone")
    }
    async fn delete(&self, _: ProjectId, _: Option<Timestamp>, _: bool) -> Result<u64, StoreError> {
        unreachable!("reading writes nothing")
    }
    async fn reclaim(&self, _: bool) -> Result<Reclaimed, StoreError> {
        unreachable!("reading writes nothing")
    }
    async fn status(&self, _: Timestamp) -> Result<StoreStatus, StoreError> {
        unreachable!("reading asks statements alone")
    }
    async fn check(&self) -> Result<(), StoreError> {
        unreachable!("reading asks statements alone")
    }
    async fn close(&self) -> Result<(), StoreError> {
        unreachable!("reading asks statements alone")
    }
}

async fn scope(time_zone: &str) -> ProjectScope {
    let created = instant("2026-01-01T00:00:00Z");
    let mut project = Project::new("Shop".to_owned(), created);
    project.id = testkit::build::project(1);
    project.time_zone = time_zone.to_owned();
    let mut source = Source::auto_created(project.id, "web", created);
    source.id.0 = Uuid::from_u128(9);
    directory::scope(project, vec![source]).await
}

/// Asks every endpoint with these parameters and returns the statements, by endpoint.
async fn statements(scope: &ProjectScope, parameters: &[(&str, &str)]) -> Vec<(&'static str, Statement)> {
    let pairs: Vec<(String, String)> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let now = instant("2026-01-15T12:34:56.789Z");
    let store = Recorder::default();
    let mut all = Vec::new();
    let mut note = |endpoint: &'static str| {
        let recorded = std::mem::take(&mut *store.statements.lock().unwrap());
        assert!(!recorded.is_empty(), "{endpoint} asked nothing");
        all.extend(recorded.into_iter().map(|statement| (endpoint, statement)));
    };
    let events = EventsRequest::parse(&pairs, now).unwrap();
    read_events(&store, scope, &events).await.unwrap();
    note("events/query");
    let aggregations = AggregationRequest::parse(&pairs, now).unwrap();
    read_aggregations::<DailyAggregation>(&store, scope, &aggregations)
        .await
        .unwrap();
    note("aggregations/daily");
    read_aggregations::<HourlyAggregation>(&store, scope, &aggregations)
        .await
        .unwrap();
    note("aggregations/hourly");
    read_aggregations::<FiveMinuteAggregation>(&store, scope, &aggregations)
        .await
        .unwrap();
    note("aggregations/5min");
    let summaries = SummaryRequest::parse(&pairs, now).unwrap();
    // The recorder knows no totals for the day that it names.
    read_daily_summaries(&store, scope, &summaries).await.unwrap();
    note("summaries/daily");
    read_realtime_metrics(&store, scope, now).await.unwrap();
    note("metrics/realtime");
    read_event_names(&store, scope, now).await.unwrap();
    note("names");
    let export = ExportRequest {
        from: Some(events.filters.range.from),
        to: Some(events.filters.range.to),
        event_name: events.filters.event_name,
        event_source: Some("web".to_owned()),
        user_id: events.filters.user_id,
    };
    read_export_page(&store, scope, &export, None).await.unwrap();
    note("export");
    all
}

const EVERY_FILTER: [(&str, &str); 6] = [
    ("start_date", "2025-10-01T00:00:00Z"),
    ("end_date", "2026-01-16T00:00:00Z"),
    ("event_name", "page'view"),
    ("event_source_id", "00000000-0000-0000-0000-000000000009"),
    ("user_id", "user-1"),
    ("page_size", "20"),
];

#[tokio::test]
async fn every_statement_selects_from_the_events_of_its_project_alone() {
    let relation = "(select * from events where project_id = $1)";
    for time_zone in ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"] {
        let scope = scope(time_zone).await;
        for parameters in [&[][..], &EVERY_FILTER[..]] {
            for (endpoint, statement) in statements(&scope, parameters).await {
                let sql = statement.sql();
                let hint = format!("{endpoint} in {time_zone}: {sql}");
                assert_eq!(statement.parameters()[0], Value::Id(scope.project_id().0), "{hint}");
                let rest = sql.replace(relation, "SCOPED");
                assert!(rest.contains("from SCOPED as event"), "{hint}");
                // Names are compared as words: `event_name` and `day_events` are columns.
                let words = |text: &str| {
                    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                };
                assert!(!words(&rest).contains(&"events".to_owned()), "{hint}");
                assert!(!rest.contains("project_id"), "{hint}");
                // Everything that is selected from is the relation, or a query in parentheses over it.
                for clause in ["from ", "join "] {
                    for (at, _) in rest.match_indices(clause) {
                        let source = &rest[at + clause.len()..];
                        let is_extract = rest[..at].ends_with("(minute ");
                        assert!(
                            source.starts_with("SCOPED as event") || source.starts_with("(select ") || is_extract,
                            "{hint}"
                        );
                    }
                }
                let values = statement.parameters().len();
                for number in 1..=values {
                    assert!(
                        sql.contains(&format!("${number}")),
                        "{hint}: ${number} is bound for nothing"
                    );
                }
                assert!(!sql.contains(&format!("${}", values + 1)), "{hint}");
                assert!(!sql.contains("page'view"), "values are bound: {hint}");
            }
        }
    }
}

#[tokio::test]
async fn statements_are_as_reviewed() {
    let scope = scope("Europe/Berlin").await;
    let mut text = String::new();
    for (endpoint, statement) in statements(&scope, &EVERY_FILTER).await {
        let mut sql = statement.sql().to_owned();
        for clause in [
            " from ",
            " join ",
            " where ",
            " union all ",
            " group by ",
            " order by ",
            " when ",
        ] {
            sql = sql.replace(clause, &format!("\n   {clause}"));
        }
        writeln!(text, "-- {endpoint}\n{sql}").unwrap();
        for (index, value) in statement.parameters().iter().enumerate() {
            let value = match value {
                Value::Instant(instant) => instant.to_string(),
                other => format!("{other:?}"),
            };
            writeln!(text, "    ${} = {value}", index + 1).unwrap();
        }
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_source_that_is_none_of_the_project_is_answered_without_the_store() {
    let scope = scope("UTC").await;
    let store = Recorder::default();
    let pairs = [("event_source_id".to_owned(), Uuid::from_u128(404).to_string())];
    let now = instant("2026-01-15T12:00:00Z");
    let events = EventsRequest::parse(&pairs, now).unwrap();
    assert_eq!(read_events(&store, &scope, &events).await.unwrap().count, 0);
    let aggregations = AggregationRequest::parse(&pairs, now).unwrap();
    let hours = read_aggregations::<HourlyAggregation>(&store, &scope, &aggregations).await;
    assert_eq!(hours.unwrap().count, 0);
    let summaries = SummaryRequest::parse(&pairs, now).unwrap();
    assert_eq!(read_daily_summaries(&store, &scope, &summaries).await.unwrap().count, 0);
    assert_eq!(store.statements.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_page_that_cannot_be_asks_nothing() {
    let scope = scope("UTC").await;
    let store = Recorder::default();
    let pairs = [("page".to_owned(), "0".to_owned())];
    let now = instant("2026-01-15T12:00:00Z");
    let events = EventsRequest::parse(&pairs, now).unwrap();
    let error = read_events(&store, &scope, &events).await.unwrap_err();
    assert_eq!(error.to_string(), "There is no page 0.");
    assert_eq!(store.statements.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_zone_that_nobody_knows_is_told_with_its_project() {
    let scope = scope("Mars/Olympus_Mons").await;
    let error = read_event_names(&Recorder::default(), &scope, instant("2026-01-15T12:00:00Z")).await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("Mars/Olympus_Mons") && text.contains(&scope.project_id().to_string()),
        "{text}"
    );
}

/// Numbered events of which the store answers at most `rows_max` at once: more would take too much memory.
fn large_events(count: u128, rows_max: usize) -> Recorder {
    let respond = move |statement: &Statement| {
        let limit = statement.sql().rsplit(' ').next().unwrap().parse().unwrap();
        let last = statement.parameters()[1..].iter().find_map(Value::as_id);
        let numbers = last.map_or(0, |last| last.as_u128() + 1)..count;
        let rows: Vec<Vec<Value>> = numbers.take(limit).map(exported).collect();
        if rows.len() > rows_max {
            return Err(StoreError::Refused("the answer takes too much".to_owned()));
        }
        Ok(Rows {
            columns: Vec::new(),
            rows,
        })
    };
    Recorder {
        respond: Some(Box::new(respond)),
        ..Recorder::default()
    }
}

fn exported(number: u128) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let time = Value::Instant(instant("2026-01-01T00:00:00Z"));
    let id = Value::Id(Uuid::from_u128(number));
    let who = [text("buy"), Value::Null, text("user"), text("session"), text("{}")];
    let mut row = vec![id, Value::Null];
    row.extend(who);
    row.extend([time.clone(), time, Value::Null, Value::Null]);
    row
}

#[tokio::test]
async fn an_export_takes_smaller_pages_where_events_are_large() {
    let scope = scope("UTC").await;
    let request = ExportRequest::default();
    for rows_max in [usize::MAX, 9_999, 300, 1] {
        // The smallest pages are for few events: each is a statement.
        let count = if rows_max == 1 { 50 } else { 25_000 };
        let store = large_events(count, rows_max);
        let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = read_export_page(&store, &scope, &request, after).await.unwrap();
            ids.extend(page.events.iter().map(|event| event.id.as_u128()));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert!(ids.iter().copied().eq(0..count), "{rows_max}: {} events", ids.len());
        assert!(
            pages as u128 <= 1 + 2 * count / rows_max.min(5_000) as u128,
            "{rows_max}: {pages} pages"
        );
    }
    let refused = read_export_page(&large_events(1, 0), &scope, &request, None).await;
    assert!(refused.is_err(), "an event that is too large alone is told");
}
