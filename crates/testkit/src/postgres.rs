//! A PostgreSQL server for tests: started once for a run, whatever number of processes its tests have, and stopped after it.
//!
//! It listens on a socket in a folder of its own and flushes nothing. Where no server can be started, tests that need one fail and say what
//! to install: `scripts/test.sh` can leave them out, and says so.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::chown, process::CommandExt, process::parent_id},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

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
/// Who runs the server when root runs the tests: PostgreSQL refuses root.
const USERS: [&str; 2] = ["postgres", "nobody"];

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
    bin: PathBuf,
    directory: PathBuf,
}

impl Server {
    fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.bin.join("psql"))
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
    let server = Server { bin: bin()?, directory };
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
        let user = other_user()?;
        if let Some((_, uid, gid)) = &user {
            chown(directory, Some(*uid), Some(*gid))?;
            // The keeper removes both.
            chown(directory.with_extension("lock"), Some(*uid), Some(*gid))?;
        }
        File::create(directory.join("heartbeat"))?;
        let mut initdb = command_of(user.as_ref(), &self.bin.join("initdb"));
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ]);
        succeeded(
            initdb.arg(directory.join("data")).current_dir(directory).output(),
            "initdb",
        );
        let log = File::create(directory.join("log"))?;
        // The keeper outlives the test that starts it, and no one waits for its output.
        command_of(user.as_ref(), Path::new("/bin/sh"))
            .args(["-c", KEEPER])
            .env("BIN", &self.bin)
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
            let ready = Command::new(self.bin.join("pg_isready"))
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

/// Name, user and group of whoever runs the server; `None`: whoever runs the tests.
fn other_user() -> io::Result<Option<(String, u32, u32)>> {
    let id = succeeded(Command::new("id").arg("-u").output(), "id");
    if id.trim() != "0" {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let find = |name: &&str| {
        let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((
            (*name).to_owned(),
            fields.next()?.parse().ok()?,
            fields.next()?.parse().ok()?,
        ))
    };
    let user = USERS.iter().find_map(find);
    user.map(Some)
        .ok_or_else(|| io::Error::other("root cannot run it, and there is no user postgres or nobody"))
}

fn command_of(user: Option<&(String, u32, u32)>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some((_, uid, gid)) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={uid}"))
                .arg(format!("--regid={gid}"))
                .args(["--clear-groups", "--"])
                .arg(program);
            command
        }
    }
}

fn succeeded(output: io::Result<Output>, what: &str) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server of a test's own that can be stopped; it flushes as a real one does. Ends with the value.
pub struct OwnPostgres {
    bin: PathBuf,
    directory: tempfile::TempDir,
    user: Option<(String, u32, u32)>,
    process: Mutex<Child>,
}

impl OwnPostgres {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let bin = bin().expect("a PostgreSQL server: apt-get install postgresql");
        let user = other_user().expect("who runs the server");
        let directory = tempfile::tempdir().expect("a directory");
        if let Some((_, uid, gid)) = &user {
            chown(directory.path(), Some(*uid), Some(*gid)).expect("its owner");
        }
        let mut initdb = command_of(user.as_ref(), &bin.join("initdb"));
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ]);
        let data = directory.path().join("data");
        succeeded(initdb.arg(data).current_dir(directory.path()).output(), "initdb");
        let process = Mutex::new(run(&bin, directory.path(), user.as_ref()));
        Self {
            bin,
            directory,
            user,
            process,
        }
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.directory.path().display()
        )
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Panics
    /// When that fails.
    pub fn kill(&self) {
        let mut process = self.process.lock().expect("process");
        process.kill().expect("kill");
        process.wait().expect("end");
    }

    /// Starts it again.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        *self.process.lock().expect("process") = run(&self.bin, self.directory.path(), self.user.as_ref());
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.lock() {
            // It may have been killed already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn run(bin: &Path, directory: &Path, user: Option<&(String, u32, u32)>) -> Child {
    let mut server = command_of(user, &bin.join("postgres"));
    server
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-k")
        .arg(directory)
        .args(["-c", "listen_addresses="])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let is_ready = || {
        let asked = Command::new(bin.join("pg_isready"))
            .arg("-q")
            .arg("-h")
            .arg(directory)
            .status();
        asked.is_ok_and(|status| status.success())
    };
    let mut process = server.spawn().expect("a server");
    while !is_ready() {
        if process.try_wait().expect("its state").is_some() {
            // Processes of the one before may still be ending, and it waits for none of them.
            process = server.spawn().expect("a server");
        }
        assert!(began.elapsed() < START_PATIENCE, "PostgreSQL does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    process
}
