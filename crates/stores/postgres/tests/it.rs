//! The suites on PostgreSQL, and what only this store promises.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod it {
    pub mod harness;
    pub mod meta;
    pub mod months;
    pub mod reading;
    pub mod replica;
    pub mod suite;
    pub mod tls;
    pub mod together;
}
