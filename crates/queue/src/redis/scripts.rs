//! What Redis runs as one step. Each script names its keys and arguments.

use redis::Cmd;

/// A script: Redis knows it by the hash of its text.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        let hash = redis::Script::new(code).get_hash().to_owned();
        Self { code, hash }
    }
}

/// The scripts, hashed once.
pub(super) struct Scripts {
    pub open: Script,
    pub append: Script,
    pub fetch: Script,
    pub acknowledge: Script,
    pub dead_letter: Script,
    pub discard: Script,
    pub sweep: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            open: Script::new(include_str!("scripts/open.lua")),
            append: Script::new(include_str!("scripts/append.lua")),
            fetch: Script::new(include_str!("scripts/fetch.lua")),
            acknowledge: Script::new(include_str!("scripts/acknowledge.lua")),
            dead_letter: Script::new(include_str!("scripts/dead_letter.lua")),
            discard: Script::new(include_str!("scripts/discard.lua")),
            sweep: Script::new(include_str!("scripts/sweep.lua")),
        }
    }
}

/// The sliding window of a rate limit.
pub(super) fn window() -> Script {
    Script::new(include_str!("scripts/window.lua"))
}

/// The texts of all scripts: a new connection hands them over, so that calls need only name them.
pub(super) fn texts() -> [&'static str; 8] {
    let scripts = Scripts::default();
    [
        scripts.open.code,
        scripts.append.code,
        scripts.fetch.code,
        scripts.acknowledge.code,
        scripts.dead_letter.code,
        scripts.discard.code,
        scripts.sweep.code,
        window().code,
    ]
}

/// A call of a script, to be followed by its arguments. Unlike `redis::ScriptInvocation` it copies them once.
pub(super) fn call(script: &Script, keys: &[&str]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(&script.hash).arg(keys.len()).arg(keys);
    command
}
