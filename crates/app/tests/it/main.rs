//! The real binary, tried from outside.

mod bench;
mod commands;
mod contract;
mod crash;
mod dead_letters;
mod first_start;
mod fuzz;
mod harness;
mod moving;
mod password;
mod real_input;
mod tidy;
mod usage;
