//! A PostgreSQL server for tests: started once for a run, whatever number of processes its tests have, and stopped after it.
//!
//! It listens on a socket in a folder of its own and flushes nothing. Where no server can be started, tests that need one fail and say what
//! to install: `scripts/test.sh` can leave them out, and says so.

mod programs;
mod server;

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::chown, process::CommandExt, process::parent_id},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use self::programs::{Programs, succeeded};
pub use self::server::PostgresServer;

/// Long enough for a machine that does other things too.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Ends when those who run the tests have, or when no test has asked for a database for ten minutes.
const KEEPER: &str = r#"
"$BIN/postgres" -D "$DIR/data" -k "$DIR" -c listen_addresses= -c max_connections=400 -c fsync=off -c full_page_writes=off \
    -c shared_buffers=64MB -c max_wal_size=256MB -c autovacuum_naptime=5s &
server=$!
while [ -d "/proc/$RUNNER" ] && kill -0 $server && [ -z "$(find "$DIR/heartbeat" -mmin +10)" ]; do sleep 1; done
kill -INT $server
wait $server
rm -rf "$DIR" "$DIR.lock"
"#;

/// A database of a test's own.
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
        let server = server();
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

    /// Runs SQL from outside, as psql would, and returns what it printed: values of a row between `|`, a row a line.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, sql: &str) -> String {
        server().sql(&self.name, sql)
    }
}

struct Server {
    programs: Programs,
    directory: PathBuf,
}

impl Server {
    fn sql(&self, database: &str, sql: &str) -> String {
        let output = self
            .programs
            .client("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(&self.directory)
            .output();
        succeeded(output, sql)
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        start().unwrap_or_else(|error| {
            panic!(
                "no PostgreSQL server for tests: {error}. Install it (apt-get install postgresql), or leave the tests that need it out: \
                 POSTGRES_TEST_SKIP=1 scripts/test.sh"
            )
        })
    })
}

/// The server of this run: found, or started.
fn start() -> io::Result<Server> {
    // Every test of a run has the same parent: cargo, or what runs a process for each test.
    let runner = parent_id();
    let stat = fs::read_to_string(format!("/proc/{runner}/stat"))?;
    // Its start tells it from an earlier process of the same number.
    let started = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19));
    let directory = std::env::temp_dir().join(format!("sa-pg-{runner}-{}", started.unwrap_or_default()));
    let lock = File::create(directory.with_extension("lock"))?;
    lock.lock()?;
    let server = Server {
        programs: Programs::find()?,
        directory,
    };
    if !server.directory.join("ready").exists() {
        server.launch(runner)?;
    }
    File::create(server.directory.join("heartbeat"))?;
    Ok(server)
}

impl Server {
    fn launch(&self, runner: u32) -> io::Result<()> {
        let directory = &self.directory;
        let _ = fs::remove_dir_all(directory);
        fs::create_dir(directory)?;
        if let Some(user) = self.programs.user() {
            chown(directory, Some(user.uid), Some(user.gid))?;
            // The keeper removes both.
            chown(directory.with_extension("lock"), Some(user.uid), Some(user.gid))?;
        }
        File::create(directory.join("heartbeat"))?;
        self.programs.initdb(&directory.join("data"))?;
        let log = File::create(directory.join("log"))?;
        // The keeper outlives the test that starts it, and no one waits for its output.
        self.programs
            .as_user(Path::new("/bin/sh"))
            .args(["-c", KEEPER])
            .env("BIN", self.programs.server_directory())
            .env("DIR", directory)
            .env("RUNNER", runner.to_string())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let began = Instant::now();
        loop {
            let ready = self
                .programs
                .client("pg_isready")
                .arg("-q")
                .arg("-h")
                .arg(directory)
                .status()?;
            if ready.success() {
                File::create(directory.join("ready"))?;
                return Ok(());
            }
            if began.elapsed() > START_PATIENCE {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("it does not answer: {log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
