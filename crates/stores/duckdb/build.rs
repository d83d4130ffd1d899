//! Tells the linker where this package's tests and examples find DuckDB's shared library at run time.
//!
//! Link arguments reach only the package that prints them: `crates/app/build.rs` does the same for the binary.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
