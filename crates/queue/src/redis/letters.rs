//! Dead letters.

use model::{Timestamp, limits};

use super::{
    Core,
    entry::{self, Entry},
    link::Failure,
    scripts,
};
use crate::{DeadLetter, Delivery, Position};

impl Core {
    /// Sets a record aside; it waits on until it is acknowledged.
    pub(super) async fn set_aside(&self, delivery: &Delivery, reason: &str) -> Result<(), Failure> {
        let keys = &self.keys;
        let keys = [&*keys.state, &keys.dead, &keys.dead_index];
        let mut command = scripts::call(&self.scripts.dead_letter, &keys);
        let record = &delivery.record;
        let mut bytes = Vec::new();
        entry::write(
            &mut bytes,
            crate::RecordRef {
                project_id: record.project_id,
                received_at: record.received_at,
                events: record.events,
                payload: &record.payload,
            },
        );
        command
            .arg(delivery.position.0)
            .arg(&reason[..reason.floor_char_boundary(limits::DEAD_LETTER_REASON_BYTES_MAX)])
            .arg(delivery.attempt)
            .arg(self.clock.now().as_micros())
            .arg(bytes);
        // 0 where an earlier call had done it and its answer was lost.
        let _: u64 = self.control.query(&command, limits::REDIS_ANSWER_TIMEOUT).await?;
        Ok(())
    }

    pub(super) async fn dead_letters(&self, from: Position, limit: usize) -> Result<Vec<DeadLetter>, Failure> {
        let mut index = redis::cmd("ZRANGEBYSCORE");
        index
            .arg(&self.keys.dead_index)
            .arg(from.0)
            .arg("+inf")
            .arg("LIMIT")
            .arg(0)
            .arg(limit);
        let ids: Vec<String> = self.control.query(&index, limits::REDIS_ANSWER_TIMEOUT).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in &ids {
            pipeline.cmd("XRANGE").arg(&self.keys.dead).arg(id).arg(id);
        }
        let found: Vec<Vec<Entry>> = self.control.pipeline(&pipeline, limits::REDIS_ANSWER_TIMEOUT).await?;
        Ok(found.into_iter().flatten().filter_map(letter).collect())
    }

    pub(super) async fn discard_dead_letters(&self, positions: &[Position]) -> Result<u64, Failure> {
        let mut gone = 0;
        for positions in positions.chunks(limits::REDIS_ACKNOWLEDGE_RECORDS) {
            let mut command = scripts::call(&self.scripts.discard, &[&self.keys.dead, &self.keys.dead_index]);
            for position in positions {
                command.arg(position.0);
            }
            gone += self
                .control
                .query::<u64>(&command, limits::REDIS_ANSWER_TIMEOUT)
                .await?;
        }
        Ok(gone)
    }
}

fn letter(mut entry: Entry) -> Option<DeadLetter> {
    Some(DeadLetter {
        position: Position(entry.id.1),
        reason: String::from_utf8_lossy(&entry.take("reason")?).into_owned(),
        attempts: entry.parse("attempts")?,
        dead_at: Timestamp::from_micros(entry.parse("at")?)?,
        record: entry::read(entry.take("r")?)?,
    })
}
