//! Finds the server that has the keys: the one that is named, or the master of their slot in a cluster.
//!
//! All keys share a slot, so that one server at a time has them all, and a script is one step there as well. A redirection, a failover, a
//! node that ends: each ends the epoch (`link`), and the next greeting asks all known nodes anew.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use model::limits;
use redis::{AsyncConnectionConfig, Client, Value, aio::MultiplexedConnection};
use tokio::{task::JoinSet, time::timeout};

use super::{
    address::{self, RedisAddress},
    link::{Failure, unreached},
    scripts,
};

/// An open connection, and what is at its other end.
pub(super) struct Contact {
    pub connection: MultiplexedConnection,
    pub client: Client,
    /// What `INFO` said of server and replication.
    pub info: Info,
}

/// Where the keys may be.
pub(super) struct Nodes {
    named: Vec<Client>,
    /// Of a cluster, as it was last told.
    told: Mutex<Vec<Client>>,
    /// Names of keys of every kind that is used.
    keys: Vec<String>,
}

/// What a node says of the keys.
enum Found {
    Here(MultiplexedConnection),
    /// Their master, and every node that is known.
    Elsewhere(Client, Vec<Client>),
}

impl Nodes {
    pub(super) fn new(address: &RedisAddress, keys: Vec<String>) -> Self {
        Self {
            named: address.nodes().to_vec(),
            told: Mutex::default(),
            keys,
        }
    }

    /// Connects to whoever has the keys now.
    pub(super) async fn find(&self) -> Result<Contact, Failure> {
        let mut names = BTreeSet::new();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut asked = JoinSet::new();
        let is_one = self.named.len() == 1;
        for client in told.into_iter().chain(self.named.iter().cloned()) {
            if names.insert(address::name(&client)) {
                let keys = self.keys.clone();
                asked.spawn(async move {
                    let found = timeout(limits::REDIS_NODE_ANSWER_TIMEOUT, ask(&client, &keys, is_one)).await;
                    let found = found.unwrap_or_else(|_| Err(unreached(&client, "it does not answer")));
                    (client, found)
                });
            }
        }
        // A node that is behind the times names a master that is gone: another one may know better.
        let mut vain = BTreeSet::new();
        let mut failures = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let outcome = match answer {
                Ok((client, Ok(Found::Here(connection)))) => enter(client, connection).await,
                Ok((_, Ok(Found::Elsewhere(client, all)))) => {
                    *self.told.lock().unwrap_or_else(PoisonError::into_inner) = all;
                    if !vain.insert(address::name(&client)) {
                        continue;
                    }
                    open(&client).await
                }
                Ok((_, Err(failure))) => Err(failure),
                Err(error) => Err(Failure::Away(error.to_string())),
            };
            match outcome {
                Ok(contact) => return Ok(contact),
                Err(failure) => failures.push(failure),
            }
        }
        // Rather what a node says than that another one says nothing.
        let told = failures
            .iter()
            .position(|failure| matches!(failure, Failure::Refused(_)));
        Err(failures.swap_remove(told.unwrap_or(0)))
    }
}

