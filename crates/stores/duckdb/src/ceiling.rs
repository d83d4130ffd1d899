//! The ceiling to measure the store against: the same rows through DuckDB's own appender, with nothing around it. No duplicates are
//! found, no users numbered, no ledger kept.

use std::path::Path;

use duckdb::arrow::datatypes::SchemaRef;
use model::{EnrichedEvent, ProjectId};
use store::StoreError;

use crate::{
    append::{self, append_bare},
    engine::Engine,
    failure::Failure,
    files::Files,
    options::DuckdbOptions,
};

/// DuckDB's appender on a table like the store's, in a directory of its own, with the store's settings.
pub struct BareAppender {
    engine: Engine,
    schema: SchemaRef,
    _files: Files,
}

impl BareAppender {
    /// Opens an empty directory.
    pub fn open(directory: &Path, options: &DuckdbOptions) -> Result<Self, StoreError> {
        let (files, generation) = Files::open(directory)?;
        Ok(Self {
            engine: Engine::open(&files, generation, options)?,
            schema: append::schema(),
            _files: files,
        })
    }

    /// Appends and commits. Blocks.
    pub fn append(&self, events: &[EnrichedEvent]) -> Result<(), StoreError> {
        let append = || -> Result<(), Failure> {
            let connection = self.engine.take()?;
            connection.execute_batch("BEGIN TRANSACTION")?;
            append_bare(&connection, &self.schema, events)?;
            connection.execute_batch("COMMIT")?;
            self.engine.give_back(connection);
            Ok(())
        };
        Ok(append()?)
    }

    /// Folds the log into the file. Blocks.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let checkpoint = || -> Result<(), Failure> { Ok(self.engine.connect()?.execute_batch("CHECKPOINT")?) };
        Ok(checkpoint()?)
    }

    /// Rows of a project; the ceiling numbers projects by the last four bytes of their id.
    pub fn count(&self, project: ProjectId) -> Result<u64, StoreError> {
        let count = || -> Result<u64, Failure> {
            let sql = "SELECT count(*) FROM events WHERE project_id = ?";
            let number = append::bare_project(project);
            Ok(self.engine.connect()?.query_row(sql, [number], |row| row.get(0))?)
        };
        Ok(count()?)
    }
}
