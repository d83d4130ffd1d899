//! PostgreSQL's programs, and who runs them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run_server::{User, command_of, succeeded};

/// Who runs the server when root runs the tests: PostgreSQL refuses root.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Which PostgreSQL the servers are of, by its major version; the newest that is installed when it is not set.
const VERSION: &str = "POSTGRES_TEST_VERSION";

/// Where programs are. Packages of single versions ship no `psql`: any version's does.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// The major version that is tried.
    version: u32,
    /// Its `initdb` and `postgres`.
    server: PathBuf,
    /// `psql` and `pg_isready`.
    client: PathBuf,
    /// Whoever runs the server, if not who runs the tests.
    user: Option<User>,
}

impl Programs {
    pub(super) fn find() -> io::Result<Self> {
        let with = |program: &str| {
            let mut found: Vec<(u32, PathBuf)> = installed()
                .into_iter()
                .filter(|(_, bin)| bin.join(program).exists())
                .collect();
            found.sort();
            found
        };
        let none = |program: &str| io::Error::other(format!("no {program} in /usr/lib/postgresql/*/bin"));
        let servers = with("initdb");
        let server = match std::env::var(VERSION) {
            Ok(wanted) if !wanted.is_empty() => servers
                .into_iter()
                .find(|(version, _)| version.to_string() == wanted)
                .ok_or_else(|| {
                    io::Error::other(format!(
                        "{VERSION}={wanted} is not installed; scripts/fetch-postgres.sh fetches it"
                    ))
                }),
            _ => with("psql")
                .pop()
                .filter(|(_, bin)| bin.join("initdb").exists())
                .ok_or_else(|| none("initdb")),
        };
        let (version, server) = server?;
        Ok(Self {
            version,
            server,
            client: with("psql").pop().ok_or_else(|| none("psql"))?.1,
            user: other_user()?,
        })
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Where a program of the server's version is.
    pub(super) fn of_server(&self, program: &str) -> PathBuf {
        self.server.join(program)
    }

    /// Any program, run as whoever runs servers.
    pub(super) fn as_user(&self, program: &Path) -> Command {
        command_of(self.user.as_ref(), program)
    }

    /// Makes a file or folder that of whoever runs servers.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        self.user.as_ref().map_or(Ok(()), |user| user.give(path))
    }

    /// Runs SQL through the socket in `directory`, and returns what it printed: values between `|`, a row a line.
    pub(super) fn sql(&self, directory: &Path, port: Option<u16>, database: &str, sql: &str) -> String {
        let mut psql = self.client("psql", directory, port);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-d", database, "-c", sql]);
        succeeded(psql.output(), sql)
    }

    /// Whether the server whose socket is in `directory` answers.
    pub(super) fn is_ready(&self, directory: &Path, port: Option<u16>) -> io::Result<bool> {
        Ok(self.client("pg_isready", directory, port).arg("-q").status()?.success())
    }

    fn client(&self, program: &str, directory: &Path, port: Option<u16>) -> Command {
        let mut command = Command::new(self.client.join(program));
        command.arg("-h").arg(directory);
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command
    }

    /// Makes a cluster in `data`, whose parent the user owns.
    pub(super) fn initdb(&self, data: &Path) -> io::Result<()> {
        let mut initdb = self.as_user(&self.of_server("initdb"));
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ]);
        initdb.arg(data).current_dir(data.parent().unwrap_or(data));
        succeeded(initdb.output(), "initdb");
        Ok(())
    }
}

/// Directories of programs with their major versions: those of Debian's packages, and those that `scripts/fetch-postgres.sh` fetches.
fn installed() -> Vec<(u32, PathBuf)> {
    let version_of = |name: &str| name.split('.').next()?.parse::<u32>().ok();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.postgres");
    let mut found = Vec::new();
    for directory in [Path::new("/usr/lib/postgresql"), &fetched] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Where it really is: whoever runs the server may not be let into the checkout.
            let path = entry.path().canonicalize().unwrap_or_else(|_| entry.path());
            if let Some(version) = entry.file_name().to_str().and_then(version_of) {
                found.push((version, path.join("bin")));
            }
        }
    }
    found
}

/// User and group of whoever runs the server; `None`: whoever runs the tests.
fn other_user() -> io::Result<Option<User>> {
    let id = succeeded(Command::new("id").arg("-u").output(), "id");
    if id.trim() != "0" {
        return Ok(None);
    }
    User::find(&USERS)?
        .map(Some)
        .ok_or_else(|| io::Error::other("root cannot run it, and there is no user postgres or nobody"))
}
