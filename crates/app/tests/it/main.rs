//! The real binary, tried from outside.

mod bench;
mod commands;
mod contract;
mod crash;
mod dead_letters;
mod fuzz;
mod harness;
mod real_input;
mod tidy;
mod usage;
