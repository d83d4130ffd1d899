//! The embedded event store: DuckDB for events, an LSM index for recent ids and user numbers.
