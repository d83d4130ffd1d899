//! The password prompt on a terminal of its own, which `script` makes.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

/// Runs `user create` on a terminal, types `keys` when it asks for a password, and returns what the terminal showed, with its settings
/// afterwards.
fn typed(keys: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let shell = format!(
        // The shell outlives Ctrl-C, as the one that a person works in.
        "trap : INT; '{}' --data-dir '{}' user create --email ada@example.com; echo \"code $?\"; stty -a",
        env!("CARGO_BIN_EXE_simple-analytics"),
        folder.path().join("data").display(),
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &shell, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let (mut input, mut output) = (child.stdin.take().expect("input"), child.stdout.take().expect("output"));
    let mut shown = Vec::new();
    let mut byte = [0];
    let mut typed = false;
    while output.read(&mut byte).expect("output") > 0 {
        shown.push(byte[0]);
        if !typed && shown.ends_with(b"Password: ") {
            // What is typed before the echo is off is thrown away with it.
            std::thread::sleep(std::time::Duration::from_millis(300));
            input.write_all(keys.as_bytes()).expect("typed");
            typed = true;
        }
    }
    child.wait().expect("ended");
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn who_interrupts_the_password_prompt_can_see_what_he_types_again() {
    let shown = typed("hunter2\u{3}");
    assert!(shown.contains("interrupted") && shown.contains("code 1"), "{shown}");
    assert!(shown.contains(" echo ") && !shown.contains("-echo "), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
