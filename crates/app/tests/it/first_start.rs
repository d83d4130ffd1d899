//! A first start that goes wrong: nobody learned the keys and the password, so the next start must make new ones.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use crate::harness::{Server, binary};

fn serve(data_dir: &Path, listen: &str) -> Command {
    let mut command = binary();
    command
        .args(["--json", "serve", "--listen", listen, "--data-dir"])
        .arg(data_dir);
    command
}

/// Starts on `data_dir` and sees to it that this is a first start.
fn starts_for_the_first_time(data_dir: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let out = std::fs::File::create(&told).expect("a file");
    let mut child = serve(data_dir, "127.0.0.1:0").stdout(out).spawn().expect("starts");
    let document = crate::harness::wait_until("the announcement", || {
        let text = std::fs::read_to_string(&told).expect("a file");
        serde_json::from_str::<serde_json::Value>(&text).map_err(|error| error.to_string())
    });
    child.kill().expect("killed");
    child.wait().expect("ended");
    let first = &document["first_start"];
    assert!(first["administrator"]["password"].is_string(), "{document}");
    assert!(first["project"]["private_api_key"].is_string(), "{document}");
}

#[test]
fn a_taken_port_takes_no_password_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = serve(&data_dir, &address).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&address), "{told}");
    starts_for_the_first_time(&data_dir);
}

#[test]
fn an_announcement_that_nobody_reads_is_a_failure_and_makes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let mut child = serve(&data_dir, "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("standard output is closed"), "{told}");
    starts_for_the_first_time(&data_dir);
}

#[test]
fn a_later_start_serves_although_nobody_reads_the_announcement() {
    let mut server = Server::start();
    assert!(server.stop().0, "exit code 0");
    let log = server.data_dir.join("log");
    let mut child = serve(&server.data_dir, "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    crate::harness::wait_until("the warning", || {
        let text = std::fs::read_to_string(&log).expect("a file");
        text.contains("the start could not be announced")
            .then_some(())
            .ok_or(text)
    });
    let status = server.command(&["event_status"]);
    assert_eq!(status["queue"]["consumers"], 1, "{status}");
    child.kill().expect("killed");
    child.wait().expect("ended");
}
