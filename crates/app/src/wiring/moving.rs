//! The stores of a place that is named, whatever the settings say.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use model::{Clock, SystemClock};
use queue::{EmbeddedOptions, EmbeddedQueue, EventQueue};
use store::MetaStore;
use store_postgres::PostgresMetaStore;

use super::{open_event_store, open_meta_store};
use crate::{
    config::Settings,
    moving::{Place, Stores},
};

/// A place with what holds its locks: no server or worker can begin to use a data directory while it lives.
pub struct OpenPlace {
    /// The stores.
    pub stores: Stores,
    queue: Option<EmbeddedQueue>,
}

impl OpenPlace {
    /// Closes everything.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(queue) = self.queue {
            queue.close().await?;
        }
        self.stores.close().await
    }
}

/// Opens a place. One that must exist is not made.
pub async fn open_place(settings: &Settings, place: &Place, must_exist: bool) -> anyhow::Result<OpenPlace> {
    match place {
        Place::Postgres(url) => {
            let settings = Settings {
                database_url: Some(url.clone()),
                // Seconds behind: what was just copied, or written last, would be missing.
                database_replica_url: None,
                ..settings.clone()
            };
            let meta: Arc<dyn MetaStore> = Arc::new(PostgresMetaStore::open(url).await?);
            let (events, _) = open_event_store(&settings, Arc::new(SystemClock)).await?;
            let stores = Stores {
                events,
                meta,
                waiting_events: None,
            };
            Ok(OpenPlace { stores, queue: None })
        }
        Place::Embedded(directory) => {
            if must_exist && !directory.join("metadata.sqlite3").exists() {
                bail!(
                    "there is no metadata.sqlite3 in {}: is it a data directory?",
                    directory.display()
                );
            }
            let settings = Settings {
                data_dir: directory.clone(),
                database_url: None,
                ..settings.clone()
            };
            open_directory(&settings).await
        }
    }
}

async fn open_directory(settings: &Settings) -> anyhow::Result<OpenPlace> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let directory = &settings.data_dir;
    let stop = || {
        format!(
            "{}: stop every server, worker and command that uses it",
            directory.display()
        )
    };
    let meta = open_meta_store(settings).await?;
    let options = EmbeddedOptions {
        bytes_max: settings.queue_bytes_max,
        ..EmbeddedOptions::default()
    };
    let queue = EmbeddedQueue::open(&directory.join("queue"), options, Arc::clone(&clock)).with_context(stop)?;
    let (events, _) = open_event_store(settings, clock).await.with_context(stop)?;
    let waiting_events = Some(queue.status().await?.waiting);
    let stores = Stores {
        events,
        meta,
        waiting_events,
    };
    Ok(OpenPlace {
        stores,
        queue: Some(queue),
    })
}
