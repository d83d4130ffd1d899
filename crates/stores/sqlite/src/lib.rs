//! The embedded metadata store: projects, sources and people in SQLite.
