//! The `simple-analytics` binary.
fn main() {}
