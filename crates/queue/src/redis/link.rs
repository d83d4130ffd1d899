//! Connections to Redis, and whether it answers.
//!
//! Every connection belongs to an epoch. An epoch ends with the first call that fails; the next one begins when Redis has been greeted anew
//! (`keeper`). Meanwhile calls fail at once, so that nobody waits for a server that is away more than once.

use std::{sync::Arc, time::Duration};

use model::limits;
use redis::{
    Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind,
    aio::MultiplexedConnection,
};
use tokio::sync::{Mutex, watch};

use super::{
    address::{self, RedisAddress},
    nodes::{self, Contact, Nodes},
};
use crate::QueueError;

/// Why a call was not done, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Redis does not answer, or must be greeted again.
    #[error("{0}")]
    Away(String),
    /// Redis has no memory left.
    #[error("{0}")]
    Full(String),
    /// It was done, and fewer replicas than wanted have it.
    #[error("{0}")]
    Unreplicated(String),
    /// Redis refuses the call and goes on.
    #[error("{0}")]
    Refused(String),
}

impl From<Failure> for QueueError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full(why) => Self::Full(why),
            Failure::Away(why) | Failure::Unreplicated(why) | Failure::Refused(why) => Self::Unavailable(why),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        // Inside a script older servers wrap an error into a text of their own.
        if text.contains("OOM") && text.contains("maxmemory") {
            return Self::Full("Redis has reached its maxmemory".to_owned());
        }
        let needs_greeting = ["NOGROUP", "FENCED", "UNBLOCKED", "NOAUTH", "WRONGPASS"];
        let is_away = matches!(
            error.kind(),
            ErrorKind::Io
                | ErrorKind::AuthenticationFailed
                | ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                        | ServerErrorKind::NoScript
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::Moved
                        | ServerErrorKind::Ask
                        | ServerErrorKind::TryAgain
                        | ServerErrorKind::ReadOnly
                )
        );
        if is_away || error.is_unrecoverable_error() || needs_greeting.iter().any(|word| text.contains(word)) {
            Self::Away(text)
        } else {
            Self::Refused(text)
        }
    }
}

/// Whether Redis answers.
#[derive(Clone, Debug)]
pub(super) struct Availability {
    /// Grows with every greeting.
    pub epoch: u64,
    /// Names the epoch in Redis.
    pub tenure: Arc<str>,
    /// Who was greeted.
    greeted: Option<Arc<Greeted>>,
    /// Why Redis is away; `None` = it answers.
    pub away: Option<Arc<str>>,
}

/// The server of an epoch.
#[derive(Debug)]
struct Greeted {
    client: Client,
    /// This life of it.
    run: String,
}

/// A Redis, wherever it is.
pub(super) struct Server {
    nodes: Nodes,
    availability: watch::Sender<Availability>,
}

impl Server {
    /// Not yet greeted. `keys` has a name of every kind of key that is used.
    pub(super) fn new(address: &RedisAddress, keys: Vec<String>) -> Self {
        let availability = Availability {
            epoch: 0,
            tenure: "".into(),
            greeted: None,
            away: Some("Redis has not answered yet".into()),
        };
        Self {
            nodes: Nodes::new(address, keys),
            availability: watch::Sender::new(availability),
        }
    }

