//! Measures this machine against the bars of the design: ours and the ceiling in the same run, by turns, several rounds, medians.
//!
//! Servers are child processes of this executable with data in temporary directories and free loopback ports; the load comes from
//! this process, over plain sockets, so that as little as possible of the shared processors is spent on making it.

pub mod bare;
pub mod children;
pub mod load;
pub mod payload;
pub mod report;
pub mod stats;
