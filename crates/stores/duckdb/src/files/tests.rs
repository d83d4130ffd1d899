//! What lies in a store's directory after whatever happened to it, and what is told about it.

use tempfile::TempDir;

use super::*;

fn directory() -> TempDir {
    TempDir::new().unwrap()
}

fn put(directory: &TempDir, name: &str, text: &str) {
    fs::write(directory.path().join(name), text).unwrap();
}

fn has(directory: &TempDir, name: &str) -> bool {
    directory.path().join(name).exists()
}

fn current(directory: &TempDir) -> String {
    fs::read_to_string(directory.path().join(CURRENT)).unwrap()
}

/// Why a directory cannot be opened.
fn told(directory: &TempDir) -> String {
    match Files::open(directory.path()) {
        Err(StoreError::Unavailable(message)) => message,
        other => panic!("must be unavailable: {other:?}"),
    }
}

#[test]
fn a_new_directory_starts_with_the_first_generation() {
    let parent = directory();
    let path = parent.path().join("data/events");
    let (files, generation) = Files::open(&path).unwrap();
    assert_eq!(generation, 1);
    assert_eq!(fs::read_to_string(path.join(CURRENT)).unwrap(), "events-1.duckdb\n");
    assert_eq!(files.database(1), files.directory().join("events-1.duckdb"));
    assert!(files.temp().is_dir());
    drop(files);
    // A crash before the database was made leaves it to the next opening.
    assert_eq!(Files::open(&path).unwrap().1, 1);
}

#[test]
fn the_generation_that_counts_is_the_one_that_was_set_last() {
    let directory = directory();
    put(&directory, "events-7.duckdb", "seven");
    put(&directory, "CURRENT", "events-7.duckdb");
    let (files, generation) = Files::open(directory.path()).unwrap();
    assert_eq!(generation, 7, "also without a line's end, as an editor may write it");
    put(&directory, "events-8.duckdb", "eight");
    files.set_current(8).unwrap();
    files.remove(7).unwrap();
    files.remove(7).expect("removing what is gone is no failure");
    drop(files);
    assert_eq!(current(&directory), "events-8.duckdb\n");
    assert!(!has(&directory, "CURRENT.new") && !has(&directory, "events-7.duckdb"));
    assert_eq!(Files::open(directory.path()).unwrap().1, 8);
}

#[test]
fn leftovers_go_and_everything_else_stays() {
    let directory = directory();
    for name in [
        "events-1.duckdb",
        "events-1.duckdb.wal",
        "events-2.duckdb",
        "events-2.duckdb.wal",
        "events-3.duckdb",
        "events-3.duckdb.wal",
        "events-10.duckdb.wal",
        // Of somebody else, though nearly alike.
        "events-03.duckdb",
        "events-+1.duckdb",
        "events-1.duckdb.bak",
        "events-x.duckdb",
        "events-99999999999999999999.duckdb",
        "my-events-1.duckdb",
    ] {
        put(&directory, name, name);
    }
    put(&directory, "CURRENT", "events-2.duckdb\n");
    put(&directory, "CURRENT.new", "events-3.du");
    fs::create_dir_all(directory.path().join("temp/2")).unwrap();
    put(&directory, "temp/2/spilled", "x");
    fs::create_dir(directory.path().join("index")).unwrap();
    put(&directory, "index/kept", "x");

    let (files, generation) = Files::open(directory.path()).unwrap();
    assert_eq!(generation, 2);
    drop(files);
    let mut left: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    let expected = [
        "CURRENT",
        "LOCK",
        "events-+1.duckdb",
        "events-03.duckdb",
        "events-1.duckdb.bak",
        "events-2.duckdb",
        "events-2.duckdb.wal",
        "events-99999999999999999999.duckdb",
        "events-x.duckdb",
        "index",
        "my-events-1.duckdb",
        "temp",
    ];
    assert_eq!(left, expected);
    assert!(has(&directory, "index/kept"));
    assert_eq!(fs::read_dir(directory.path().join("temp")).unwrap().count(), 0);
    assert_eq!(
        fs::read_to_string(directory.path().join("events-2.duckdb")).unwrap(),
        "events-2.duckdb"
    );
}

