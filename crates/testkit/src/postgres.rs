//! PostgreSQL for tests: a server that the whole run shares ([`TestDatabase`]), and one of a test's own ([`PostgresServer`]).
//!
//! Both flush nothing: what they have written survives their own end, which is what tests bring about. Where no server can be started, tests
//! that need one fail and say what to install: `scripts/test.sh` can leave them out, and says so.

mod programs;
mod server;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use self::programs::Programs;
pub use self::server::PostgresServer;
use crate::run_server::{self, Place};

/// What the shared server is told.
const OPTIONS: [&str; 9] = [
    "listen_addresses=",
    "max_connections=400",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
    "max_wal_size=256MB",
    "autovacuum_naptime=5s",
    "logging_collector=off",
    "log_min_messages=fatal",
];

/// A database of a test's own, on the server that all tests of the run share.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Its name.
    pub name: String,
    /// For `DATABASE_URL`.
    pub url: String,
}

impl TestDatabase {
    /// Makes an empty database; starts the server if this is the first of the run.
    ///
    /// # Panics
    /// When no server can be started.
    pub fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let server = shared();
        // A locale that sorts as people do: what must be sorted by bytes has to say so. Version 14 knows only those of the system.
        let locale = if server.programs.version() < 15 {
            ""
        } else {
            "template template0 locale_provider icu icu_locale 'en'"
        };
        server.sql("postgres", &format!("create database {name} {locale}"));
        let url = format!(
            "postgres://postgres@localhost/{name}?host={}",
            server.directory.display()
        );
        Self { name, url }
    }

    /// Runs SQL from outside, as somebody with `psql` does; returns what it printed: values between `|`, a row a line.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, sql: &str) -> String {
        shared().sql(&self.name, sql)
    }
}

/// The server that all tests of the run share.
struct Shared {
    programs: Programs,
    directory: PathBuf,
}

impl Shared {
    fn sql(&self, database: &str, sql: &str) -> String {
        self.programs.sql(&self.directory, None, database, sql)
    }
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        start().unwrap_or_else(|error| {
            panic!(
                "these tests need a PostgreSQL server, and none could be started: {error}\n\
                 scripts/setup.sh --tests installs one; to leave out what needs it: POSTGRES_TEST_SKIP=1 scripts/test.sh"
            )
        })
    })
}

fn start() -> io::Result<Shared> {
    let programs = Programs::find()?;
    let (directory, _) = run_server::of_this_run("pg", |place: &Place| {
        let directory = &place.directory;
        programs.give(directory)?;
        programs.initdb(&directory.join("data"))?;
        let arguments = arguments(directory);
        place.launch(programs.user(), &programs.of_server("postgres"), &arguments, || {
            programs.is_ready(directory, None)
        })?;
        Ok(String::new())
    })?;
    Ok(Shared { programs, directory })
}

/// How the shared server is called.
fn arguments(directory: &Path) -> Vec<String> {
    let data = directory.join("data").display().to_string();
    let mut arguments = vec!["-D".to_owned(), data, "-k".to_owned(), directory.display().to_string()];
    for option in OPTIONS {
        arguments.extend(["-c".to_owned(), option.to_owned()]);
    }
    arguments
}
