//! The suite of metadata stores, and what only a file can do.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use model::Project;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use store::{MetaError, MetaStore};
use store_sqlite::SqliteMetaStore;
use tempfile::TempDir;
use testkit::{build::instant, suites::meta::Handles};

testkit::meta_suite!(open_pair);

async fn open_pair() -> Handles {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    Handles {
        first: Arc::new(SqliteMetaStore::open(&path).await.unwrap()),
        second: Arc::new(SqliteMetaStore::open(&path).await.unwrap()),
        keep: Box::new(directory),
    }
}

fn project() -> Project {
    Project::new("one".to_owned(), instant("2026-01-01T00:00:00Z"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs SQL on the file from outside, as the sqlite3 shell would.
async fn execute(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_old_file_is_reopened_with_everything_in_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    let project = project();
    let store = SqliteMetaStore::open(&path).await.unwrap();
    store.create_project(&project).await.unwrap();
    let version = store.version().await.unwrap();
    store.close().await;

    let store = SqliteMetaStore::open(&path).await.unwrap();
    assert_eq!(store.projects().await.unwrap(), [project]);
    assert_eq!(store.version().await.unwrap(), version, "opening changes nothing");
}

#[tokio::test]
async fn what_was_written_survives_a_handle_that_was_never_closed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    let project = project();
    let store = SqliteMetaStore::open(&path).await.unwrap();
    store.create_project(&project).await.unwrap();
    // The files as a crash would leave them now, the log not yet moved into the database.
    let copy = directory.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let name = |stem: &str| directory.path().join(format!("{stem}.db{suffix}"));
        std::fs::copy(name("meta"), name("copy")).unwrap();
    }
    let store = SqliteMetaStore::open(&copy).await.unwrap();
    assert_eq!(store.projects().await.unwrap(), [project]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handles_open_a_new_file_at_once() {
    for _ in 0..20 {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("meta.db");
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { SqliteMetaStore::open(&path).await })
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
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    let store = SqliteMetaStore::open(&path).await.unwrap();
    store.create_project(&project()).await.unwrap();
    for name in ["meta.db", "meta.db-wal", "meta.db-shm"] {
        assert_eq!(mode(&directory.path().join(name)), 0o600, "{name}");
    }
    store.close().await;

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    SqliteMetaStore::open(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600, "a file that others could read is closed to them");
}

#[tokio::test]
async fn a_file_of_a_newer_build_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    SqliteMetaStore::open(&path).await.unwrap().close().await;
    execute(
        &path,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (999, 'from the future', true, x'00', 0)",
    )
    .await;
    let before = std::fs::read(&path).unwrap();

    let error = SqliteMetaStore::open(&path).await.unwrap_err();
    assert!(matches!(error, MetaError::Unavailable(_)));
    assert!(error.to_string().contains("has schema 999"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_database_or_no_place_for_one_is_unavailable() {
    let directory = TempDir::new().unwrap();
    let text = directory.path().join("notes.txt");
    std::fs::write(
        &text,
        "not a database, only a text that is long enough to hold a header".repeat(10),
    )
    .unwrap();
    for path in [
        text,
        directory.path().to_owned(),
        directory.path().join("missing").join("meta.db"),
    ] {
        let error = SqliteMetaStore::open(&path).await.unwrap_err();
        assert!(
            matches!(error, MetaError::Unavailable(_)),
            "{}: {error}",
            path.display()
        );
    }
}

#[tokio::test]
async fn an_edit_in_the_shell_moves_the_version() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    let store = SqliteMetaStore::open(&path).await.unwrap();
    store.create_project(&project()).await.unwrap();
    let before = store.version().await.unwrap();
    execute(&path, "update projects set is_active = 0").await;
    assert_ne!(store.version().await.unwrap(), before);
    assert!(!store.projects().await.unwrap()[0].is_active);
}

#[tokio::test]
async fn a_value_that_nobody_wrote_is_reported_with_its_column() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    let store = SqliteMetaStore::open(&path).await.unwrap();
    store.create_project(&project()).await.unwrap();
    execute(&path, "update projects set sampling_strategy = 'astrology'").await;
    let error = store.projects().await.unwrap_err().to_string();
    assert!(
        error.contains("sampling_strategy") && error.contains("astrology"),
        "{error}"
    );
}

#[tokio::test]
async fn a_writer_waits_for_another_process_and_gives_up_in_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("meta.db");
    let store = SqliteMetaStore::open(&path).await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();

    let project = project();
    let error = store.create_project(&project).await.unwrap_err();
    assert!(matches!(error, MetaError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(store.projects().await.unwrap(), [], "readers do not wait for a writer");

    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    store.create_project(&project).await.unwrap();
}
