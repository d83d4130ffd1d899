//! Tells the linker where the binary and its tests find DuckDB's shared library at run time.
//!
//! Also where the run-time tables are, for a binary that runs where it was built.
//!
//! Link arguments reach only the package that prints them: `crates/stores/duckdb/build.rs` does the same for the store's tests.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    share_directory();
    redis_server();
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    // The bundled library is part of the binary: nothing to find.
    if std::env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return;
    }
    // Beside the binary as it is shipped (`bin/` and `lib/`, or one directory), then where it was linked from.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN");
    let Some(directory) = std::env::var_os("DUCKDB_LIB_DIR") else {
        return;
    };
    match std::fs::canonicalize(&directory) {
        Ok(directory) => println!("cargo::rustc-link-arg=-Wl,-rpath,{}", directory.display()),
        Err(error) => println!(
            "cargo::warning=DuckDB's library directory {} is missing ({error}): run scripts/fetch-runtime.sh",
            directory.display()
        ),
    }
}

/// Tells the tests whether this machine has a Redis server, as `crates/queue/build.rs` does.
fn redis_server() {
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rustc-check-cfg=cfg(has_redis_server)");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|directory| ["redis-server", "redis-check-rdb"].map(|program| directory.join(program)))
        .any(|place| place.exists());
    if found {
        println!("cargo::rustc-cfg=has_redis_server");
    }
}

/// `scripts/fetch-runtime.sh` puts the user-agent rules and the country table beside the library.
fn share_directory() {
    let checkout = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Ok(directory) = std::fs::canonicalize(checkout.join(".runtime/share")) {
        println!("cargo::rustc-env=SIMPLE_ANALYTICS_SHARE_DIR={}", directory.display());
    }
}
