//! Sliding windows that several servers share: the generic cell rate algorithm (ITU-T I.371), as the rate limits of one process have it.

use std::{sync::Arc, time::Duration};

use model::limits;
use tokio::sync::Mutex;

use super::{
    address::RedisAddress,
    link::{Failure, Link, Server},
    scripts,
    scripts::Script,
};

/// What a window says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// There was room, and it is taken.
    pub allowed: bool,
    /// Units that may still pass now.
    pub remaining: u32,
    /// When as many units as were asked for may pass.
    pub retry_after: Duration,
    /// When the whole window is free.
    pub reset_after: Duration,
}

/// Windows in Redis, each under a name.
pub struct SharedWindow {
    server: Arc<Server>,
    link: Arc<Link>,
    script: Script,
    prefix: String,
    /// Held by whoever connects.
    connecting: Arc<Mutex<()>>,
}

impl SharedWindow {
    /// Connects, or goes on trying while Redis is away: limits are in force with the first question, not behind it.
    pub async fn open(address: &RedisAddress, prefix: &str) -> Self {
        let prefix = format!("{prefix}limit:");
        // On a cluster all windows must be with one server, as the queue.
        let keys = ["one", "another"].map(|name| format!("{prefix}{name}"));
        let server = Arc::new(Server::new(address, keys.into()));
        let window = Self {
            link: Arc::new(Link::new(Arc::clone(&server))),
            server,
            script: scripts::window(),
            prefix,
            connecting: Arc::default(),
        };
        // A server that is away is told by whoever uses its queue.
        let _ = tokio::time::timeout(limits::REDIS_ANSWER_TIMEOUT, window.back()).await;
        window
    }

    /// Asks for `cost` units of `limit_per_minute`, all or none. `None` when Redis does not answer in [`limits::RATE_LIMIT_ANSWER_TIMEOUT`]; while it
    /// is away, at once.
    pub async fn check(&self, name: &str, limit_per_minute: u32, cost: u32) -> Option<Verdict> {
        if self.server.availability().away.is_some() {
            self.reconnect();
            return None;
        }
        // A changed limit takes effect with a fresh window.
        let key = format!("{}{name}:{limit_per_minute}", self.prefix);
        let mut command = scripts::call(&self.script, &[&key]);
        command.arg(limit_per_minute).arg(cost);
        let answer: Result<(u8, u32, u64, u64), Failure> =
            self.link.query(&command, limits::RATE_LIMIT_ANSWER_TIMEOUT).await;
        let (allowed, remaining, retry_after, reset_after) = answer.ok()?;
        Some(Verdict {
            allowed: allowed == 1,
            remaining,
            retry_after: Duration::from_micros(retry_after),
            reset_after: Duration::from_micros(reset_after),
        })
    }

    /// Returns when Redis answers; for whoever wants to wait for it.
    pub async fn back(&self) {
        self.reconnect();
        let mut watch = self.server.watch();
        let _ = watch.wait_for(|now| now.away.is_none()).await;
    }

    /// Tries again until Redis answers, unless somebody does so already.
    fn reconnect(&self) {
        let Ok(alone) = Arc::clone(&self.connecting).try_lock_owned() else {
            return;
        };
        let (server, link) = (Arc::clone(&self.server), Arc::downgrade(&self.link));
        tokio::spawn(async move {
            let _alone = alone;
            while let Some(link) = link.upgrade() {
                match server.connect().await {
                    Ok(contact) => {
                        let run = contact.info.run();
                        // Used by the first question: making another one would take most of its time.
                        link.adopt(server.availability().epoch + 1, contact.connection).await;
                        return server.came("limits", contact.client, run);
                    }
                    Err(_) => {
                        drop(link);
                        tokio::time::sleep(limits::REDIS_RETRY_INTERVAL).await;
                    }
                }
            }
        });
    }
}
