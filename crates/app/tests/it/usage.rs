//! The command line from outside: help, exit codes, settings.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::binary;

/// Runs the binary in a folder with some environment.
fn run(folder: &TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = binary();
    command
        .current_dir(folder.path())
        .envs(environment.iter().copied())
        .args(arguments);
    command.output().expect("runs")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names of the commands of a help page.
fn commands(help: &str) -> Vec<String> {
    let section = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Lines of prose that end before the width of the page although the next word would fit: their break is in the text, and a narrower
/// terminal breaks them once more.
fn lines_that_end_early(help: &str) -> Vec<&str> {
    const WIDTH: usize = 120;
    let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
    let lines: Vec<&str> = help.lines().collect();
    let ends_early = |pair: &[&str]| {
        let next_word = pair[1].split(' ').next().unwrap_or_default();
        let would_fit = pair[0].chars().count() + 1 + next_word.chars().count() <= WIDTH;
        is_prose(pair[0]) && is_prose(pair[1]) && would_fit
    };
    let found = lines.windows(2).filter(|pair| ends_early(pair));
    found.map(|pair| pair[0]).collect()
}

#[test]
fn every_command_helps_with_an_example_and_takes_both_spellings() {
    let folder = folder();
    let mut pages = 0;
    let mut todo = vec![Vec::<String>::new()];
    while let Some(path) = todo.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = run(&folder, &[("COLUMNS", "200")], &arguments);
        assert_eq!(code(&help), 0, "{path:?}: {}", err(&help));
        let text = out(&help);
        for name in commands(&text) {
            let mut deeper = path.clone();
            deeper.push(name);
            todo.push(deeper);
        }
        assert_eq!(lines_that_end_early(&text), Vec::<&str>::new(), "{path:?}");
        if path.is_empty() {
            continue;
        }
        pages += 1;
        let is_part_of_bench = path.len() == 2 && path[0] == "bench";
        assert!(is_part_of_bench || text.contains("Example"), "{path:?} has no example");
        for (from, to) in [('_', "-"), ('-', "_")] {
            let spelled: Vec<String> = path.iter().map(|name| name.replace(from, to)).collect();
            let mut arguments: Vec<&str> = spelled.iter().map(String::as_str).collect();
            arguments.push("--help");
            assert_eq!(code(&run(&folder, &[], &arguments)), 0, "{spelled:?}");
        }
    }
    // Fails when the walk above stops finding commands.
    assert!(pages > 20, "{pages}");
}

#[test]
fn wrong_usage_is_2_and_says_what_would_be_right() {
    let folder = folder();
    let id = "01a20317-2b53-7d57-8df8-f276eeb3de8d";
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage:"),
        (&["event-stats"], "event_status"),
        (&["project", "create"], "--name"),
        (&["project", "create", "--name", " "], "at least one character"),
        (
            &["project", "create", "--name", "x", "--time-zone", "Mars/Base"],
            "Europe/Berlin",
        ),
        (
            &["project", "create", "--name", "x", "--sampling-rate", "2"],
            "from 0 to 1",
        ),
        (
            &["project", "create", "--name", "x", "--retention-days", "0"],
            "use `none`",
        ),
        (
            &["project", "update", id, "--aggregation-retention-days", "0"],
            "use `none`",
        ),
        (&["project", "list", "--data-dir", ""], "must not be blank"),
        (&["config", "--allowed-hosts", " "], "must not be blank"),
        (&["project", "show", "x"], "project list"),
        (&["project", "update", id], "nothing to change"),
        (&["project", "delete", id], "--yes"),
        (&["user", "delete", "ada@example.com"], "--yes"),
        (&["user", "create", "--email", "ada"], "no e-mail address"),
        (&["import", "--project", id, "missing.log"], "cannot read missing.log"),
        (&["import", "--project", id, "."], "is a directory"),
        (&["import", "--project", id, "-", "-"], "can be read once"),
        (&["import", "--project", id, "--format", "xml", "-"], "combined-log"),
        (
            &["export", "--project", id, "--format", "parquet"],
            "does not write parquet yet",
        ),
        (&["export", "--project", id, "--json"], "--output"),
        (
            &["export", "--project", id, "--from", "2026-01-02", "--to", "2026-01-01"],
            "before",
        ),
        (&["migrate-store", "--from", "a"], "--to"),
        (&["migrate-store", "--from", "a", "--to", "b"], "copy the directory"),
        (
            &["migrate-store", "--from", "postgres://a/b", "--to", "postgres://c/d"],
            "pg_dump",
        ),
        (
            &["migrate-store", "--from", "a", "--to", "mysql://c/d"],
            "postgres://user",
        ),
        (
            &["migrate-store", "--from", "", "--to", "postgres://c/d"],
            "data directory",
        ),
        (&["generate", "--events", "1", "--rate", "1"], "cannot be used with"),
        (&["generate", "--url", "https://x", "--key", "k"], "only http://"),
        (&["generate"], "project create"),
        (&["bench", "ingest", "--scratch", "missing"], "no directory"),
    ];
    for (arguments, sentence) in cases {
        let output = run(&folder, &[], arguments);
        let told = err(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {told}");
        assert!(told.contains(sentence), "{arguments:?}: {told}");
        assert!(out(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_does_not_exist_is_1() {
    let folder = folder();
    let id = "01a20317-2b53-7d57-8df8-f276eeb3de8d";
    for arguments in [
        vec!["project", "show", id],
        vec!["project", "update", id, "--name", "x"],
        vec!["source", "list", "--project", id],
        vec!["source", "update", id, "--is-active", "false"],
        vec!["user", "delete", "ada@example.com", "--yes"],
        vec!["export", "--project", id],
        vec!["generate", "--project", id],
    ] {
        let output = run(&folder, &[], &arguments);
        assert_eq!(code(&output), 1, "{arguments:?}: {}", err(&output));
        assert!(
            err(&output).starts_with("error: ") && err(&output).contains("there is no"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn settings_come_from_four_places_and_are_told_with_their_secrets_masked() {
    let folder = folder();
    std::fs::write(
        folder.path().join(".env"),
        "ROLES=worker\nBASE_PATH=/dot\nSECRET_KEY=hunter2\n",
    )
    .expect("written");
    std::fs::write(
        folder.path().join("simple-analytics.toml"),
        "base_path = \"/file\"\nallowed_hosts = [\"a\", \"b\"]\n",
    )
    .expect("written");
    let environment = [("ROLES", "api"), ("DATABASE_URL", "postgres://me:hunter2@db/x")];
    let output = run(&folder, &environment, &["config", "--listen", "127.0.0.1:9", "--json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let config: Value = serde_json::from_str(&out(&output)).expect("JSON");
    let expected = [
        ("listen", "127.0.0.1:9", "flag --listen"),
        ("roles", "api", "environment ROLES"),
        ("base_path", "/dot", ".env BASE_PATH"),
        ("allowed_hosts", "a,b", "file simple-analytics.toml"),
        ("data_dir", "./data", "default"),
        ("secret_key", "***", ".env SECRET_KEY"),
        ("database_url", "postgres://me:***@db/x", "environment DATABASE_URL"),
    ];
    for (key, value, from) in expected {
        assert_eq!(
            (config[key]["value"].as_str(), config[key]["from"].as_str()),
            (Some(value), Some(from)),
            "{key}"
        );
    }
    let text = out(&run(&folder, &environment, &["config"]));
    assert!(
        text.contains("postgres://me:***@db/x") && !text.contains("hunter2"),
        "{text}"
    );
    // Nothing but the settings was touched.
    assert!(!folder.path().join("data").exists());
}

#[test]
fn wrong_settings_are_told_all_at_once() {
    let folder = folder();
    let output = run(
        &folder,
        &[("LISTEN", "here"), ("DEBUG", "perhaps")],
        &["project", "list"],
    );
    assert_eq!(code(&output), 2);
    let told = err(&output);
    assert!(
        told.contains("LISTEN=\"here\"") && told.contains("DEBUG=\"perhaps\""),
        "{told}"
    );
    std::fs::write(folder.path().join("my.toml"), "listn = \"x\"\n").expect("written");
    let output = run(&folder, &[], &["config", "--config", "my.toml"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("did you mean \"listen\"?"), "{}", err(&output));
    let output = run(&folder, &[], &["config", "--config", "none.toml"]);
    assert_eq!(code(&output), 2);
    let output = run(&folder, &[("REDIS_URL", "cache")], &["event_status"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("must be redis://"), "{}", err(&output));
    let output = run(&folder, &[], &["config", "--log-level", "a=b=c"]);
    assert_eq!(
        (code(&output), err(&output).contains("no log filter")),
        (2, true),
        "{}",
        err(&output)
    );
}
