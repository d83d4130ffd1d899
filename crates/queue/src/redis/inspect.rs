//! What an operator should know about Redis and the queue in it. Changes nothing, and joins no consumers.

use std::collections::HashMap;

use model::{Clock, inspection::Inspection, limits};
use redis::{FromRedisValue, Value, aio::MultiplexedConnection};
use serde_json::json;

use super::{
    RedisOptions,
    address::{self, RedisAddress},
    keys::{GROUP, Keys},
    link::Server,
    nodes::{Contact, Info},
};

/// Silence after which it is said that a process is silent: three heartbeats.
const SILENT_AFTER_SECONDS: f64 = limits::QUEUE_HEARTBEAT_INTERVAL.as_secs_f64() * 3.0;
/// Share of `maxmemory` from which a warning is due.
const MEMORY_WARNING_PERCENT: u64 = 80;

/// Looks at the Redis that is named, with its own connection.
pub async fn inspect(address: &RedisAddress, options: &RedisOptions, clock: &dyn Clock) -> Inspection {
    let mut found = Inspection::new("redis");
    let keys = Keys::new(&options.prefix);
    let server = Server::new(address, keys.all().map(str::to_owned).into());
    let contact = match server.connect().await {
        Ok(contact) => contact,
        Err(failure) => {
            found.problem(
                failure.to_string(),
                "start it, or correct REDIS_URL; meanwhile events are accepted onto the local disk, and none is stored",
            );
            return found;
        }
    };
    let Contact {
        client,
        info,
        connection,
    } = contact;
    let mut look = Look {
        connection,
        keys,
        found,
    };
    look.found.fact("address", address::name(&client));
    look.server(&info, clock);
    look.memory(options).await;
    look.durability().await;
    look.replicas(&info, options);
    look.queue().await;
    look.processes().await;
    look.found
}

struct Look {
    connection: MultiplexedConnection,
    keys: Keys,
    found: Inspection,
}

