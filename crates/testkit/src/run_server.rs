//! Servers that all tests of a run share, whatever number of processes the tests have: the first test that needs one starts it, and a keeper
//! ends it after the last.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::chown,
        process::{CommandExt, parent_id},
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Long enough for a machine that does other things too.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Ends when those who run the tests have, or when no test has asked for the server for ten minutes.
const KEEPER: &str = r#"
"$@" &
server=$!
while [ -d "/proc/$RUNNER" ] && kill -0 $server && [ -z "$(find "$DIR/heartbeat" -mmin +10)" ]; do sleep 1; done
kill -INT $server
wait $server
rm -rf "$DIR" "$DIR.lock"
"#;

/// Name, user and group of somebody.
#[derive(Clone, Debug)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The first of these users that there is.
    pub(crate) fn find(names: &[&str]) -> io::Result<Option<Self>> {
        let passwd = fs::read_to_string("/etc/passwd")?;
        let find = |name: &&str| {
            let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?;
            let mut fields = line.split(':').skip(2);
            Some(Self {
                uid: fields.next()?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        };
        Ok(names.iter().find_map(find))
    }

    /// Gives a file or directory to the user.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// A program, run by `user`; `None`: by whoever runs the tests.
pub(crate) fn command_of(user: Option<&User>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some(User { uid, gid }) => {
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

/// What a program printed.
///
/// # Panics
/// When it failed.
pub(crate) fn succeeded(output: io::Result<Output>, what: &str) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The place of a shared server.
pub(crate) struct Place {
    /// Its folder, new and empty when the server is launched.
    pub directory: PathBuf,
    runner: u32,
}

/// The folder of this run's server of a `kind`, and what `launch` returned when the first test of the run started it.
pub(crate) fn of_this_run(
    kind: &str,
    launch: impl FnOnce(&Place) -> io::Result<String>,
) -> io::Result<(PathBuf, String)> {
    // Every test of a run has the same parent: cargo, or what runs a process for each test.
    let runner = parent_id();
    let stat = fs::read_to_string(format!("/proc/{runner}/stat"))?;
    // Its start tells it from an earlier process of the same number.
    let started = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19));
    let name = format!("sa-{kind}-{runner}-{}", started.unwrap_or_default());
    let place = Place {
        directory: std::env::temp_dir().join(name),
        runner,
    };
    let lock = File::create(place.directory.with_extension("lock"))?;
    lock.lock()?;
    let ready = place.directory.join("ready");
    let told = match fs::read_to_string(&ready) {
        Ok(told) => told,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _ = fs::remove_dir_all(&place.directory);
            fs::create_dir(&place.directory)?;
            let told = launch(&place)?;
            fs::write(&ready, &told)?;
            told
        }
        Err(error) => return Err(error),
    };
    File::create(place.directory.join("heartbeat"))?;
    Ok((place.directory, told))
}

impl Place {
    /// Starts a server and its keeper, which outlive the test, and returns when `is_ready`.
    pub(crate) fn launch(
        &self,
        user: Option<&User>,
        program: &Path,
        arguments: &[String],
        is_ready: impl Fn() -> io::Result<bool>,
    ) -> io::Result<()> {
        let directory = &self.directory;
        if let Some(user) = user {
            user.give(directory)?;
            // The keeper removes both.
            user.give(&directory.with_extension("lock"))?;
        }
        File::create(directory.join("heartbeat"))?;
        let log = File::create(directory.join("log"))?;
        let mut keeper = command_of(user, Path::new("/bin/sh"))
            .args(["-c", KEEPER, "keeper"])
            .arg(program)
            .args(arguments)
            .env("DIR", directory)
            .env("RUNNER", self.runner.to_string())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let began = Instant::now();
        while !is_ready()? {
            // Gone with its folder when the server could not start.
            let ended = keeper.try_wait()?.is_some();
            if ended || began.elapsed() > START_PATIENCE {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("it does not answer: {log}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
