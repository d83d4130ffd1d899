//! The suite of event stores on DuckDB, and what only this store promises.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod it {
    pub mod ahead;
    pub mod compaction;
    pub mod harness;
    pub mod image;
    pub mod kill;
    pub mod reading;
    pub mod recovery;
    pub mod suite;
}