impl Look {
    /// Asks; nothing where it is refused: hosted servers do not tell everything.
    async fn ask<T: FromRedisValue + Default>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let asking = command.query_async(&mut self.connection);
        match tokio::time::timeout(limits::REDIS_ANSWER_TIMEOUT, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => T::default(),
        }
    }

    async fn info(&mut self, section: &str) -> Info {
        Info::new(self.ask(&["INFO", section]).await)
    }

    fn server(&mut self, info: &Info, clock: &dyn Clock) {
        let found = &mut self.found;
        let version = info.field("redis_version");
        found.fact("version", version);
        found.fact("role", info.field("role"));
        found.fact("uptime_seconds", info.number("uptime_in_seconds"));
        if info.field("role") == "slave" {
            found.problem("this Redis is a replica", "name its master in REDIS_URL");
        } else {
            found.ok(format!("Redis {version} answers"));
        }
        let theirs = i64::try_from(info.number("server_time_usec")).unwrap_or(0);
        let apart_seconds = clock.now().as_micros().abs_diff(theirs) / 1_000_000;
        if theirs > 0 && apart_seconds > 5 {
            found.warn(
                format!("its clock is {apart_seconds} s apart from ours"),
                "let both machines synchronise their clocks (NTP): positions in the queue follow the clock of Redis",
            );
        }
    }

    async fn memory(&mut self, options: &RedisOptions) {
        let info = self.info("memory").await;
        let (used, most) = (info.number("used_memory"), info.number("maxmemory"));
        let policy = info.field("maxmemory_policy").to_owned();
        let found = &mut self.found;
        found.fact("memory_used_bytes", used);
        found.fact("memory_max_bytes", most);
        found.fact("maxmemory_policy", policy.as_str());
        let remedy = "set maxmemory-policy noeviction";
        if policy.starts_with("allkeys") {
            found.risk(
                format!("it forgets keys when memory is full ({policy}), the queue too"),
                remedy,
            );
        } else if policy.starts_with("volatile") {
            found.warn(format!("it forgets rate limits when memory is full ({policy})"), remedy);
        }
        if most > 0 && used * 100 >= most * MEMORY_WARNING_PERCENT {
            let text = format!("{used} of {most} bytes of maxmemory are in use");
            let remedy = "raise maxmemory, add workers, or look why events are not stored";
            match used * 100 / most {
                95.. => found.problem(text, remedy),
                _ => found.warn(text, remedy),
            }
        } else if most > 0 && most < options.bytes_max {
            found.warn(
                format!(
                    "maxmemory ({most}) is less than the queue may take ({})",
                    options.bytes_max
                ),
                "raise maxmemory, or lower REDIS_QUEUE_BYTES_MAX, so that the queue says itself when it is full",
            );
        }
    }

    async fn durability(&mut self) {
        let info = self.info("persistence").await;
        let settings: HashMap<String, String> = self.ask(&["CONFIG", "GET", "append*"]).await;
        let flush = settings.get("appendfsync").map(String::as_str);
        let found = &mut self.found;
        found.fact("appendonly", info.field("aof_enabled") == "1");
        found.fact("appendfsync", flush);
        found.fact("aof_last_write_status", info.field("aof_last_write_status"));
        found.fact("rdb_last_bgsave_status", info.field("rdb_last_bgsave_status"));
        match (info.field("aof_enabled"), flush) {
            ("1", Some("always")) => found.ok("appendfsync always: what was accepted survives a power cut"),
            ("1", Some("no")) => found.warn(
                "appendfsync no: a power cut of its machine costs up to a minute of accepted events",
                "set appendfsync everysec or always",
            ),
            ("1", Some(_)) => {
                found.ok("appendfsync everysec: a power cut of its machine costs up to 2 s of accepted events");
            }
            ("1", None) => found.warn(
                "it does not tell its appendfsync: what survives a power cut is unknown",
                "see that appendfsync is everysec or always, or let this user call CONFIG GET",
            ),
            _ => found.risk(
                "appendonly no: the end of Redis costs every event that waits",
                "set appendonly yes (and appendfsync always, where it shares our machine)",
            ),
        }
        for (field, what) in [
            ("aof_last_write_status", "the last write to its append-only file failed"),
            (
                "aof_last_bgrewrite_status",
                "its append-only file could not be rewritten",
            ),
            ("rdb_last_bgsave_status", "its last snapshot failed"),
        ] {
            if info.field(field) == "err" {
                found.problem(
                    what,
                    "look into the log of Redis: usually its disk is full or not writable",
                );
            }
        }
    }

    fn replicas(&mut self, info: &Info, options: &RedisOptions) {
        let (replicas, wanted) = (info.number("connected_slaves"), u64::from(options.wait_replicas));
        let found = &mut self.found;
        found.fact("replicas", replicas);
        found.fact("replicas_waited_for", wanted);
        if wanted > replicas {
            found.problem(
                format!(
                    "{replicas} replicas are connected, and an append waits for {wanted}: events go to the local disk"
                ),
                "start the replicas, or lower REDIS_WAIT_REPLICAS",
            );
        } else if replicas > 0 && wanted == 0 {
            found.warn(
                "a failover to a replica costs what the replica has not got yet",
                "set REDIS_WAIT_REPLICAS=1, so that an event is accepted when a replica has it",
            );
        }
    }

    async fn queue(&mut self) {
        let keys = self.keys.clone();
        let length: u64 = self.ask(&["XLEN", &keys.stream]).await;
        let letters: u64 = self.ask(&["ZCARD", &keys.dead_index]).await;
        let bytes: Option<u64> = self.ask(&["HGET", &keys.state, "bytes"]).await;
        let pending: Vec<Value> = self.ask(&["XPENDING", &keys.stream, GROUP]).await;
        let pending = pending
            .into_iter()
            .next()
            .and_then(|count| u64::from_redis_value(count).ok());
        let found = &mut self.found;
        found.fact("stream", keys.stream.as_str());
        found.fact("group", GROUP);
        found.fact("stream_length", length);
        found.fact("pending", pending.unwrap_or(0));
        found.fact("queue_bytes", bytes.unwrap_or(0));
        found.fact("dead_letters", letters);
        if letters > 0 {
            found.warn(
                format!("{letters} events could not be stored and were set aside"),
                "see `simple-analytics dead_letters list`, then retry or discard them",
            );
        }
    }

    /// Who uses the queue, and whether anybody does the work.
    async fn processes(&mut self) {
        let keys = self.keys.clone();
        let now: Vec<u64> = self.ask(&["TIME"]).await;
        let seen: HashMap<String, f64> = self.ask(&["ZRANGE", &keys.consumers, "0", "-1", "WITHSCORES"]).await;
        let told: HashMap<String, String> = self.ask(&["HGETALL", &keys.tenures]).await;
        let reading: Vec<HashMap<String, Value>> = self.ask(&["XINFO", "CONSUMERS", &keys.stream, GROUP]).await;
        let number = |of: &HashMap<String, Value>, name: &str| {
            of.get(name)
                .cloned()
                .and_then(|value| u64::from_redis_value(value).ok())
        };
        let reads: HashMap<String, &HashMap<String, Value>> = reading
            .iter()
            .filter_map(|of| Some((String::from_redis_value(of.get("name")?.clone()).ok()?, of)))
            .collect();
        let now = now
            .first()
            .map_or(0.0, |seconds| f64::from(u32::try_from(*seconds).unwrap_or(u32::MAX)));
        let mut processes = Vec::new();
        let mut at_work = Vec::new();
        let mut held_by_silent = 0;
        for (name, last) in seen {
            let silent_seconds = (now - last).max(0.0);
            let roles = told.get(&format!("{name}:roles")).cloned().unwrap_or_default();
            let of = reads.get(&name);
            let pending = of.and_then(|of| number(of, "pending")).unwrap_or(0);
            match silent_seconds <= SILENT_AFTER_SECONDS {
                true => at_work.extend(roles.split(',').map(str::to_owned)),
                false => held_by_silent += pending,
            }
            processes.push(json!({
                "name": name, "roles": roles, "silent_seconds": silent_seconds, "pending": pending,
                "idle_ms": of.and_then(|of| number(of, "idle")),
            }));
        }
        processes.sort_by_key(|process| process["name"].to_string());
        let found = &mut self.found;
        found.fact("processes", processes);
        if held_by_silent > 0 {
            found.warn(
                format!("{held_by_silent} events are with a process that is silent"),
                "wait: others get them a minute after its last word; if it hangs, end it",
            );
        }
        let is_done = |role: &str| at_work.iter().any(|done| done == role);
        match is_done("worker") {
            true => found.ok("a worker is alive"),
            false => found.problem(
                "no worker is alive: events are accepted and not stored",
                "start a server with ROLES that name worker (`simple-analytics serve --roles worker`)",
            ),
        }
        if !is_done("scheduler") {
            found.warn(
                "no scheduler is alive: nothing is deleted when its retention ends",
                "start a server with ROLES that name scheduler",
            );
        }
    }
}
