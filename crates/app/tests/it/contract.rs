//! `docs/contract`: what clients rely on, tried on the real binary over HTTP.

mod browsers;
mod connections;
mod ingestion;
mod limits;
mod operating;
mod reading;
mod sources;
