//! The embedded queue from outside: the suite of every queue, and what only it promises.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

mod it {
    pub mod common;
    pub mod damage;
    pub mod embedded;
    #[cfg(feature = "redis")]
    pub mod fallback;
    pub mod faults;
    pub mod kill;
    pub mod model;
    pub mod record;
    #[cfg(feature = "redis")]
    pub mod redis;
    pub mod simulated;
}
