//! What the operator's commands ask a running server, over a Unix socket beside the data.
//!
//! HTTP/1.1 with JSON: `GET /status`, `POST /import`, `POST /process`, `POST /cleanup`, `GET /export`. The same engine answers when no
//! server runs: the command starts it, asks itself and stops it again.

mod export;
pub mod http;
pub mod types;
