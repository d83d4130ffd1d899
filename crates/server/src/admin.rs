//! What the operator's commands ask a running server, over a Unix socket beside the data.
//!
//! HTTP/1.1 with JSON: `GET /status`, `POST /import`, `POST /process`, `POST /cleanup`, `GET /export`, `GET /dead_letters`. The same engine answers when no
//! server runs: the command starts it, asks itself and stops it again.

mod export;
pub mod http;
mod letters;
pub mod types;
