//! The holder's own view of its lease, by a clock that stands still until it is told.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::*;

const LEASE: Duration = limits::SCHEDULER_LEASE;

fn lease(holder: &str, term: u64) -> Lease {
    Lease {
        holder: holder.to_owned(),
        term,
        expires_in: LEASE,
    }
}

fn holding(term: u64) -> Lead {
    let lead = Lead::default();
    lead.learn(&lease(lead.name(), term), Instant::now() + LEASE);
    lead
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_held_until_it_runs_out_unless_it_is_renewed() {
    let lead = holding(3);
    tokio::time::advance(LEASE - Duration::from_millis(1)).await;
    assert_eq!(lead.term(), Some(3));
    lead.learn(&lease(lead.name(), 3), Instant::now() + LEASE);
    tokio::time::advance(LEASE - Duration::from_millis(1)).await;
    assert_eq!(lead.term(), Some(3));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(lead.term(), None);
    lead.learn(&lease("another", 4), Instant::now() + LEASE);
    assert_eq!(lead.term(), None);
}

#[tokio::test(start_paused = true)]
async fn work_is_not_begun_and_not_gone_on_with_without_the_lease() {
    let steps = AtomicU32::new(0);
    let work = || async {
        loop {
            steps.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let lead = holding(1);
    // Nobody renews it.
    assert_eq!(lead.while_held(1, work()).await, None::<()>);
    assert_eq!(steps.swap(0, Ordering::Relaxed), 6, "one for each second of the lease");
    assert_eq!(lead.while_held(1, work()).await, None);
    assert_eq!(steps.load(Ordering::Relaxed), 0, "not begun");

    // Lost while it works: it does not wait for the end of its time.
    let lead = holding(1);
    let lose = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        lead.learn(&lease("another", 2), Instant::now() + LEASE);
    };
    let (worked, ()) = tokio::join!(lead.while_held(1, work()), lose);
    assert_eq!((worked, steps.swap(0, Ordering::Relaxed)), (None, 2));

    // A later term of its own is another one: the settings that the work began with are old.
    let lead = holding(2);
    assert_eq!(lead.while_held(1, work()).await, None);
    assert_eq!(steps.load(Ordering::Relaxed), 0);
    assert_eq!(lead.while_held(2, async { 7 }).await, Some(7));
}

#[tokio::test(start_paused = true)]
async fn work_that_is_woken_after_a_standstill_does_not_take_a_step() {
    let lead = holding(1);
    let (wake, woken) = tokio::sync::oneshot::channel();
    let stepped = AtomicU32::new(0);
    let work = async {
        let _ = woken.await;
        stepped.fetch_add(1, Ordering::Relaxed);
    };
    let mut work = Box::pin(lead.while_held(1, work));
    assert!(futures::poll!(&mut work).is_pending());
    // The process stands still, then its work is ready before anything else has been looked at.
    tokio::time::advance(2 * LEASE).await;
    wake.send(()).unwrap();
    assert_eq!(work.await, None);
    assert_eq!(stepped.load(Ordering::Relaxed), 0);
}
