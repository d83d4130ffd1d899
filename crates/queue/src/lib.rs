//! The event queue port, the embedded durable queue, and the one in Redis that several servers share.
//!
//! The promise: when [`EventQueue::append`] has returned, its records survive `kill -9` and a power cut, and every one of them
//! is delivered until it is acknowledged or dead-lettered. Delivery is at least once; the store makes it exactly once.

pub mod absent;
pub mod embedded;
#[cfg(feature = "redis")]
pub mod fallback;
pub mod port;
pub mod record;
pub mod records;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(feature = "redis")]
pub use self::{
    fallback::FallbackQueue,
    redis::{RedisAddress, RedisOptions, RedisQueue},
};
pub use absent::AbsentQueue;
pub use embedded::{EmbeddedOptions, EmbeddedQueue, OpenError};
pub use port::{DeadLetter, Delivery, EventQueue, Position, QueueError, QueueStatus};
pub use record::{Payload, Record, RecordError};
pub use records::{IntoRecords, RecordRef, Records};
