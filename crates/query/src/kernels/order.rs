//! What rows have in common: their order.

use super::KernelError;

/// Events of one actor at one instant, or counted over an interval (then `time_micros` is any instant of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountRow {
    /// The actor's number.
    pub actor: u32,
    /// Events that the row stands for; 0 counts as no event.
    pub count: u32,
    /// Microseconds since the epoch.
    pub time_micros: i64,
}

/// Watches that rows come by actor, then time.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Option<(u32, i64)>,
}

impl Order {
    /// Takes the next row; `true` when it begins another actor than the row before.
    #[inline]
    pub(super) fn admit(&mut self, actor: u32, time_micros: i64) -> Result<bool, KernelError> {
        if let Some((last_actor, last_time_micros)) = self.last {
            if actor == last_actor && time_micros >= last_time_micros {
                self.last = Some((actor, time_micros));
                return Ok(false);
            }
            if actor <= last_actor {
                return Err(KernelError::OutOfOrder {
                    actor,
                    time_micros,
                    previous_actor: last_actor,
                    previous_time_micros: last_time_micros,
                });
            }
        }
        self.last = Some((actor, time_micros));
        Ok(true)
    }
}
