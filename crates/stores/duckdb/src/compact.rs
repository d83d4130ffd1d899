//! Compaction: giving the space of deleted events back by copying what is left into the next generation.
//!
//! DuckDB reuses the blocks of deleted rows but never shrinks its file. The copy runs in a database instance of its own, which alone may
//! reach files; the serving one stays locked. Until CURRENT is replaced, the old generation counts.

use std::{fs::File, path::Path, sync::Arc};

use duckdb::Connection;
use model::limits;
use store::Reclaimed;

use crate::{
    engine::{self, Engine, STORAGE_VERSION},
    failure::Failure,
    files::Files,
    options::DuckdbOptions,
    schema::{self, TABLES},
};

/// Whether deleted events take so much of the file that copying the rest is worth it.
///
/// Two kinds of waste: blocks that are free, and rows that are marked as deleted inside row groups that live on.
pub(crate) fn is_worth_it(connection: &Connection) -> Result<bool, Failure> {
    let (block_bytes, total, free): (u64, u64, u64) = connection.query_row(
        "SELECT block_size, total_blocks, free_blocks FROM pragma_database_size()",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let (rows, ever): (u64, u64) =
        connection.query_row("SELECT count(*), coalesce(max(rowid) + 1, 0) FROM events", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let used = total.saturating_sub(free) * block_bytes;
    let dead = if ever == 0 {
        0
    } else {
        // Below 2^64 bytes of file the product fits 128 bits, and the quotient is at most `used`.
        (u128::from(used) * u128::from(ever.saturating_sub(rows)) / u128::from(ever)) as u64
    };
    let waste = free * block_bytes + dead;
    Ok(
        waste > limits::STORE_COMPACT_BYTES_MIN
            && waste * 100 > total * block_bytes * limits::STORE_COMPACT_PERCENT_MIN,
    )
}

/// Copies the database of `from`, which nobody writes to meanwhile, into the next generation, makes that one count and opens it.
pub(crate) fn compact(files: &Files, from: u64, options: &DuckdbOptions) -> Result<(Arc<Engine>, Reclaimed), Failure> {
    let to = from + 1;
    let bytes_before = files.database_bytes(from);
    let copied = copy(files, from, to, options).and_then(|()| {
        let engine = Engine::open(files, to, options)?;
        files.set_current(to)?;
        Ok(Arc::new(engine))
    });
    match copied {
        Ok(engine) => {
            // Readers of the old generation keep it until they end; its name goes now.
            if let Err(error) = files.remove(from) {
                tracing::warn!(%error, generation = from, "cannot remove the old database; the next start will");
            }
            let reclaimed = Reclaimed {
                bytes_before,
                bytes_after: files.database_bytes(to),
            };
            Ok((engine, reclaimed))
        }
        Err(failure) => {
            if let Err(error) = files.remove(to) {
                tracing::warn!(%error, generation = to, "cannot remove an incomplete copy; the next start will");
            }
            Err(failure)
        }
    }
}

fn copy(files: &Files, from: u64, to: u64, options: &DuckdbOptions) -> Result<(), Failure> {
    let (old, new) = (files.database(from), files.database(to));
    files.remove(to)?;
    let temp = files.temp().join("copy");
    let connection = Connection::open_in_memory_with_flags(engine::config(options, &temp)?)?;
    connection.execute_batch(&format!("ATTACH {} AS old (READ_ONLY)", quoted(&old)?))?;
    connection.execute_batch(&format!(
        "ATTACH {} AS new (STORAGE_VERSION '{STORAGE_VERSION}')",
        quoted(&new)?
    ))?;
    schema::create_tables(&connection, "new")?;
    for table in TABLES {
        // Reading one project then touches only its own row groups, and of these only the ones of the time asked for.
        let order = if table == "events" {
            "ORDER BY project_id, timestamp"
        } else {
            ""
        };
        connection.execute_batch(&format!("INSERT INTO new.{table} SELECT * FROM old.{table} {order}"))?;
        let (copied, original): (u64, u64) = connection.query_row(
            &format!("SELECT (SELECT count(*) FROM new.{table}), (SELECT count(*) FROM old.{table})"),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if copied != original {
            return Err(Failure::Unavailable(format!(
                "compaction copied {copied} of {original} rows of {table}; the database is left as it was"
            )));
        }
    }
    connection.execute_batch("CHECKPOINT new; USE memory; DETACH new; DETACH old")?;
    Ok(File::open(&new)?.sync_all()?)
}

/// A path as a text literal.
fn quoted(path: &Path) -> Result<String, Failure> {
    let text = path
        .to_str()
        .ok_or_else(|| Failure::Unavailable(format!("{} is not valid UTF-8", path.display())))?;
    Ok(format!("'{}'", text.replace('\'', "''")))
}
