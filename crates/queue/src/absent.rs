//! The queue of a process that has none: one that neither takes events nor stores them, and has no Redis to ask.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{DeadLetter, Delivery, EventQueue, Position, QueueError, QueueStatus, Records};

/// Holds nothing, and takes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AbsentQueue;

#[async_trait]
impl EventQueue for AbsentQueue {
    fn id(&self) -> Uuid {
        Uuid::nil()
    }

    async fn append(&self, records: Records) -> Result<(), QueueError> {
        if records.is_empty() {
            return Ok(());
        }
        Err(QueueError::Unavailable(
            "this process has none: ask one with the role api or worker, or set REDIS_URL".to_owned(),
        ))
    }

    async fn read(&self, _: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        tokio::time::sleep(wait).await;
        Ok(Vec::new())
    }

    async fn acknowledge(&self, _: &[Position]) -> Result<(), QueueError> {
        Ok(())
    }

    async fn retry(&self, _: &[Position], _: Duration) -> Result<(), QueueError> {
        Ok(())
    }

    async fn dead_letter(&self, _: &Delivery, _: &str) -> Result<(), QueueError> {
        Ok(())
    }

    async fn dead_letters(&self, _: Position, _: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(Vec::new())
    }

    async fn discard_dead_letters(&self, _: &[Position]) -> Result<u64, QueueError> {
        Ok(0)
    }

    async fn status(&self) -> Result<QueueStatus, QueueError> {
        Ok(QueueStatus {
            note: Some("this process has no queue".to_owned()),
            ..QueueStatus::default()
        })
    }

    async fn check(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), QueueError> {
        Ok(())
    }
}
