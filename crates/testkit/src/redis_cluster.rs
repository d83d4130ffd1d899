//! A Redis Cluster of a test's own: three masters, and replicas of the one that has a key.

use std::time::{Duration, Instant};

use crate::redis_server::{RedisServer, free_port};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// Longest wait for the nodes to agree.
const AGREEMENT_TIME_MAX: Duration = Duration::from_secs(60);
/// A node that says nothing for so long is taken for dead by the others.
const NODE_TIMEOUT_MS: &str = "1000";

/// Nodes that end with the value.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    owner: usize,
}

impl RedisCluster {
    /// Starts three masters and so many replicas of the one that has `key`, and waits until they agree.
    ///
    /// # Panics
    /// When there is no Redis server of version 7 on this machine, or the nodes do not agree.
    pub fn start(appendfsync: &str, key: &str, replicas: usize) -> Self {
        let nodes: Vec<RedisServer> = (0..MASTERS + replicas).map(|_| node(appendfsync)).collect();
        for (index, master) in nodes[..MASTERS].iter().enumerate() {
            let (first, after) = (SLOTS * index / MASTERS, SLOTS * (index + 1) / MASTERS);
            assert_ok(master, &format!("CLUSTER ADDSLOTSRANGE {first} {}", after - 1));
        }
        let slot: usize = number(&nodes[0].command(&format!("CLUSTER KEYSLOT {key}")));
        let owner = (0..MASTERS)
            .find(|index| slot < SLOTS * (index + 1) / MASTERS)
            .expect("a slot below the last");
        for other in &nodes[1..] {
            let bus: u16 = number(&other.command("CONFIG GET cluster-port"));
            assert_ok(&nodes[0], &format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port()));
        }
        let cluster = Self { nodes, owner };
        let id = cluster.nodes[owner].command("CLUSTER MYID");
        let id = id.lines().nth(1).expect("an id").to_owned();
        for replica in &cluster.nodes[MASTERS..] {
            // It must have heard of the master.
            until("a replica knows its master", || {
                replica.command(&format!("CLUSTER REPLICATE {id}")).starts_with("+OK")
            });
        }
        cluster.agree(replicas);
        cluster
    }

    fn agree(&self, replicas: usize) {
        for node in &self.nodes {
            until("the cluster is whole", || {
                let state = node.command("CLUSTER INFO");
                state.contains("cluster_state:ok")
                    && state.contains(&format!("cluster_known_nodes:{}", self.nodes.len()))
            });
        }
        until("the replicas follow", || {
            self.owner().command("INFO replication").matches("state=online").count() == replicas
        });
    }

    /// All nodes: masters first.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The node that had the key at the start.
    pub fn owner(&self) -> &RedisServer {
        &self.nodes[self.owner]
    }

    /// The masters that do not have the key.
    pub fn others(&self) -> impl Iterator<Item = &RedisServer> {
        let owner = self.owner;
        let masters = self.nodes[..MASTERS].iter().enumerate();
        masters.filter(move |(index, _)| *index != owner).map(|(_, node)| node)
    }

    /// The replicas of the node that had the key at the start.
    pub fn replicas(&self) -> &[RedisServer] {
        &self.nodes[MASTERS..]
    }

    /// Addresses of all masters but the one that has the key: who knows only them must be led there.
    pub fn url(&self) -> String {
        self.others().map(RedisServer::url).collect::<Vec<_>>().join(",")
    }
}

fn node(appendfsync: &str) -> RedisServer {
    // The usual port of the bus is 10,000 higher, and free ports lie too high for that.
    RedisServer::start_with(
        appendfsync,
        &[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &free_port().to_string(),
            "--cluster-node-timeout",
            NODE_TIMEOUT_MS,
            // A replica that was cut off for a moment on a busy machine may take over all the same.
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ],
    )
}

fn assert_ok(node: &RedisServer, command: &str) {
    let answer = node.command(command);
    assert!(answer.starts_with("+OK"), "{command}: {answer}");
}

/// The last number of an answer.
fn number<T: std::str::FromStr>(answer: &str) -> T {
    let last = answer.lines().last().unwrap_or_default();
    let digits = last.trim_start_matches(':').trim();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{answer} ends with no number"))
}

/// Waits for something that the nodes do by themselves.
///
/// # Panics
/// When it does not come.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + AGREEMENT_TIME_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
