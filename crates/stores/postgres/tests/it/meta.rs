//! The suite of metadata stores, and what only a database can do.

use std::sync::Arc;

use model::Project;
use store::{MetaError, MetaStore};
use store_postgres::PostgresMetaStore;
use testkit::{build::instant, postgres::TestDatabase, suites::meta::Handles};

testkit::meta_suite!(open_pair);

async fn open_pair() -> Handles {
    let database = TestDatabase::create();
    Handles {
        first: Arc::new(PostgresMetaStore::open(&database.url).await.unwrap()),
        second: Arc::new(PostgresMetaStore::open(&database.url).await.unwrap()),
        keep: Box::new(database),
    }
}

fn project() -> Project {
    Project::new("one".to_owned(), instant("2026-01-01T00:00:00Z"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_open_a_new_database_at_once() {
    let database = TestDatabase::create();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move { PostgresMetaStore::open(&url).await })
        })
        .collect();
    let mut stores = Vec::new();
    for task in tasks {
        stores.push(task.await.unwrap().unwrap());
    }
    let project = project();
    stores[0].create_project(&project).await.unwrap();
    for store in &stores {
        assert_eq!(store.projects().await.unwrap(), std::slice::from_ref(&project));
    }
}

#[tokio::test]
async fn an_interrupted_migration_goes_on_with_the_next_start() {
    let database = TestDatabase::create();
    PostgresMetaStore::open(&database.url).await.unwrap().close().await;
    // As if the process had ended between the two: each is whole or not there.
    database.sql(
        "drop function project_events; drop table events, event_projects, event_users, event_partitions, event_counts, ledger, checkpoints; \
         delete from _sqlx_migrations where version = 2",
    );
    PostgresMetaStore::open(&database.url).await.unwrap().close().await;
    assert_eq!(database.sql("select count(*) from events").trim(), "0");
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused_at_start_and_served_by_those_that_run() {
    let database = TestDatabase::create();
    let running = PostgresMetaStore::open(&database.url).await.unwrap();
    // What a newer build does: it adds.
    database.sql(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (999, 'later', true, '\\x00', 0); \
         alter table projects add column later integer not null default 7; alter table sources add column later text",
    );
    let error = PostgresMetaStore::open(&database.url).await.unwrap_err();
    assert!(matches!(error, MetaError::Unavailable(_)));
    assert!(error.to_string().contains("has schema 999"), "{error}");
    let project = project();
    running.create_project(&project).await.unwrap();
    assert_eq!(running.projects().await.unwrap(), [project]);
}

#[tokio::test]
async fn what_is_no_database_is_unavailable_and_no_password_is_told() {
    for url in [
        "postgres://user:secret@127.0.0.1:1/nowhere",
        "postgres://user:secret@[::1/broken",
        "mysql://user:secret@localhost/db",
        "",
    ] {
        let error = PostgresMetaStore::open(url).await.unwrap_err();
        assert!(matches!(error, MetaError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn an_edit_in_psql_moves_the_version() {
    let database = TestDatabase::create();
    let store = PostgresMetaStore::open(&database.url).await.unwrap();
    store.create_project(&project()).await.unwrap();
    let before = store.version().await.unwrap();
    database.sql("update projects set is_active = false");
    assert_ne!(store.version().await.unwrap(), before);
    assert!(!store.projects().await.unwrap()[0].is_active);
}

#[tokio::test]
async fn a_value_that_nobody_wrote_is_reported_with_its_column() {
    let database = TestDatabase::create();
    let store = PostgresMetaStore::open(&database.url).await.unwrap();
    store.create_project(&project()).await.unwrap();
    database.sql("update projects set sampling_strategy = 'astrology'");
    let error = store.projects().await.unwrap_err().to_string();
    assert!(
        error.contains("sampling_strategy") && error.contains("astrology"),
        "{error}"
    );
}