#[test]
fn a_current_that_names_no_database_is_told_and_nothing_is_removed() {
    for garbled in [
        "",
        "\n",
        "events-2",
        "events-02.duckdb",
        "../events-2.duckdb",
        "events--2.duckdb",
        "events-2.duckdb.wal",
        "events-2.duckdb events-3.duckdb",
        "\0\0\0\0",
    ] {
        let directory = directory();
        put(&directory, "events-2.duckdb", "two");
        put(&directory, "CURRENT", garbled);
        let message = told(&directory);
        assert!(
            message.contains("CURRENT names no database file")
                && message.contains(&format!("{garbled:?}"))
                && message.contains("write the name of the newest events-<n>.duckdb into it"),
            "{garbled:?}: {message}"
        );
        assert!(has(&directory, "events-2.duckdb"));
        assert_eq!(current(&directory), garbled);
        // What was told helps.
        put(&directory, "CURRENT", "events-2.duckdb");
        assert_eq!(Files::open(directory.path()).unwrap().1, 2);
    }
}

#[test]
fn a_current_that_cannot_be_read_is_told() {
    let directory = directory();
    fs::write(directory.path().join(CURRENT), [0xff, 0xfe]).unwrap();
    assert!(told(&directory).contains("cannot read "));
    fs::remove_file(directory.path().join(CURRENT)).unwrap();
    fs::create_dir(directory.path().join(CURRENT)).unwrap();
    assert!(told(&directory).contains("cannot read "));
}

#[test]
fn a_lost_database_is_told_and_nothing_is_removed() {
    let directory = directory();
    put(&directory, "CURRENT", "events-2.duckdb\n");
    put(&directory, "events-1.duckdb", "older");
    put(&directory, "events-2.duckdb.wal", "log");
    let message = told(&directory);
    assert!(
        message.contains("events-2.duckdb is missing") && message.contains("put it back from a backup"),
        "{message}"
    );
    assert!(has(&directory, "events-1.duckdb") && has(&directory, "events-2.duckdb.wal"));
}

#[test]
fn a_lost_first_database_is_no_new_store() {
    // Both are made after the database, so that there was one.
    for trace in ["events-1.duckdb.wal", "index"] {
        let directory = directory();
        put(&directory, "CURRENT", "events-1.duckdb\n");
        put(&directory, trace, "");
        let message = told(&directory);
        assert!(
            message.contains("events-1.duckdb is missing") && message.contains("backup"),
            "{trace}: {message}"
        );
        assert!(has(&directory, trace));
    }
}

#[test]
fn a_lost_current_is_told_where_a_database_is() {
    let directory = directory();
    put(&directory, "events-4.duckdb", "four");
    put(&directory, "events-12.duckdb", "twelve");
    put(&directory, "events-12.duckdb.wal", "its log");
    let message = told(&directory);
    assert!(
        message.contains("CURRENT is missing beside events-12.duckdb;") && message.contains("write that name into it"),
        "the newest one is named: {message}"
    );
    assert!(has(&directory, "events-4.duckdb") && !has(&directory, CURRENT));
}

#[test]
fn a_directory_is_open_once() {
    let directory = directory();
    let (files, _) = Files::open(directory.path()).unwrap();
    // Not even a leftover is touched beside the one who has it.
    put(&directory, "events-9.duckdb", "being written");
    let message = told(&directory);
    assert!(
        message.contains("another process has the event store in") && message.contains("stop the server"),
        "{message}"
    );
    assert!(has(&directory, "events-9.duckdb"));
    files.unlock();
    let (files, _) = Files::open(directory.path()).expect("free after unlock");
    drop(files);
    Files::open(directory.path()).expect("free after drop");
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let directory = directory();
    put(&directory, "file", "");
    match Files::open(&directory.path().join("file/store")) {
        Err(StoreError::Unavailable(message)) => {
            assert!(message.contains("cannot make the store's directory"), "{message}");
        }
        other => panic!("must be unavailable: {other:?}"),
    }
}

#[test]
fn bytes_are_those_on_the_disk() {
    let directory = directory();
    let (files, _) = Files::open(directory.path()).unwrap();
    assert_eq!((files.database_bytes(1), files.wal_bytes(1)), (0, 0));
    put(&directory, "events-1.duckdb", &"x".repeat(10_000));
    put(&directory, "events-1.duckdb.wal", &"x".repeat(5_000));
    put(&directory, "events-2.duckdb", &"x".repeat(100_000));
    assert_eq!(files.wal_bytes(1), 5_000);
    let first = files.database_bytes(1);
    assert!((15_000..40_000).contains(&first), "{first}");
    let before = files.bytes();
    assert!(before >= first + 100_000, "{before}");
    // The index's log: long, and a hole.
    fs::create_dir(directory.path().join("index")).unwrap();
    let hole = File::create(directory.path().join("index/log")).unwrap();
    hole.set_len(64 << 20).unwrap();
    assert!(files.bytes() < before + (1 << 20), "{} after {before}", files.bytes());
}
