//! Roles that cannot work as they were asked for are refused before anything is touched.

use std::path::Path;

use super::members::{Group, serve};

fn refusal(settings: &[(&str, &str)], data_dir: &Path) -> (Option<i32>, String) {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let output = serve(&settings, data_dir).output().expect("runs");
    assert!(output.stdout.is_empty());
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn split_roles_without_what_they_share_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let (redis, database) = (
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
    );
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("ROLES", "worker")], "Set DATABASE_URL"),
        (&[("ROLES", "scheduler")], "Set DATABASE_URL"),
        (&[("ROLES", "dashboard,worker")], "Set DATABASE_URL"),
        (&[("ROLES", "api"), redis], "Set DATABASE_URL"),
        (&[("ROLES", "worker,scheduler"), redis], "Set DATABASE_URL"),
        (&[("ROLES", "worker"), database], "Set REDIS_URL"),
    ];
    for (settings, advice) in cases {
        let (code, told) = refusal(settings, &data_dir);
        assert_eq!(code, Some(2), "{settings:?}: {told}");
        assert!(
            told.contains(advice) && told.contains("environment ROLES"),
            "{settings:?}: {told}"
        );
        assert!(!data_dir.exists(), "{settings:?}");
    }
}

#[test]
fn two_processes_in_one_data_directory_are_refused_whatever_they_keep_there() {
    let Some(group) = Group::new() else { return };
    let scheduler = group.start("scheduler");
    let settings = [("DATABASE_URL", group.database.url.as_str()), ("ROLES", "dashboard")];
    let (code, told) = refusal(&settings, &scheduler.data_dir);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another process works in this data directory"), "{told}");
    // The first one is asked as before.
    assert_eq!(scheduler.command(&["event_status"])["roles"][0], "scheduler");
}
