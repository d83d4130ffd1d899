//! The real binary, tried from outside.

mod commands;
mod contract;
mod crash;
mod harness;
mod tidy;
mod usage;
