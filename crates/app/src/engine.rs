//! Commands that need events: they ask the running server, or start the engine for themselves.

use anyhow::Context as _;

use crate::{
    admin_client::AdminClient,
    config::Settings,
    wiring::{self, EngineMode},
};

/// Who stops the command when the person presses Ctrl-C or the process is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// The work is dropped where it stands, the engine is stopped, the command fails.
    Abandon,
    /// The work listens to [`stop_signal`] itself.
    LeaveToWork,
}

/// Runs `work` with a client of the admin socket: the running server's, or, when none listens, that of an engine which is started
/// in this process and stopped afterwards, also when `work` fails or is interrupted.
pub async fn with_admin<T>(
    settings: &Settings,
    on_interrupt: OnInterrupt,
    work: impl AsyncFnOnce(&AdminClient) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let client = AdminClient::new(settings.admin_socket());
    if client.is_listening().await? {
        return work(&client).await;
    }
    let engine = wiring::start_engine(settings, EngineMode::Command)
        .await
        .with_context(|| format!("cannot open the stores in {}", settings.data_dir.display()))?;
    let interrupted = async {
        match on_interrupt {
            OnInterrupt::Abandon => stop_signal().await,
            OnInterrupt::LeaveToWork => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = work(&client) => result,
        () = interrupted => Err(anyhow::anyhow!("interrupted; what was accepted so far is kept")),
    };
    engine.stop().await;
    result
}

/// Waits for SIGINT or SIGTERM.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        // Without signal handlers the default action ends the process, which loses nothing that was accepted.
        Err(_) => std::future::pending().await,
    }
}
