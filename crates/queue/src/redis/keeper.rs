//! Greets Redis, notices when it is back, and looks after the consumers of all processes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::limits;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Core,
    keys::GROUP,
    link::Failure,
    nodes::{Contact, Info},
    scripts,
};

/// Oldest version with all that is used (`XPENDING` and `XPENDING` with a consumer, `XINFO` in scripts).
const VERSION_MIN: (u32, u32) = (6, 2);
/// Dead workers' records that are put back at once.
const SWEEP_RECORDS: usize = limits::REDIS_FETCH_RECORDS;

/// What a server said about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub version: String,
    /// What survives of what it has confirmed.
    pub promise: String,
}

/// What a greeting has told.
struct Greeted {
    tenure: String,
    /// Of what this consumer takes.
    id: Uuid,
    /// The last position that it was given.
    given: u64,
    facts: Facts,
}

/// Keeps until the queue goes.
pub(super) async fn run(core: Arc<Core>) {
    let mut watch = core.server.watch();
    let mut next_sweep = Instant::now();
    let mut last_refusal = String::new();
    let mut greeted_at = None;
    loop {
        if watch.borrow_and_update().away.is_some() {
            if let Some(at) = greeted_at {
                // One that answers greetings and nothing else must not be asked in circles.
                tokio::time::sleep_until(at + limits::REDIS_RETRY_INTERVAL).await;
            }
            match core.greet().await {
                Ok(()) => {
                    greeted_at = Some(Instant::now());
                    tracing::info!(
                        version = core.facts().version,
                        promise = core.facts().promise,
                        "redis answers"
                    );
                    last_refusal.clear();
                }
                Err(failure) => {
                    let why = failure.to_string();
                    if why != last_refusal {
                        tracing::warn!(why, "redis is away; tried again twice a second");
                        last_refusal = why;
                    }
                    tokio::time::sleep(limits::REDIS_RETRY_INTERVAL).await;
                    continue;
                }
            }
        }
        if let Err(failure) = core.flush_acknowledged().await {
            tracing::debug!(%failure, "acknowledgements wait");
        }
        if Instant::now() >= next_sweep {
            next_sweep = Instant::now() + limits::QUEUE_HEARTBEAT_INTERVAL;
            match core.sweep().await {
                // There may be more.
                Ok(moved) if moved > 0 => {
                    tracing::warn!(records = moved, "a worker is dead; others store what it held");
                    next_sweep = Instant::now() + Duration::from_millis(100);
                }
                Ok(_) => {}
                Err(failure) => tracing::debug!(%failure, "the consumers could not be looked after"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(next_sweep) => {}
            _ = watch.changed() => {}
        }
    }
}

impl Core {
    /// Greets Redis: a new epoch begins.
    pub(super) async fn greet(&self) -> Result<(), Failure> {
        let greeted = self.try_to_greet().await;
        if let Err(failure) = &greeted {
            self.server.stays_away(&failure.to_string());
        }
        greeted
    }

    async fn try_to_greet(&self) -> Result<(), Failure> {
        let mut contact = self.server.connect().await?;
        let greeting = tokio::time::timeout(limits::REDIS_ANSWER_TIMEOUT, self.greet_over(&mut contact));
        let greeted = greeting
            .await
            .map_err(|_| Failure::Away("Redis did not answer in time".to_owned()))??;
        *super::lock(&self.facts) = greeted.facts;
        let epoch = self.server.availability().epoch + 1;
        self.control.adopt(epoch, contact.connection).await;
        self.lock().adopt(epoch, greeted.id, greeted.given);
        self.server.came(&greeted.tenure, contact.client, contact.info.run());
        Ok(())
    }

    async fn greet_over(&self, contact: &mut Contact) -> Result<Greeted, Failure> {
        let Contact { connection, info, .. } = contact;
        let version = info.field("redis_version");
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < VERSION_MIN {
            let (major, minor) = VERSION_MIN;
            return Err(Failure::Refused(format!(
                "this is Redis {version}, and it must be {major}.{minor} or newer"
            )));
        }
        if info.field("role") == "slave" {
            return Err(Failure::Refused(format!(
                "this Redis is a replica of {}:{}: REDIS_URL must name the master",
                info.field("master_host"),
                info.field("master_port")
            )));
        }
        let facts = Facts {
            version: version.to_owned(),
            promise: promise(connection, info, self.options.wait_replicas).await,
        };
        let tenure = Uuid::new_v4().to_string();
        let given = self.lock().given();
        // Two failovers in a row may both begin behind the same position: they must not give the same ones.
        let skip = limits::REDIS_RESTART_SKIP_MICROS;
        let skip = skip + u64::from(Uuid::new_v4().as_fields().0) % skip;
        let mut command = scripts::call(&self.scripts.open, &self.keys.all());
        command
            .arg(GROUP)
            .arg(&self.options.consumer)
            .arg(&tenure)
            .arg(Uuid::new_v4().to_string())
            .arg(info.run())
            .arg(skip)
            .arg(given.map(|given| given.to_string()).unwrap_or_default())
            .arg(&self.options.roles);
        let (id, reader, given): (String, String, u64) = command.query_async(connection).await?;
        let id = Uuid::parse_str(&id).map_err(|_| Failure::Refused(format!("{id} is no id of a queue")))?;
        Ok(Greeted {
            tenure,
            id: Uuid::new_v5(&id, format!("{}/{reader}", self.options.consumer).as_bytes()),
            given,
            facts,
        })
    }

    /// Says that this consumer lives, and puts back what dead ones held. Returns how many records.
    async fn sweep(&self) -> Result<u64, Failure> {
        let keys = &self.keys;
        let keys = [&*keys.stream, &keys.state, &keys.consumers, &keys.tenures];
        let mut command = scripts::call(&self.scripts.sweep, &keys);
        command
            .arg(GROUP)
            .arg(&self.options.consumer)
            .arg(self.options.consumer_dead_after.as_secs())
            .arg(SWEEP_RECORDS);
        self.control.query(&command, limits::REDIS_ANSWER_TIMEOUT).await
    }
}

/// What the server's settings promise; hosted servers often do not tell them.
async fn promise(connection: &mut MultiplexedConnection, info: &Info, wait_replicas: u32) -> String {
    let mut settings = HashMap::new();
    for pattern in ["append*", "maxmemory-policy"] {
        let told: Result<HashMap<String, String>, _> = redis::cmd("CONFIG")
            .arg("GET")
            .arg(pattern)
            .query_async(connection)
            .await;
        settings.extend(told.unwrap_or_default());
    }
    let setting = |name: &str| settings.get(name).map(String::as_str);
    if let Some(policy) = setting("maxmemory-policy").filter(|policy| policy.starts_with("allkeys")) {
        tracing::error!(
            policy,
            "this Redis forgets keys when its memory is full, the queue too: set maxmemory-policy noeviction"
        );
    }
    let promise = match (setting("appendonly"), setting("appendfsync")) {
        (Some("yes"), Some("always")) => "appendfsync always: what was accepted survives a power cut of Redis",
        (Some("yes"), Some("everysec")) => {
            "appendfsync everysec: what was accepted survives the end of Redis, a power cut of its machine costs up to 2 s"
        }
        (Some("yes"), _) => {
            "appendfsync no: what was accepted survives the end of Redis, a power cut of its machine costs up to a minute"
        }
        (Some(_), _) => "appendonly no: the end of Redis costs everything since its last snapshot",
        (None, _) => "it does not tell its appendfsync: what survives is unknown",
    };
    match (wait_replicas, info.field("connected_slaves")) {
        (0, "0" | "") => promise.to_owned(),
        (0, replicas) => format!("{promise}; {replicas} replicas, and a failover costs what they have not got yet"),
        (wanted, replicas) => {
            format!("{promise}; {wanted} of {replicas} replicas have what was accepted, so that it survives a failover")
        }
    }
}
