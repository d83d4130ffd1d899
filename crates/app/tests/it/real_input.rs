//! Ten thousand real lines: imported, read back through the API, and counted once more with `zcat | awk`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::harness::Server;

fn log_file() -> String {
    format!("{}/../../examples/access-log-2015.gz", env!("CARGO_MANIFEST_DIR"))
}

/// `zcat LOG | awk PROGRAM`: lines of a key and its count.
fn awk(program: &str) -> BTreeMap<String, u64> {
    let script = format!("zcat '{}' | awk '{program}'", log_file());
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let (count, key) = line.split_once(' ').expect("a count and a key");
            (key.to_owned(), count.parse().expect("a count"))
        })
        .collect()
}

/// Every imported event, page by page.
fn events(server: &Server) -> Vec<Value> {
    let mut events = Vec::new();
    let mut path = "/api/events/query/?start_date=2015-05-17&end_date=2015-05-21&page_size=1000".to_owned();
    loop {
        let page = server.read(&path);
        events.extend(page["results"].as_array().expect("rows").iter().cloned());
        match page["next"].as_str() {
            Some(next) => next
                .strip_prefix(&server.url)
                .expect("an address of this server")
                .clone_into(&mut path),
            None => return events,
        }
    }
}

fn counted(keys: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Equal, or told only where not.
fn assert_same(ours: &BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    let differs = |one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
        one.iter()
            .filter(|(key, count)| other.get(*key) != Some(count))
            .map(|(key, count)| (key.clone(), *count))
            .collect()
    };
    assert!(
        ours == theirs,
        "ours alone: {:?}; theirs alone: {:?}",
        differs(ours, theirs),
        differs(theirs, ours)
    );
}

#[test]
fn a_real_access_log_agrees_with_awk_and_imports_once() {
    let server = Server::start();
    let import = || server.command(&["import", &log_file(), "--project", server.project_id()]);
    let first = import();
    assert_eq!(
        (&first["new"], &first["duplicates"], &first["refused"]),
        (&10_000.into(), &0.into(), &0.into()),
        "{first}"
    );
    let second = import();
    assert_eq!(
        (&second["new"], &second["duplicates"]),
        (&0.into(), &10_000.into()),
        "{second}"
    );

    let events = events(&server);
    assert_eq!(events.len(), 10_000);
    let property = |event: &Value, name: &str| event["event_properties"][name].clone();
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);

    let statuses = counted(events.iter().map(|event| text(property(event, "status"))));
    assert_same(&statuses, &awk(r"{n[$9]++} END {for (k in n) print n[k], k}"));
    let urls = counted(events.iter().map(|event| text(property(event, "url"))));
    assert_same(&urls, &awk(r"{n[$7]++} END {for (k in n) print n[k], k}"));
    let referrers = events.iter().filter(|event| !property(event, "referrer").is_null());
    let referrers = counted(referrers.map(|event| text(property(event, "referrer"))));
    assert_same(
        &referrers,
        &awk(r#"BEGIN {FS="\""} $4 != "-" {n[$4]++} END {for (k in n) print n[k], k}"#),
    );

    let visitors = awk(
        r#"BEGIN {FS="\""} {split($1, a, /[ \[:]/); k = a[1] "|" $6; d = substr(a[5], 1, 2); if (!((d, k) in seen)) {seen[d, k] = 1; n[d]++}} END {for (d in n) print n[d], "2015-05-" d}"#,
    );
    let summaries = server.read("/api/events/summaries/daily/?start_date=2015-05-17&end_date=2015-05-21");
    let rows = summaries["results"].as_array().expect("rows");
    let unique_users: BTreeMap<String, u64> = rows
        .iter()
        .map(|row| {
            (
                text(row["date"].clone()),
                row["unique_users"].as_u64().expect("a count"),
            )
        })
        .collect();
    assert_same(&unique_users, &visitors);
    let per_day = awk(r"{n[substr($4, 2, 2)]++} END {for (d in n) print n[d], d}");
    let total_events: BTreeMap<String, u64> = rows
        .iter()
        .map(|row| {
            (
                text(row["date"].clone())[8..].to_owned(),
                row["total_events"].as_u64().expect("a count"),
            )
        })
        .collect();
    assert_same(&total_events, &per_day);
}

#[test]
fn an_export_imports_back_unchanged() {
    let server = Server::start();
    server.command(&["import", &log_file(), "--project", server.project_id()]);
    server.send(&serde_json::json!({"event_name": "without id", "properties": {"price": 12.50, "emoji": "🦀\"\n"}, "timestamp": "2015-05-18T00:00:00.000001Z"}));
    server.wait_for_stored(10_001);
    let other = server.command(&["project", "create", "--name", "Copy"]);
    let copy = other["id"].as_str().expect("an id");
    let folder = tempfile::tempdir().expect("a folder");
    for format in ["ndjson", "csv"] {
        let file = folder.path().join(format);
        let path = file.to_str().expect("a path");
        let export = |project: &str| {
            let output = crate::harness::binary()
                .args(["export", "--project", project, "--format", format, "--data-dir"])
                .arg(&server.data_dir)
                .output()
                .expect("runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        std::fs::write(&file, export(server.project_id())).expect("written");
        let again = server.command(&["import", path, "--project", server.project_id()]);
        assert_eq!(
            (&again["new"], &again["duplicates"]),
            (&0.into(), &10_001.into()),
            "{format}: {again}"
        );
        let copied = server.command(&["import", path, "--project", copy]);
        let expected = if format == "ndjson" { 10_001 } else { 0 };
        assert_eq!(copied["new"], expected, "{format}: {copied}");
        if format == "ndjson" {
            assert_eq!(without_ids(&export(copy)), without_ids(&export(server.project_id())));
        }
    }
}

/// The events of an export without what is an import's own: ids made of the project's.
fn without_ids(lines: &[u8]) -> BTreeSet<String> {
    let event = |line: &[u8]| {
        let mut event: Value = serde_json::from_slice(line).expect("JSON");
        let fields = event.as_object_mut().expect("an object");
        fields.remove("id");
        event.to_string()
    };
    lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(event)
        .collect()
}
