//! Tells the tests whether this machine has a Redis server: without one they are reported as ignored, never as passed.

use std::{env, path::PathBuf};

/// Debian has the server in `redis-tools` under another name; it goes by the name that it is called by.
const PROGRAMS: [&str; 2] = ["redis-server", "redis-check-rdb"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rustc-check-cfg=cfg(has_redis_server)");
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).flat_map(|directory| PROGRAMS.map(|program| directory.join(program)));
    let found: Option<PathBuf> = places.into_iter().find(|place| place.exists());
    match found {
        Some(place) => {
            println!("cargo::rustc-cfg=has_redis_server");
            println!("cargo::rerun-if-changed={}", place.display());
        }
        None if env::var_os("CARGO_FEATURE_REDIS").is_some() => {
            println!(
                "cargo::warning=no redis-server here: the tests of the queue in Redis are ignored (scripts/setup.sh installs it)"
            );
            // Looked for again at the next build.
            println!("cargo::rerun-if-changed=no-redis-server");
        }
        None => {}
    }
}
