//! The real binary, tried from outside.

mod contract;
mod crash;
mod harness;
