//! For tests: builders, fixed clock, suites that define a backend.
