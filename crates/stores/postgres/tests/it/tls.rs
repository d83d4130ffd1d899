//! TLS on a real server, with an authority of the test's own.

use std::{fs, path::Path, process::Command};

use store::MetaStore;
use store_postgres::PostgresMetaStore;
use testkit::postgres::{PostgresServer, TestDatabase};

/// Connections from outside must use TLS.
const TLS_ONLY: &str = "local all all trust\nhostssl all all all trust\n";

/// Runs `openssl` in a folder.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority, `NAME.crt` in the folder.
fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"
        ),
    );
}

/// A server whose certificate is for `localhost` alone, and which takes nothing but TLS; the folder has its authority, and another.
fn server(folder: &Path) -> PostgresServer {
    authority(folder, "ours");
    authority(folder, "other");
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
    );
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        folder,
        "x509 -req -in server.csr -CA ours.crt -CAkey ours.key -CAcreateserial -days 2 -extfile names -out server.crt",
    );
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    PostgresServer::start(
        "ssl = on",
        &[
            ("server.crt", &read("server.crt")),
            ("server.key", &read("server.key")),
            ("pg_hba.conf", TLS_ONLY),
        ],
    )
}

/// Whether a URL leads into the database, by TLS; else what is said.
async fn try_url(server: &PostgresServer, host: &str, query: &str) -> Result<(), String> {
    let url = format!("postgres://postgres:secret@{host}:{}/postgres?{query}", server.port());
    let store = PostgresMetaStore::open(&url).await.map_err(|error| {
        let text = error.to_string();
        assert!(!text.contains("secret"), "{text}");
        text
    })?;
    store.version().await.unwrap();
    let encrypted = server.sql(
        "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and application_name = 'simple-analytics'",
    );
    assert_ne!(encrypted.trim(), "0", "{query}");
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn a_server_is_trusted_as_far_as_the_url_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let root = |name: &str| format!("sslrootcert={}", folder.path().join(name).display());
    let (ours, other) = (root("ours.crt"), root("other.crt"));
    for (host, query) in [
        ("localhost", format!("sslmode=verify-full&{ours}")),
        ("localhost", format!("sslmode=verify-ca&{ours}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{ours}")),
        ("127.0.0.1", format!("sslmode=require&{ours}")),
        ("127.0.0.1", "sslmode=require".to_owned()),
        // Nothing said: TLS where the server has it.
        ("127.0.0.1", String::new()),
    ] {
        assert_eq!(try_url(&server, host, &query).await, Ok(()), "{host} {query}");
    }
    for (host, query, wanted) in [
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{ours}"),
            "is for another host name",
        ),
        (
            "localhost",
            format!("sslmode=verify-full&{other}"),
            "name the authority's certificate with sslrootcert=FILE",
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&{other}"),
            "name the authority's certificate with sslrootcert=FILE",
        ),
        (
            "localhost",
            format!("sslmode=require&{other}"),
            "name the authority's certificate with sslrootcert=FILE",
        ),
        (
            "localhost",
            "sslmode=verify-full".to_owned(),
            "name the authority's certificate with sslrootcert=FILE",
        ),
        ("localhost", "sslmode=disable".to_owned(), "try sslmode=verify-full"),
        (
            "localhost",
            format!("sslmode=verify-full&{}", root("nothing.crt")),
            "cannot read",
        ),
        (
            "localhost",
            format!("sslmode=verify-full&{}", root("names")),
            "no certificate in it",
        ),
    ] {
        let error = try_url(&server, host, &query).await.unwrap_err();
        assert!(error.contains(wanted), "{host} {query}: {error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_away() {
    let database = TestDatabase::create();
    let error = PostgresMetaStore::open(&format!("{}&sslmode=require", database.url))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("speaks no TLS there: set ssl = on"),
        "{error}"
    );
}
