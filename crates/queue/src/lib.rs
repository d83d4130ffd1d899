//! The event queue port and the embedded durable queue.
//!
//! The promise: when [`EventQueue::append`] has returned, its records survive `kill -9` and a power cut, and every one of them
//! is delivered until it is acknowledged or dead-lettered. Delivery is at least once; the store makes it exactly once.

pub mod embedded;
pub mod port;
pub mod record;
pub mod records;

pub use embedded::{EmbeddedOptions, EmbeddedQueue, OpenError};
pub use port::{DeadLetter, Delivery, EventQueue, Position, QueueError, QueueStatus};
pub use record::{Payload, Record, RecordError};
pub use records::{IntoRecords, RecordRef, Records};
