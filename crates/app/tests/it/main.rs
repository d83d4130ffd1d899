//! The real binary, tried from outside.

mod bench;
mod chaos;
mod commands;
mod contract;
mod crash;
mod dead_letters;
mod first_start;
mod fuzz;
mod harness;
mod moving;
mod operators;
mod password;
mod real_input;
mod replica;
mod roles;
mod same_answers;
mod tidy;
mod usage;
