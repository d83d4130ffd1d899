//! SQLite's errors as the port's.

use store::MetaError;

/// Primary result codes (the low byte of an extended one) of SQLite's C interface.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_FULL: i32 = 13;

/// The error of a call that breaks no rule of the data: file, lock, disk.
pub(crate) fn unavailable(error: sqlx::Error) -> MetaError {
    let advice = match primary_code(&error) {
        Some(SQLITE_BUSY | SQLITE_LOCKED) => "; another process keeps the file locked: end it or try again",
        Some(SQLITE_FULL) => "; free some room on its disk",
        _ => "",
    };
    MetaError::Unavailable(format!("{error}{advice}"))
}

/// The error of a write: `conflict` says what is taken when a uniqueness rule stopped it.
pub(crate) fn write_error(error: sqlx::Error, conflict: impl FnOnce() -> String) -> MetaError {
    match &error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => MetaError::Conflict(conflict()),
        _ => unavailable(error),
    }
}

/// Whether another connection holds a lock that this call needs.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(SQLITE_BUSY | SQLITE_LOCKED))
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_unavailable_with_advice() {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        // To SQLite a database that may not grow is a full disk.
        sqlx::raw_sql("create table filler (content blob); pragma max_page_count = 2")
            .execute(&mut connection)
            .await
            .unwrap();
        let error = sqlx::query("insert into filler values (zeroblob(100000))")
            .execute(&mut connection)
            .await
            .unwrap_err();
        let error = write_error(error, || panic!("no uniqueness rule is at fault"));
        assert!(matches!(error, MetaError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains("free some room"), "{error}");
    }
}