    pub(super) fn availability(&self) -> Availability {
        self.availability.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Availability> {
        self.availability.subscribe()
    }

    /// A connection to whoever has the keys now, to be greeted.
    pub(super) async fn connect(&self) -> Result<Contact, Failure> {
        match tokio::time::timeout(limits::REDIS_ANSWER_TIMEOUT, self.nodes.find()).await {
            Ok(found) => found,
            Err(_) => Err(silent(limits::REDIS_ANSWER_TIMEOUT)),
        }
    }

    /// Redis was greeted.
    pub(super) fn came(&self, tenure: &str, client: Client, run: String) {
        self.availability.send_modify(|now| {
            now.epoch += 1;
            now.tenure = tenure.into();
            now.greeted = Some(Arc::new(Greeted { client, run }));
            now.away = None;
        });
    }

    /// Redis could not be greeted.
    pub(super) fn stays_away(&self, why: &str) {
        self.availability.send_if_modified(|now| {
            // Nobody waits for another reason.
            now.away = Some(why.into());
            false
        });
    }

    /// A call of this epoch found Redis away.
    pub(super) fn went(&self, epoch: u64, why: &str) {
        self.availability.send_if_modified(|now| {
            let news = now.epoch == epoch && now.away.is_none();
            if news {
                tracing::warn!(why, "redis is away");
                now.away = Some(why.into());
            }
            news
        });
    }
}

/// One connection of each epoch, made when it is needed.
pub(super) struct Link {
    server: Arc<Server>,
    connection: Mutex<Option<(u64, MultiplexedConnection)>>,
}

impl Link {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            connection: Mutex::new(None),
        }
    }

    /// Uses this connection for the epoch that begins.
    pub(super) async fn adopt(&self, epoch: u64, connection: MultiplexedConnection) {
        *self.connection.lock().await = Some((epoch, connection));
    }

    /// Calls, and waits `time` for the answer.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd, time: Duration) -> Result<T, Failure> {
        self.attempt(time, async |connection| command.query_async(connection).await)
            .await
    }

    /// The same for several commands that go together.
    pub(super) async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline, time: Duration) -> Result<T, Failure> {
        self.attempt(time, async |connection| commands.query_async(connection).await)
            .await
    }

    async fn attempt<T>(
        &self,
        time: Duration,
        call: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, Failure> {
        let now = self.server.availability();
        if let Some(why) = now.away {
            return Err(Failure::Away(why.to_string()));
        }
        let calling = async {
            let mut connection = self.connection(&now).await?;
            Ok(call(&mut connection).await?)
        };
        let answer = match tokio::time::timeout(time, calling).await {
            Ok(answer) => answer,
            Err(_) => Err(silent(time)),
        };
        if let Err(Failure::Away(why)) = &answer {
            self.server.went(now.epoch, why);
        }
        answer
    }

    async fn connection(&self, now: &Availability) -> Result<MultiplexedConnection, Failure> {
        let mut connection = self.connection.lock().await;
        match (&*connection, &now.greeted) {
            (Some((made, open)), _) if *made == now.epoch => Ok(open.clone()),
            (_, Some(greeted)) => {
                let contact = nodes::open(&greeted.client).await?;
                if contact.info.run() != greeted.run {
                    return Err(unreached(&greeted.client, "it has begun another life"));
                }
                *connection = Some((now.epoch, contact.connection.clone()));
                Ok(contact.connection)
            }
            (_, None) => Err(Failure::Away("Redis was not greeted".to_owned())),
        }
    }
}

/// A server that could not be asked, with what may help.
pub(super) fn unreached(client: &Client, why: &str) -> Failure {
    let is_tls = matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let remedy = if says(&["invalid peer certificate"]) {
        ": set REDIS_CA_FILE to the certificate of the authority that issued it, and name the host as it does"
    } else if says(&["authentication failed", "WRONGPASS", "NOAUTH"]) {
        ": the user and password of REDIS_URL are not those of this server"
    } else if is_tls && says(&["timed out", "not answer", "InvalidContentType"]) {
        ": where it speaks no TLS on this port, the URL begins with redis://"
    } else if !is_tls && says(&["broken pipe", "driver", "closed", "reset", "end of file"]) {
        ": where it speaks TLS on this port, the URL begins with rediss://"
    } else {
        ""
    };
    Failure::Away(format!("Redis at {}: {why}{remedy}", address::name(client)))
}

fn silent(time: Duration) -> Failure {
    Failure::Away(format!("Redis did not answer within {} ms", time.as_millis()))
}

/// Time for a call that carries so many bytes.
pub(super) fn time_for(bytes: usize) -> Duration {
    limits::REDIS_ANSWER_TIMEOUT + Duration::from_secs((bytes / limits::REDIS_BYTES_PER_SECOND_MIN) as u64)
}
