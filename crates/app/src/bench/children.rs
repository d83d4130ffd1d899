//! The processes that are measured: this executable, started again in a directory of its own.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use model::Project;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use crate::admin_client::AdminClient;

/// Starting a server: opens stores, binds a port.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Stopping one: the shutdown budget and some.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// A command that prepares something.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(3600);

/// A directory for the data of one measured server, removed at the end.
pub struct Site {
    folder: TempDir,
    /// Settings beside those of every site, by their variables.
    settings: Vec<(&'static str, String)>,
}

impl Site {
    /// A new directory inside `scratch`.
    pub fn new(scratch: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("simple-analytics-bench-")
            .tempdir_in(scratch)
            .with_context(|| {
                format!(
                    "cannot make a directory in {}; choose another with --scratch",
                    scratch.display()
                )
            })?;
        Ok(Self {
            folder,
            settings: Vec::new(),
        })
    }

    /// The same on PostgreSQL instead of the embedded stores.
    pub fn with_database(mut self, url: &str) -> Self {
        self.settings.push(("DATABASE_URL", url.to_owned()));
        self
    }

    /// The same with the queue in Redis, in keys that begin with `prefix`.
    pub fn with_redis(mut self, url: &str, prefix: &str, queue_bytes_max: &str) -> Self {
        self.settings.push(("REDIS_URL", url.to_owned()));
        self.settings.push(("REDIS_PREFIX", prefix.to_owned()));
        self.settings
            .push(("REDIS_QUEUE_BYTES_MAX", queue_bytes_max.to_owned()));
        self
    }

    /// Where the data are.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A project without limits.
    pub async fn create_project(&self) -> anyhow::Result<Project> {
        let arguments = [
            "project",
            "create",
            "--name",
            "bench",
            "--rate-limit-per-minute",
            "none",
            "--json",
        ];
        serde_json::from_slice(&self.run(arguments).await?).context("the new project cannot be read")
    }

    /// Runs a command to its end and returns what it printed.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Vec<u8>> {
        let output = self.command()?.args(arguments).stdout(Stdio::piped()).output();
        let output = tokio::time::timeout(COMMAND_TIMEOUT, output)
            .await
            .map_err(|_| anyhow!("a command of the benchmark does not end"))??;
        if !output.status.success() {
            bail!(
                "a command of the benchmark failed ({}); what it said is above",
                output.status
            );
        }
        Ok(output.stdout)
    }

    /// Starts a server with these roles, on a free port.
    pub async fn serve(&self, roles: &str) -> anyhow::Result<Server> {
        let child = self
            .command()?
            .args(["serve", "--json", "--roles", roles])
            .stdout(Stdio::piped())
            .spawn()?;
        Server::announced(child, AdminClient::new(self.data_dir().join("admin.sock"))).await
    }

    /// Starts the bare handler.
    pub async fn bare(&self) -> anyhow::Result<Server> {
        let child = self
            .command()?
            .arg("bench-bare-handler")
            .stdout(Stdio::piped())
            .spawn()?;
        Server::announced(child, AdminClient::new(self.data_dir().join("none.sock"))).await
    }

    /// This executable, in the site's directory, with none of the settings of this process.
    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("this executable cannot be found")?);
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "LD_LIBRARY_PATH" || name == "HOME"))
            .env("DATA_DIR", self.data_dir())
            .env("LISTEN", "127.0.0.1:0")
            .env("IP_RATE_LIMIT_PER_MINUTE", "0")
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("RUST_LOG", "error")
            .envs(self.settings.iter().map(|(variable, value)| (variable, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// A child process that serves HTTP.
pub struct Server {
    child: Child,
    /// Where.
    pub address: SocketAddr,
    /// Its admin socket.
    pub admin: AdminClient,
}

impl Server {
    /// Waits until the child prints a JSON document with its address: then it listens.
    async fn announced(mut child: Child, admin: AdminClient) -> anyhow::Result<Self> {
        let output = child.stdout.take().context("the child has no output")?;
        let mut lines = BufReader::new(output);
        let read = async {
            let mut text = String::new();
            loop {
                if lines.read_line(&mut text).await? == 0 {
                    bail!("a server of the benchmark ended at its start; what it said is above");
                }
                if let Ok(document) = serde_json::from_str::<Value>(&text) {
                    return Ok(document);
                }
            }
        };
        let document = tokio::time::timeout(START_TIMEOUT, read).await.map_err(|_| {
            anyhow!(
                "a server of the benchmark did not start within {} s",
                START_TIMEOUT.as_secs()
            )
        })??;
        let address = document["address"].as_str().unwrap_or_default().parse();
        // Whatever it prints later must not block it.
        tokio::spawn(async move {
            let mut sink = Vec::new();
            let _ = lines.read_to_end(&mut sink).await;
        });
        Ok(Self {
            child,
            address: address.context("the server did not say its address")?,
            admin,
        })
    }

    /// Resident memory now and at its highest, in bytes.
    pub fn memory(&self) -> Memory {
        let status = self
            .child
            .id()
            .and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok());
        status.as_deref().map(read_memory).unwrap_or_default()
    }

    /// Ends it the gentle way and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(id) = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => {
                status?;
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                bail!(
                    "a server of the benchmark did not stop within {} s",
                    STOP_TIMEOUT.as_secs()
                )
            }
        }
    }

    /// Ends it at once: it keeps nothing.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot end a server of the benchmark")
    }
}

/// Resident memory of a process, in bytes; 0 where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// At its highest.
    pub peak: u64,
}

fn read_memory(status: &str) -> Memory {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024)
    };
    Memory {
        resident: field("VmRSS:").unwrap_or(0),
        peak: field("VmHWM:").unwrap_or(0),
    }
}

/// Processes that wanted a processor over the last minute, on average; `None` where the system does not tell.
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg")
        .ok()?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// Whether files there live in memory: then making them durable costs nothing, and the numbers are too good.
pub fn is_in_memory(directory: &Path) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    rustix::fs::statfs(directory).is_ok_and(|stat| matches!(stat.f_type, TMPFS_MAGIC | RAMFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(
            read_memory(status),
            Memory {
                resident: 1 << 20,
                peak: 2 << 20
            }
        );
        assert_eq!(read_memory(""), Memory::default());
    }
}
