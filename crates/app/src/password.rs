//! Passwords: where they come from and how they are kept.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anyhow::Context as _;
use argon2::{Argon2, password_hash::PasswordHasher};
use model::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use tokio::signal::unix::{SignalKind, signal};

use crate::usage::usage;

/// Exit code of a command that failed.
const FAILED: i32 = 1;

/// Characters of a generated password: log2(62) bits each, 143 in all.
const GENERATED_CHARS: usize = 24;

/// A password and whether the person has yet to learn it.
pub struct Password {
    /// The password. Never log it.
    pub text: String,
    /// It was made here, so it must be shown once.
    pub generated: bool,
}

/// A password from standard input, from the terminal (asked for twice), or, where there is neither, a generated one.
pub fn obtain(from_stdin: bool) -> anyhow::Result<Password> {
    let text = if from_stdin {
        read_stdin()?
    } else if io::stdin().is_terminal() {
        ask_twice()?
    } else {
        return Ok(generated());
    };
    check(&text)?;
    Ok(Password { text, generated: false })
}

/// A new random password.
pub fn generated() -> Password {
    Password {
        text: model::key::random_text(GENERATED_CHARS),
        generated: true,
    }
}

/// The Argon2id hash of a password, in PHC string form, with a fresh salt.
pub fn hash(password: &str) -> anyhow::Result<String> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))
}

fn check(password: &str) -> anyhow::Result<()> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(usage(format!(
            "a password has at least {PASSWORD_CHARS_MIN} characters"
        )));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(usage(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The first line of standard input, without its end.
fn read_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    // One byte more than allowed, so that a longer line is refused and not cut.
    let room = PASSWORD_BYTES_MAX as u64 + 3;
    io::BufReader::new(io::stdin().lock().take(room))
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn ask_twice() -> anyhow::Result<String> {
    let first = ask("Password: ")?;
    if ask("Once more: ")? == first {
        Ok(first)
    } else {
        Err(usage("the two passwords differ"))
    }
}

/// Asks on the terminal without showing what is typed. Whoever interrupts it gets the terminal back as it was.
fn ask(prompt: &str) -> anyhow::Result<String> {
    let terminal = io::stdin();
    let before = tcgetattr(&terminal).context("cannot talk to the terminal; use --password-stdin")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let restored = before.clone();
    // On another thread of the runtime: this one waits for the person.
    let watch = tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // The process ends in any case.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &restored);
        eprintln!("\nerror: interrupted; nothing was changed");
        std::process::exit(FAILED);
    });
    eprint!("{prompt}");
    io::stderr().flush()?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let line = read_stdin();
    watch.abort();
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    eprintln!();
    line
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordVerifier, password_hash::phc::PasswordHash};

    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_verifies_only_its_password() {
        let hash = hash("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        let parsed = PasswordHash::new(&hash).unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"correct horse battery", &parsed)
                .is_ok()
        );
        assert!(
            Argon2::default()
                .verify_password(b"correct horse batterx", &parsed)
                .is_err()
        );
    }

    #[test]
    fn short_and_huge_passwords_are_refused_and_generated_ones_pass() {
        assert!(check("short").is_err());
        assert!(check(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
        assert!(check(&"ä".repeat(PASSWORD_CHARS_MIN)).is_ok());
        let (one, two) = (generated(), generated());
        assert!(check(&one.text).is_ok());
        assert_ne!(one.text, two.text);
    }
}
