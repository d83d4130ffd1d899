//! What PostgreSQL's errors mean to the caller.

use model::limits;
use sqlx::Error;
use store::StoreError;

use crate::tls;

/// Codes after which what is remembered of the schema must be read again, and the same batch tried again: a partition or a table of ids that
/// another process has dropped meanwhile, two writers in each other's way.
const STALE: [&str; 5] = ["23514", "40001", "40P01", "42P01", "42704"];
/// A statement that was ended by its time limit, or from outside.
const CANCELLED: &str = "57014";
const LOCKED: &str = "55P03";
const DISK_FULL: &str = "53100";
const NOT_LET_IN: &str = "28000";
const TOO_MANY_CONNECTIONS: &str = "53300";
/// Classes and codes that blame the data.
const BAD_DATA: [&str; 2] = ["22", "54"];
/// Classes and codes that blame a reader's statement.
const BAD_STATEMENT: [&str; 6] = ["22", "54", "42", "0A", "2F", "25006"];

/// The error of an append, or of anything else that writes: only data can be refused, everything else may pass.
pub(crate) fn write_failed(error: Error) -> StoreError {
    classed(&error, &BAD_DATA)
}

/// The error of a reader's statement.
pub(crate) fn read_failed(error: Error) -> StoreError {
    if code(&error).as_deref() == Some(CANCELLED) {
        return StoreError::Timeout(limits::QUERY_TIMEOUT);
    }
    classed(&error, &BAD_STATEMENT)
}

fn classed(error: &Error, refused: &[&str]) -> StoreError {
    let is_refused = code(error).is_some_and(|code| refused.iter().any(|class| code.starts_with(class)));
    if is_refused {
        StoreError::Refused(sentence(error))
    } else {
        StoreError::Unavailable(sentence(error))
    }
}

/// Whether the same may work at once with what is known of the schema read anew.
pub(crate) fn is_stale(error: &Error) -> bool {
    code(error).is_some_and(|code| STALE.contains(&code.as_str()))
}

/// Whether a row with the same key is there.
pub(crate) fn is_conflict(error: &Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// Whether somebody else holds what is needed.
pub(crate) fn is_locked(error: &Error) -> bool {
    code(error).is_some_and(|code| code == LOCKED || code == "40P01")
}

fn code(error: &Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The error for people, with what to do about it.
pub(crate) fn sentence(error: &Error) -> String {
    match error {
        Error::PoolTimedOut => format!(
            "PostgreSQL gave no connection within {:?}; is it running, and does it allow this many connections?",
            limits::POSTGRES_CONNECT_TIMEOUT
        ),
        Error::PoolClosed => "the store is closed".to_owned(),
        Error::Io(error) => match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(refusal) => format!("no TLS connection to PostgreSQL: {}", tls::advice(refusal)),
            None => format!("the connection to PostgreSQL failed: {error}"),
        },
        // The driver has no other word for it.
        Error::Tls(error) if error.to_string() == "server does not support TLS" => {
            "PostgreSQL speaks no TLS there: set ssl = on in its postgresql.conf, or sslmode=disable in the URL"
                .to_owned()
        }
        Error::Tls(error) => format!("no TLS connection to PostgreSQL: {error}"),
        Error::Database(database) => {
            let advice = match database.code().as_deref() {
                Some(LOCKED) => "; another process holds what this needs: it is tried again",
                Some(DISK_FULL) => "; free some room on its disk",
                // What it says when no line of pg_hba.conf takes connections without TLS.
                Some(NOT_LET_IN) if database.message().ends_with("no encryption") => {
                    "; it takes TLS only, or nobody from here: try sslmode=verify-full (or require) in the URL"
                }
                Some(TOO_MANY_CONNECTIONS) => "; raise max_connections, or run fewer processes",
                _ => "",
            };
            format!("PostgreSQL: {}{advice}", database.message())
        }
        other => other.to_string(),
    }
}
