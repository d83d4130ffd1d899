//! What the settings' servers say of themselves, without joining them.

use model::{Clock, inspection::Inspection};
use queue::RedisOptions;

use super::redis;
use crate::config::Settings;

/// Looks at every server that the settings name.
pub async fn inspect(settings: &Settings, clock: &dyn Clock) -> Vec<Inspection> {
    let mut inspections = Vec::new();
    if let Some(url) = &settings.redis_url {
        inspections.push(match redis::address(settings, url) {
            Ok(address) => {
                let options = RedisOptions {
                    prefix: settings.redis_prefix.clone(),
                    bytes_max: settings.redis_queue_bytes_max,
                    wait_replicas: settings.redis_wait_replicas,
                    ..RedisOptions::new("")
                };
                queue::redis::inspect(&address, &options, clock).await
            }
            Err(error) => {
                let mut found = Inspection::new("redis");
                found.problem(format!("{error:#}"), "correct the setting");
                found
            }
        });
    }
    if let Some(url) = &settings.database_url {
        inspections.push(store_postgres::inspect(url, clock).await);
    }
    inspections
}
