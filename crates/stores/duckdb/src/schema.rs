//! The tables, and how a database of an older version gets them.

use duckdb::{Connection, params};
use uuid::Uuid;

use crate::failure::Failure;

/// Every step from an empty database to today's tables, in order. Only ever added to: a step that was released does not change.
const MIGRATIONS: &[(&str, &str)] = &[
    ("events", include_str!("../migrations/0001_events.sql")),
    ("imported_at", include_str!("../migrations/0002_imported_at.sql")),
];

/// Every table, for compaction: what is not named here would be lost. `events` apart, their order does not matter.
pub(crate) const TABLES: [&str; 7] = [
    "schema_migrations",
    "identity",
    "projects",
    "ledger",
    "checkpoints",
    "progress",
    "events",
];

/// Brings the database to today's tables, in one transaction. A database of a newer version is refused.
pub(crate) fn migrate(connection: &Connection) -> Result<(), Failure> {
    connection.execute_batch("CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER, name VARCHAR)")?;
    let applied: i64 = connection.query_row(
        "SELECT coalesce(max(version), 0)::BIGINT FROM schema_migrations",
        [],
        |row| row.get(0),
    )?;
    let applied = usize::try_from(applied).unwrap_or(usize::MAX);
    let Some(pending) = MIGRATIONS.get(applied..) else {
        return Err(Failure::Unavailable(format!(
            "the database is of version {applied}, this build knows versions up to {}: run the newer build that wrote it",
            MIGRATIONS.len()
        )));
    };
    if pending.is_empty() {
        return Ok(());
    }
    connection.execute_batch("BEGIN TRANSACTION")?;
    let result = apply(connection, applied, pending);
    if result.is_err() {
        // The first error is the one to tell.
        let _ = connection.execute_batch("ROLLBACK");
    }
    result
}

fn apply(connection: &Connection, applied: usize, pending: &[(&str, &str)]) -> Result<(), Failure> {
    for (index, (name, sql)) in pending.iter().enumerate() {
        connection.execute_batch(sql)?;
        let version = i64::try_from(applied + index + 1).unwrap_or(i64::MAX);
        connection.execute("INSERT INTO schema_migrations VALUES (?, ?)", params![version, name])?;
    }
    if applied == 0 {
        let (store, session) = (Uuid::new_v4(), Uuid::new_v4());
        connection.execute(
            "INSERT INTO identity VALUES (?, ?)",
            params![store.to_string(), session.to_string()],
        )?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Makes today's tables, empty, in the attached database `catalog`, for a copy of all rows.
pub(crate) fn create_tables(connection: &Connection, catalog: &str) -> Result<(), Failure> {
    connection.execute_batch(&format!(
        "USE {catalog}; CREATE TABLE schema_migrations (version INTEGER, name VARCHAR)"
    ))?;
    for (_, sql) in MIGRATIONS {
        connection.execute_batch(sql)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_copied_by_compaction() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        migrate(&connection).unwrap();
        let mut statement = connection
            .prepare("SELECT table_name FROM duckdb_tables() ORDER BY table_name")
            .unwrap();
        let found: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut copied = TABLES.to_vec();
        copied.sort_unstable();
        assert_eq!(found, copied);
    }

    #[test]
    fn a_database_of_a_newer_version_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        connection
            .execute_batch("INSERT INTO schema_migrations VALUES (99, 'later')")
            .unwrap();
        let Err(Failure::Unavailable(message)) = migrate(&connection) else {
            panic!("must be refused");
        };
        assert!(message.contains("version 99"), "{message}");
    }
}
