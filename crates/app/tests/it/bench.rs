//! `bench` measures something: short runs of the debug build, so that only the shape of the answer counts.

use serde_json::Value;

use crate::harness::binary;

/// Runs a part of the benchmark and gives its measures by name.
fn measures(part: &str, options: &[&str]) -> (Value, Vec<(String, f64)>) {
    let scratch = tempfile::tempdir().expect("a folder");
    let output = binary()
        .args(["--json", "bench", part, "--rounds", "1", "--seconds", "2", "--scratch"])
        .arg(scratch.path())
        .args(options)
        .output()
        .expect("runs");
    let err = String::from_utf8_lossy(&output.stderr);
    // 0: every bar is met; 1: not every one, which a debug build need not.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{err}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"));
    assert_eq!(output.status.success(), report["met"] == true, "{report}");
    assert_eq!(
        std::fs::read_dir(scratch.path()).expect("a folder").count(),
        0,
        "temporary data are left"
    );
    let sections = report["sections"].as_array().expect("sections").clone();
    let measures = sections
        .iter()
        .flat_map(|section| section["measures"].as_array().expect("measures").clone());
    let pairs = measures
        .map(|measure| {
            let name = measure["what"].as_str().expect("a name").to_owned();
            (name, measure["value"].as_f64().expect("a number"))
        })
        .collect();
    (report, pairs)
}

fn value(measures: &[(String, f64)], name: &str) -> f64 {
    let found = measures.iter().find(|(what, _)| what == name);
    found.unwrap_or_else(|| panic!("no {name} in {measures:?}")).1
}

#[test]
fn ours_and_the_ceiling_are_measured_in_the_same_run() {
    let cases: [(&str, &[&str], &str); 3] = [
        ("ingest", &["--connections", "4"], "bare handler"),
        ("batch", &["--connections", "2"], "bare handler"),
        ("store", &["--events", "1000"], "bare DuckDB appender"),
    ];
    for (part, options, ceiling) in cases {
        let (report, measures) = measures(part, options);
        let (ours, ceiling) = (value(&measures, "ours"), value(&measures, ceiling));
        assert!(ours > 0.0 && ceiling > 0.0, "{report}");
        let ratio = measures
            .iter()
            .find(|(what, _)| what.starts_with("ours / "))
            .expect("a ratio")
            .1;
        assert!((ratio - ours / ceiling).abs() < 1e-9, "{report}");
        assert!(report["notes"].to_string().contains("share"), "{report}");
    }
}

#[test]
fn everything_that_is_accepted_is_stored_and_readable() {
    // The command itself fails (exit code 1 without an answer) when an accepted event is not stored.
    let (report, measures) = measures("end-to-end", &["--rate", "100", "--connections", "4"]);
    let stored = value(&measures, "accepted and stored");
    assert!((90.0..=110.0).contains(&stored), "{report}");
    assert!(value(&measures, "longest") > 0.0, "{report}");
}
