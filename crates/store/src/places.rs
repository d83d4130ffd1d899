//! Places for reads: few at once, and never all of them for one project.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use model::{ProjectId, limits};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::StoreError;

/// Who may read at once.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    probe: Arc<Semaphore>,
    /// Of the projects that read now.
    by_project: Mutex<HashMap<ProjectId, Weak<Semaphore>>>,
    wait: Duration,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_project: Option<OwnedSemaphorePermit>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits::QUERY_CONCURRENCY_MAX)),
            probe: Arc::new(Semaphore::new(1)),
            by_project: Mutex::default(),
            wait: limits::QUERY_PLACE_WAIT,
        }
    }
}

impl Places {
    /// Waits for a place, in the order of asking.
    pub async fn take(&self, project: Option<ProjectId>) -> Result<Place, StoreError> {
        let waited = tokio::time::timeout(self.wait, async {
            // Whoever waits for its project's share holds nothing that others wait for.
            let of_project = match project {
                Some(project) => Some(self.share(project).acquire_owned().await?),
                None => None,
            };
            let of_all = Arc::clone(&self.all).acquire_owned().await?;
            Ok(Place {
                _of_all: of_all,
                _of_project: of_project,
            })
        });
        match waited.await {
            Ok(place) => place.map_err(closed),
            Err(_) => Err(StoreError::Overloaded(self.wait)),
        }
    }

    /// The one place that is kept for probes; those that wait for it wait for a moment only.
    pub async fn take_for_probe(&self) -> Result<Place, StoreError> {
        let probe = Arc::clone(&self.probe).acquire_owned().await.map_err(closed)?;
        Ok(Place {
            _of_all: probe,
            _of_project: None,
        })
    }

    /// Waits until nobody reads.
    pub async fn take_all(&self) -> Result<(), StoreError> {
        let all = u32::try_from(limits::QUERY_CONCURRENCY_MAX).unwrap_or(u32::MAX);
        let _probe = self.probe.acquire().await.map_err(closed)?;
        let _all = self.all.acquire_many(all).await.map_err(closed)?;
        Ok(())
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        self.all.close();
        self.probe.close();
    }

    fn share(&self, project: ProjectId) -> Arc<Semaphore> {
        // Every change is one insertion or removal.
        let mut shares = self.by_project.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&project).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(limits::QUERY_CONCURRENCY_PER_PROJECT_MAX));
        shares.insert(project, Arc::downgrade(&share));
        share
    }
}

fn closed(_: AcquireError) -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(number: u128) -> ProjectId {
        ProjectId(uuid::Uuid::from_u128(number))
    }

    fn places() -> Places {
        Places {
            wait: Duration::from_millis(20),
            ..Places::default()
        }
    }

    async fn take_all_of(places: &Places, number: u128) -> Vec<Place> {
        let mut taken = Vec::new();
        while let Ok(place) = places.take(Some(project(number))).await {
            taken.push(place);
        }
        taken
    }

    #[tokio::test]
    async fn one_project_leaves_a_place_for_others() {
        let places = places();
        let mut one = take_all_of(&places, 1).await;
        assert_eq!(one.len(), limits::QUERY_CONCURRENCY_MAX - 1);
        let other = take_all_of(&places, 2).await;
        assert_eq!(other.len(), 1);
        let full = places.take(None).await.map(drop).unwrap_err();
        assert!(matches!(full, StoreError::Overloaded(_)), "{full}");
        one.pop();
        drop(places.take(None).await.unwrap());
        assert_eq!(take_all_of(&places, 2).await.len(), 1);
        drop((one, other));
        assert_eq!(take_all_of(&places, 1).await.len(), limits::QUERY_CONCURRENCY_MAX - 1);
    }

    #[tokio::test]
    async fn a_probe_waits_for_no_read() {
        let places = places();
        let _taken = (take_all_of(&places, 1).await, take_all_of(&places, 2).await);
        drop(places.take_for_probe().await.unwrap());
        drop(places.take_for_probe().await.unwrap());
    }

    #[tokio::test]
    async fn nobody_is_remembered_who_does_not_read() {
        let places = places();
        for number in 1..50 {
            drop(places.take(Some(project(number))).await.unwrap());
        }
        assert_eq!(places.by_project.lock().unwrap().len(), 1);
    }
}
