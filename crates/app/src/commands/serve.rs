//! `serve`: the server itself.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use model::{Person, PersonId, Project};
use serde_json::json;
use server::Engine;
use store::{MetaError, MetaStore};
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, ServerFlags};
use crate::{
    config::Settings,
    memory,
    output::{Output, OutputError},
    password::{self, Password},
    wiring::{self, EngineMode},
};

/// Name of the project that the first start makes.
const FIRST_PROJECT: &str = "My project";
/// Sign-in name of the administrator that the first start makes.
const FIRST_PERSON: &str = "admin@localhost";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    simple-analytics serve\n  \
    simple-analytics serve --listen 0.0.0.0:8000 --data-dir /var/lib/simple-analytics\n  \
    simple-analytics serve --roles api,worker")]
pub struct Args {
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Runs the server until it is told to stop.
pub async fn run(_args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let meta = wiring::open_meta_store(&context.settings).await?;
    let engine = wiring::load_engine(&context.settings, Arc::clone(&meta), EngineMode::Serve).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut running = server::start(Arc::clone(&engine), EngineMode::Serve).await?;
    let address = running.address.context("the server has no address")?;
    // Only now: the engine holds the data directory's locks, so no second server can be at its first start too, and one that cannot
    // listen has made no password that nobody learns.
    if let Err(error) = introduce(&engine, &*meta, context, address).await {
        running.stop().await;
        return Err(error);
    }
    tracing::info!(%address, "serving");
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failure = running.failed() => Some(failure),
    };
    tracing::info!(reason = failure.as_deref().unwrap_or("signal"), "stopping");
    running.stop().await;
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(anyhow::anyhow!("the server stopped by itself: {failure}")),
    }
}

/// Makes what a first start makes, and tells people where the server is. What they could not be told is not made.
async fn introduce(
    engine: &Engine,
    meta: &dyn MetaStore,
    context: &Context,
    address: SocketAddr,
) -> anyhow::Result<()> {
    let first = first_start(meta, context).await?;
    memory::give_back();
    // As text: a closed standard output is no failure elsewhere.
    let told = match engine.directory.refresh(meta).await {
        Ok(_) => {
            announce(context.output, &context.settings, address, first.as_ref()).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    let Err(error) = told else { return Ok(()) };
    let Some(first) = first else {
        // It tells nothing that a command does not, and the directory is read again in a moment.
        tracing::warn!(error, "the start could not be announced");
        return Ok(());
    };
    first.undo(meta).await;
    bail!("{error}: nobody would learn the keys and the password of the first start, so nothing was made")
}

/// What the first start makes.
struct FirstStart {
    project: Project,
    person: Person,
    password: Password,
}

impl FirstStart {
    async fn make(&self, meta: &dyn MetaStore) -> Result<(), MetaError> {
        meta.create_person(&self.person).await?;
        meta.create_project(&self.project).await
    }

    /// The next start is a first one again.
    async fn undo(&self, meta: &dyn MetaStore) {
        for undone in [
            meta.delete_project(self.project.id).await,
            meta.delete_person(self.person.id).await,
        ] {
            match undone {
                Ok(()) | Err(MetaError::NotFound { .. }) => {}
                Err(error) => tracing::error!(
                    %error,
                    "what the first start made could not be removed; `user set-password` and `project list` help"
                ),
            }
        }
    }
}

/// Makes a project and an administrator where there is neither.
async fn first_start(meta: &dyn MetaStore, context: &Context) -> anyhow::Result<Option<FirstStart>> {
    if !meta.projects().await?.is_empty() || !meta.people().await?.is_empty() {
        return Ok(None);
    }
    let now = context.clock.now();
    let password = password::generated();
    let person = Person {
        id: PersonId::generate(now),
        email: FIRST_PERSON.to_owned(),
        is_superuser: true,
        password_hash: password::hash(&password.text)?,
        created_at: now,
    };
    let first = FirstStart {
        project: Project::new(FIRST_PROJECT.to_owned(), now),
        person,
        password,
    };
    if let Err(error) = first.make(meta).await {
        first.undo(meta).await;
        return Err(error.into());
    }
    Ok(Some(first))
}

fn announce(
    output: Output,
    settings: &Settings,
    address: SocketAddr,
    first: Option<&FirstStart>,
) -> Result<(), OutputError> {
    let url = format!("http://{}{}", reachable(address), settings.server_config().base_path);
    let document = json!({
        "address": address,
        "url": url,
        "data_dir": settings.data_dir,
        "first_start": first.map(|first| json!({
            "project": first.project,
            "administrator": {"email": FIRST_PERSON, "password": first.password.text},
        })),
    });
    output.answer(&document, || {
        let mut text = format!(
            "{}\n\n  API       {url}/api/docs\n  Health    {url}/health/ready\n  Data      {}\n",
            output.strong("Simple Analytics is ready."),
            settings.data_dir.display()
        );
        match first {
            Some(first) => text.push_str(&welcome(output, &url, first)),
            None => text.push_str("\nProjects and keys: simple-analytics project list\n"),
        }
        text
    })
}

fn welcome(output: Output, url: &str, first: &FirstStart) -> String {
    let FirstStart { project, password, .. } = first;
    let (public, private) = (project.public_api_key.expose(), project.private_api_key.expose());
    format!(
        "\nThis is the first start: a project and an administrator were made.\n\n  \
         Project       {name}  {id}\n  \
         Public key    {public}  {sends}\n  \
         Private key   {private}  {reads}\n  \
         Administrator {FIRST_PERSON}  password {password}  {once}\n\n\
         Send an event, then read it back:\n\n  \
         curl -X POST {url}/api/events/ingest/ -H 'Authorization: Bearer {public}' -d '{{\"event_name\":\"hello\"}}' -H 'Content-Type: application/json'\n  \
         curl {url}/api/events/query/ -H 'Authorization: Bearer {private}'\n",
        name = project.name,
        id = project.id,
        password = password.text,
        sends = output.faint("sends events; safe in a page"),
        reads = output.faint("reads; keep it on a server"),
        once = output.faint("shown only now"),
    )
}

/// The address as a client on this machine writes it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}
