//! Names of what the queue keeps in Redis.

/// The consumer group of every stream.
pub(super) const GROUP: &str = "event_processors";

/// The keys, each behind the prefix of the installation.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Stream of what waits; ids are `position-0`.
    pub stream: String,
    /// Hash: `id` of the queue, `last` position given, `bytes` that wait, `run` of Redis, `letters` ever set aside.
    pub state: String,
    /// Hash: events that wait, by project.
    pub projects: String,
    /// Hash: how far each local queue was forwarded, by its id.
    pub marks: String,
    /// Hash: who reads under the name of each consumer, and what it was given (`scripts/open.lua`).
    pub tenures: String,
    /// Sorted set: when each consumer was last alive, in seconds.
    pub consumers: String,
    /// Stream of dead letters; ids are `number-position`.
    pub dead: String,
    /// Sorted set: the ids of that stream, by position.
    pub dead_index: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}events:{name}");
        Self {
            stream: key("queue"),
            state: key("queue:state"),
            projects: key("queue:projects"),
            marks: key("queue:forwarded"),
            tenures: key("queue:tenures"),
            consumers: key("queue:consumers"),
            dead: key("dead"),
            dead_index: key("dead:positions"),
        }
    }

    /// Every key, in the order in which `scripts/open.lua` takes them.
    pub(super) fn all(&self) -> [&str; 8] {
        [
            &self.stream,
            &self.state,
            &self.projects,
            &self.tenures,
            &self.consumers,
            &self.marks,
            &self.dead,
            &self.dead_index,
        ]
    }
}
