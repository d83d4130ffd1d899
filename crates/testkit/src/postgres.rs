//! PostgreSQL for tests: a server that the whole run shares ([`TestDatabase`]), and one that a test may stop and freeze ([`PostgresServer`]).
//!
//! Both listen on a socket in a folder of their own and flush nothing: what they have written survives their own end, which is what tests
//! bring about. Where no server can be started, tests that need one fail and say what to install: `scripts/test.sh` can leave them out, and
//! says so.

use std::{
    fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::run_server::{self, Place, User, command_of, succeeded};

/// Who runs the server when root runs the tests: PostgreSQL refuses root.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// What every server is told.
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
/// Longest start of a server of a test's own, and longest end.
const PATIENCE: Duration = Duration::from_secs(60);

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
        // A locale that sorts as people do: what must be sorted by bytes has to say so.
        server.sql(
            "postgres",
            &format!("create database {name} template template0 locale_provider icu icu_locale 'en'"),
        );
        let url = server.url(&name);
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

/// Where a server is.
struct Installed {
    bin: PathBuf,
    directory: PathBuf,
}

impl Installed {
    fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-d", database, "-c", sql, "-h"])
            .arg(&self.directory)
            .output();
        succeeded(output, sql)
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.directory.display()
        )
    }

    /// Makes the files of a new server, owned by whoever runs it.
    fn initialize(&self, user: Option<&User>) -> io::Result<()> {
        if let Some(user) = user {
            user.give(&self.directory)?;
        }
        let mut initdb = command_of(user, &self.bin.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "-D"]);
        succeeded(
            initdb
                .arg(self.directory.join("data"))
                .current_dir(&self.directory)
                .output(),
            "initdb",
        );
        Ok(())
    }

    /// How the server is called.
    fn arguments(&self) -> Vec<String> {
        let data = self.directory.join("data").display().to_string();
        let mut arguments = vec![
            "-D".to_owned(),
            data,
            "-k".to_owned(),
            self.directory.display().to_string(),
        ];
        for option in OPTIONS {
            arguments.extend(["-c".to_owned(), option.to_owned()]);
        }
        arguments
    }

    fn is_ready(&self) -> io::Result<bool> {
        let mut asks = Command::new(self.bin.join("pg_isready"));
        Ok(asks.arg("-q").arg("-h").arg(&self.directory).status()?.success())
    }
}

fn server() -> &'static Installed {
    static SERVER: OnceLock<Installed> = OnceLock::new();
    SERVER.get_or_init(|| or_say_what_to_install(start()))
}

fn or_say_what_to_install<T>(started: io::Result<T>) -> T {
    started.unwrap_or_else(|error| {
        panic!(
            "no PostgreSQL server for tests: {error}. Install it (apt-get install postgresql), or leave the tests that need it out: \
             POSTGRES_TEST_SKIP=1 scripts/test.sh"
        )
    })
}

/// The server of this run: found, or started.
fn start() -> io::Result<Installed> {
    let bin = bin()?;
    let (directory, _) = run_server::of_this_run("pg", |place: &Place| {
        let server = Installed {
            bin: bin.clone(),
            directory: place.directory.clone(),
        };
        let user = other_user()?;
        server.initialize(user.as_ref())?;
        let program = server.bin.join("postgres");
        place.launch(user.as_ref(), &program, &server.arguments(), || server.is_ready())?;
        Ok(String::new())
    })?;
    Ok(Installed { bin, directory })
}

/// A server of a test's own, with an empty database; it ends with the value.
pub struct PostgresServer {
    /// Removed after the server has ended.
    _folder: tempfile::TempDir,
    server: Installed,
    user: Option<User>,
    process: Child,
    /// What it is told beside [`OPTIONS`].
    options: Vec<&'static str>,
}

impl PostgresServer {
    /// Name of its database.
    const DATABASE: &str = "test";

    /// Starts one.
    ///
    /// # Panics
    /// When no server can be started.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more options, as in `fsync=on`.
    ///
    /// # Panics
    /// When no server can be started.
    pub fn start_with(options: &[&'static str]) -> Self {
        or_say_what_to_install(Self::try_start(options.to_vec()))
    }

    fn try_start(options: Vec<&'static str>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Installed {
            bin: bin()?,
            directory: folder.path().to_owned(),
        };
        let user = other_user()?;
        server.initialize(user.as_ref())?;
        let process = spawn(&server, user.as_ref(), &options)?;
        let started = Self {
            _folder: folder,
            options,
            server,
            user,
            process,
        };
        started.server.sql(
            "postgres",
            &format!("create database {} template template0", Self::DATABASE),
        );
        Ok(started)
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        self.server.url(Self::DATABASE)
    }

    /// Runs SQL from outside, as [`TestDatabase::sql`] does.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(Self::DATABASE, sql)
    }

    /// Ends it at once, as a crash of its process does: every connection breaks, and the next start replays the log.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill(&mut self) {
        // Not SIGKILL: the next start would have to wait for children that nobody ends.
        kill_process(self.pid(), Signal::QUIT).expect("signal");
        self.process.wait().expect("end");
    }

    /// Starts it again with what it has on disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.process = or_say_what_to_install(spawn(&self.server, self.user.as_ref(), &self.options));
    }

    /// Lets it stand still: connections are taken, nothing is answered.
    pub fn freeze(&self) {
        // The one that starts others first.
        self.signal(self.pid(), Signal::STOP);
        for child in self.children() {
            self.signal(child, Signal::STOP);
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        for child in self.children() {
            self.signal(child, Signal::CONT);
        }
        self.signal(self.pid(), Signal::CONT);
    }

    fn signal(&self, pid: Pid, signal: Signal) {
        // A connection's process may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.process.id()).ok();
        id.and_then(Pid::from_raw).expect("a process id")
    }

    /// The processes that it has started.
    fn children(&self) -> Vec<Pid> {
        let parent = self.process.id().to_string();
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let is_child = |entry: &fs::DirEntry| {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields = stat.rsplit(')').next().unwrap_or_default();
            fields.split_whitespace().nth(1) == Some(&parent)
        };
        processes
            .filter(is_child)
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.thaw();
        let _ = kill_process(self.pid(), Signal::QUIT);
        let _ = self.process.wait();
    }
}

fn spawn(server: &Installed, user: Option<&User>, options: &[&str]) -> io::Result<Child> {
    let log = fs::File::create(server.directory.join("log"))?;
    let mut process = command_of(user, &server.bin.join("postgres"))
        .args(server.arguments())
        .args(options.iter().flat_map(|option| ["-c", *option]))
        .current_dir(&server.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let began = Instant::now();
    while !server.is_ready()? {
        if process.try_wait()?.is_some() || began.elapsed() > PATIENCE {
            let log = fs::read_to_string(server.directory.join("log")).unwrap_or_default();
            return Err(io::Error::other(format!("it does not answer: {log}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// Where the programs of the newest PostgreSQL are.
fn bin() -> io::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb").exists().then(|| (version, path.join("bin")))
        })
        .collect();
    found.sort();
    let newest = found
        .pop()
        .ok_or_else(|| io::Error::other("no initdb in /usr/lib/postgresql/*/bin"))?;
    Ok(newest.1)
}

/// Whoever runs the server; `None`: whoever runs the tests.
fn other_user() -> io::Result<Option<User>> {
    let id = succeeded(Command::new("id").arg("-u").output(), "id");
    if id.trim() != "0" {
        return Ok(None);
    }
    let user = User::find(&USERS)?;
    user.map(Some)
        .ok_or_else(|| io::Error::other("root cannot run it, and there is no user postgres or nobody"))
}
