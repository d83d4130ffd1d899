//! Rules that hold for every source file, and that no compiler checks.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Exemplars, section 3: a file that is longer holds more than one thing.
const LINES_MAX: usize = 500;
/// Not ours, or made by tools.
const SKIPPED_DIRECTORIES: [&str; 6] = ["target", "node_modules", ".git", ".runtime", "dist", "generated"];

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below a directory with one of these extensions.
fn files(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_symlink() || SKIPPED_DIRECTORIES.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files(&path, extensions, found);
        } else if extensions
            .iter()
            .any(|extension| name.ends_with(&format!(".{extension}")))
        {
            found.push(path);
        }
    }
}

fn sources(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for part in ["crates", "web/src", "web/e2e"] {
        let directory = checkout().join(part);
        if directory.is_dir() {
            files(&directory, extensions, &mut paths);
        }
    }
    // Fails when the walk stops finding files.
    assert!(paths.len() > 50 || !extensions.contains(&"rs"), "{}", paths.len());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, text)
        })
        .collect()
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources(&["rs", "ts", "tsx"])
        .iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn lints_are_expected_with_a_reason_and_nothing_is_left_undone() {
    // Put together here, so that this file does not contain them.
    let forbidden = [
        ["#[al", "low("].concat(),
        ["#![al", "low("].concat(),
        ["to", "do!("].concat(),
        ["unimpl", "emented!("].concat(),
    ];
    let mut found = Vec::new();
    for (path, text) in sources(&["rs"]) {
        for (number, line) in text.lines().enumerate() {
            if forbidden.iter().any(|text| line.contains(text)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_arrows_between_crates_never_turn_back() {
    // Exemplars, section 3: what a crate may use of our own. Development dependencies are free.
    let allowed: &[(&str, &[&str])] = &[
        ("model", &[]),
        ("ingest", &["model"]),
        ("queue", &["model"]),
        ("store", &["model"]),
        ("query", &["model", "store"]),
        ("server", &["model", "ingest", "queue", "store", "query"]),
        ("stores/duckdb", &["model", "store"]),
        ("stores/postgres", &["model", "store"]),
        ("stores/sqlite", &["model", "store"]),
    ];
    let ours = [
        "model",
        "ingest",
        "queue",
        "store",
        "query",
        "server",
        "testkit",
        "store-duckdb",
        "store-postgres",
        "store-sqlite",
    ];
    for (name, uses) in allowed {
        let manifest = checkout().join("crates").join(name).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let table: toml::Table = text.parse().expect("TOML");
        let dependencies = table["dependencies"].as_table().expect("a table");
        for dependency in dependencies.keys().filter(|key| ours.contains(&key.as_str())) {
            assert!(uses.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
    }
}
