//! Compaction: giving the space of deleted events back by copying what is left into the next generation.
//!
//! DuckDB reuses the blocks of deleted rows but never shrinks its file. The copy runs in a database instance of its own, which alone may
//! reach files; the serving one stays locked. Until CURRENT is replaced, the old generation counts. Who asked for it and goes away, or closes
//! the store, stops it.

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
    watchdog::Watch,
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

/// Copies the database of `from`, on `connection` and written by nobody meanwhile, into the next generation, makes that one count and
/// opens it. `watch` can stop it, which leaves everything as it was.
pub(crate) fn compact(
    files: &Files,
    from: u64,
    connection: &Connection,
    options: &DuckdbOptions,
    watch: &Watch,
) -> Result<(Arc<Engine>, Reclaimed), Failure> {
    let to = from + 1;
    let bytes_before = files.database_bytes(from);
    let spill_bytes_max = left_for_spilling(used_bytes(connection)?, files.free_bytes()?)?;
    // Should an earlier try have left a doubt about what CURRENT names after a power cut: that file is about to go.
    files.set_current(from)?;
    let opened = copy(files, from, to, &copy_options(options), spill_bytes_max, watch)
        .and_then(|()| Engine::open(files, to, options));
    let engine = match opened {
        Ok(engine) => Arc::new(engine),
        Err(failure) => {
            remove(files, to);
            return Err(failure);
        }
    };
    point_to(files, from, to)?;
    let reclaimed = Reclaimed {
        bytes_before,
        bytes_after: files.database_bytes(to),
    };
    Ok((engine, reclaimed))
}

/// Makes `to` count in place of `from`, and removes the one that does not. Removes neither when CURRENT may name either after a power cut.
fn point_to(files: &Files, from: u64, to: u64) -> Result<(), Failure> {
    let Err(error) = files.set_current(to) else {
        // Readers of the old generation keep it until they end; its name goes now.
        remove(files, from);
        return Ok(());
    };
    let names = |generation| files.current().is_ok_and(|current| current == generation);
    if names(from) || files.set_current(from).is_ok() {
        remove(files, to);
        return Err(error.into());
    }
    tracing::error!(%error, "cannot flush which database counts: the medium fails; both are kept");
    // What a start would open is what is written to from now on.
    if names(to) { Ok(()) } else { Err(error.into()) }
}

fn remove(files: &Files, generation: u64) {
    if let Err(error) = files.remove(generation) {
        tracing::warn!(%error, generation, "cannot remove a database that does not count; the next start will");
    }
}

/// Bytes of the blocks that are in use: no copy of them takes more.
fn used_bytes(connection: &Connection) -> Result<u64, Failure> {
    let sql = "SELECT block_size * (total_blocks - free_blocks) FROM pragma_database_size()";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// What sorting may spill: what is left beside the copy and the room that queue and store need to go on.
fn left_for_spilling(used: u64, free: u64) -> Result<u64, Failure> {
    let needed = used.saturating_add(limits::DISK_FREE_BYTES_MIN);
    free.checked_sub(needed).ok_or_else(|| {
        let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
        Failure::Unavailable(format!(
            "compaction copies what is left before it removes the old file: {} MiB of disk must be free and {} are; make room for {} more",
            mebibytes(needed),
            free >> 20,
            mebibytes(needed - free)
        ))
    })
}

/// The copy works beside the database that serves, which has its own memory.
fn copy_options(options: &DuckdbOptions) -> DuckdbOptions {
    DuckdbOptions {
        memory_bytes_max: options.memory_bytes_max.max(limits::STORE_COMPACT_MEMORY_BYTES_MIN),
        // Each thread needs its own part of that.
        threads: 1,
        ..options.clone()
    }
}

fn copy(
    files: &Files,
    from: u64,
    to: u64,
    options: &DuckdbOptions,
    spill_bytes_max: u64,
    watch: &Watch,
) -> Result<(), Failure> {
    let (old, new) = (files.database(from), files.database(to));
    files.remove(to)?;
    let temp = files.temp().join("copy");
    let spill = format!("{}B", spill_bytes_max.clamp(1, limits::STORE_TEMP_BYTES_MAX));
    let config = engine::config(options, &temp)?.with("max_temp_directory_size", spill)?;
    let connection = Connection::open_in_memory_with_flags(config)?;
    if !watch.attach(connection.interrupt_handle()) {
        return Err(Failure::Interrupted);
    }
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

#[cfg(test)]
mod tests;