/// Connects to a server that has the keys.
pub(super) async fn open(client: &Client) -> Result<Contact, Failure> {
    let opening = async { enter(client.clone(), connect(client).await?).await };
    match timeout(limits::REDIS_NODE_ANSWER_TIMEOUT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unreached(client, "it does not answer")),
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, Failure> {
    // Calls bring their own time limits.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::REDIS_NODE_ANSWER_TIMEOUT))
        .set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    connecting.await.map_err(|error| unreached(client, &error.to_string()))
}

/// Hands the scripts over, so that calls need only name them, and asks who this is.
async fn enter(client: Client, mut connection: MultiplexedConnection) -> Result<Contact, Failure> {
    let mut greeting = redis::pipe();
    for script in scripts::texts() {
        greeting.cmd("SCRIPT").arg("LOAD").arg(script).ignore();
    }
    // Servers before 7.0 tell one section at a time.
    greeting.cmd("INFO").arg("server").cmd("INFO").arg("replication");
    let (server, replication): (String, String) = greeting.query_async(&mut connection).await?;
    let info = Info(server + &replication);
    Ok(Contact {
        connection,
        client,
        info,
    })
}

/// Asks a node who has the keys.
async fn ask(client: &Client, keys: &[String], is_one: bool) -> Result<Found, Failure> {
    let mut connection = connect(client).await?;
    let slots: Result<Vec<Value>, _> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await;
    let slots = match slots {
        Ok(slots) => slots,
        Err(error) if error.is_io_error() => return Err(unreached(client, &error.to_string())),
        // It has no cluster, or does not tell: then its redirections will.
        Err(_) if is_one => return Ok(Found::Here(connection)),
        Err(_) => {
            return Err(Failure::Refused(format!(
                "{} is no node of a cluster: REDIS_URL may name one server, or several nodes of one cluster",
                address::name(client)
            )));
        }
    };
    let mut question = redis::pipe();
    for key in keys {
        question.cmd("CLUSTER").arg("KEYSLOT").arg(key);
    }
    let mut wanted: Vec<u64> = question.query_async(&mut connection).await?;
    wanted.dedup();
    let [slot] = wanted[..] else {
        return Err(Failure::Refused(
            "this is a Redis Cluster, where all keys of a queue must share a slot: set REDIS_PREFIX to a name in braces, such as {events}:"
                .to_owned(),
        ));
    };
    let mut all = Vec::new();
    let mut master = None;
    for range in slots {
        let Ok((first, last, nodes)) = read_range(range) else {
            continue;
        };
        for (index, (host, port)) in nodes.into_iter().enumerate() {
            let Some(node) = node(client, &host, port) else {
                continue;
            };
            if index == 0 && (first..=last).contains(&slot) {
                master = Some(node.clone());
            }
            all.push(node);
        }
    }
    match master {
        Some(master) if address::name(&master) == address::name(client) => Ok(Found::Here(connection)),
        Some(master) => Ok(Found::Elsewhere(master, all)),
        None => Err(Failure::Away(format!("no node of the cluster has slot {slot}"))),
    }
}

/// A node as another one names it: without a host it is at the same one.
fn node(client: &Client, host: &str, port: u16) -> Option<Client> {
    let name = address::name(client);
    let own = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
    address::at(client, if matches!(host, "" | "?") { own } else { host }, port)
}

type Range = (u64, u64, Vec<(String, u16)>);

/// A line of `CLUSTER SLOTS`: first slot, last slot, the master, its replicas.
fn read_range(range: Value) -> Result<Range, redis::ParsingError> {
    let mut parts: Vec<Value> = redis::from_redis_value(range)?;
    if parts.len() < 3 {
        return Err(redis::ParsingError::from("a range without a master"));
    }
    let nodes = parts.split_off(2).into_iter().map(|node| {
        let mut node: Vec<Value> = redis::from_redis_value(node)?;
        node.truncate(2);
        let (host, port): (Option<String>, u16) = redis::from_redis_value(Value::Array(node))?;
        Ok((host.unwrap_or_default(), port))
    });
    let nodes = nodes.collect::<Result<_, redis::ParsingError>>()?;
    let (first, last) = redis::from_redis_value(Value::Array(parts))?;
    Ok((first, last, nodes))
}

/// The text of `INFO`.
#[derive(Clone, Debug, Default)]
pub(super) struct Info(String);

impl Info {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// A field that is a number; 0 where there is none.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap_or(0)
    }

    /// A field; empty where there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim()
    }

    /// Names this life of this server as the one that may write: a restart and a failover change it.
    pub(super) fn run(&self) -> String {
        format!("{}/{}", self.field("run_id"), self.field("master_replid"))
    }
}
