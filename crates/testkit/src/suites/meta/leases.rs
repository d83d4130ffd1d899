//! The first start, and leases: what several processes do at once.
#![expect(missing_docs, reason = "the name of a test says it all")]

use std::{sync::Arc, time::Duration};

use model::Project;
use store::{Lease, MetaStore};

use super::{Handles, person, project};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);
/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(50);
const NAME: &str = "scheduler";

pub async fn of_many_first_starts_one_makes_a_project_and_a_person(handles: Handles) {
    let mut tasks = Vec::new();
    for number in 0..12 {
        let store = Arc::clone(if number % 2 == 0 {
            &handles.first
        } else {
            &handles.second
        });
        tasks.push(tokio::spawn(async move {
            // The same address for all, as it is for servers; a conflict would be an error.
            let (project, person) = (project(&format!("first {number}")), person("admin@localhost"));
            let made = store.create_first(&project, &person).await.unwrap();
            made.then_some((project, person))
        }));
    }
    let mut made = Vec::new();
    for task in tasks {
        made.extend(task.await.unwrap());
    }
    let (projects, people): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    assert_eq!(projects.len(), 1, "exactly one did it");
    assert_eq!(handles.second.projects().await.unwrap(), projects);
    assert_eq!(handles.first.people().await.unwrap(), people);
}

pub async fn a_first_start_finds_out_whatever_is_there(handles: Handles) {
    let store = handles.first;
    let (first, someone) = (project("first"), person("admin@localhost"));
    let there = project("there");
    store.create_project(&there).await.unwrap();
    assert!(
        !store.create_first(&first, &someone).await.unwrap(),
        "there is a project"
    );
    store.delete_project(there.id).await.unwrap();
    let other = person("other@example.com");
    store.create_person(&other).await.unwrap();
    assert!(
        !store.create_first(&first, &someone).await.unwrap(),
        "there is a person"
    );
    assert_eq!(store.projects().await.unwrap(), Vec::<Project>::new());
    store.delete_person(other.id).await.unwrap();
    let before = store.version().await.unwrap();
    assert!(store.create_first(&first, &someone).await.unwrap(), "empty again");
    assert_ne!(handles.second.version().await.unwrap(), before);
}

async fn take(store: &Arc<dyn MetaStore>, holder: &str, duration: Duration) -> (String, u64) {
    let Lease { holder, term, .. } = store.take_lease(NAME, holder, duration).await.unwrap();
    (holder, term)
}

fn has(holder: &str, term: u64) -> (String, u64) {
    (holder.to_owned(), term)
}

pub async fn a_lease_has_one_holder_until_it_ends(handles: Handles) {
    let (ours, theirs) = (handles.first, handles.second);
    assert_eq!(ours.lease(NAME).await.unwrap(), None);
    assert_eq!(take(&ours, "a", LONG).await, has("a", 1));
    assert_eq!(take(&theirs, "b", LONG).await, has("a", 1), "b is told who has it");
    assert_eq!(take(&ours, "a", LONG).await, has("a", 1), "renewed");
    let seen = theirs.lease(NAME).await.unwrap().unwrap();
    assert_eq!((seen.holder.as_str(), seen.term), ("a", 1));
    assert!(seen.expires_in <= LONG && seen.expires_in > LONG / 2, "{seen:?}");
    theirs.end_lease(NAME, "b").await.unwrap();
    assert_eq!(take(&theirs, "b", LONG).await, has("a", 1), "only its holder ends it");
    ours.end_lease(NAME, "a").await.unwrap();
    assert_eq!(theirs.lease(NAME).await.unwrap(), None);
    assert_eq!(take(&theirs, "b", LONG).await, has("b", 2));
    assert_eq!(take(&ours, "a", LONG).await, has("b", 2));
    let other = ours.take_lease("another", "a", LONG).await.unwrap();
    assert_eq!((other.holder.as_str(), other.term), ("a", 1), "names are apart");
}

pub async fn a_lease_that_is_not_renewed_runs_out(handles: Handles) {
    let (ours, theirs) = (handles.first, handles.second);
    assert_eq!(take(&ours, "a", SHORT).await, has("a", 1));
    // As long as it takes: only that it ends is promised here.
    while ours.lease(NAME).await.unwrap().is_some() {
        tokio::time::sleep(SHORT / 5).await;
    }
    assert_eq!(take(&theirs, "b", SHORT).await, has("b", 2));
    while take(&ours, "a", LONG).await != has("a", 3) {
        tokio::time::sleep(SHORT / 5).await;
    }
    assert_eq!(take(&theirs, "b", SHORT).await, has("a", 3));
    // Its own lease that had run out is a new one: something may have happened in between.
    ours.end_lease(NAME, "a").await.unwrap();
    assert_eq!(take(&ours, "a", LONG).await, has("a", 4));
}

pub async fn of_many_that_take_a_lease_at_once_one_gets_it(handles: Handles) {
    for round in 1..=10 {
        let mut tasks = Vec::new();
        for number in 0..8 {
            let store = Arc::clone(if number % 2 == 0 {
                &handles.first
            } else {
                &handles.second
            });
            tasks.push(tokio::spawn(async move {
                let me = format!("process {number}");
                let lease = take(&store, &me, LONG).await;
                (lease.0 == me, lease)
            }));
        }
        let (mut winners, mut told) = (0, Vec::new());
        for task in tasks {
            let (won, lease) = task.await.unwrap();
            winners += usize::from(won);
            told.push(lease);
        }
        told.dedup();
        assert_eq!((winners, told.len(), told[0].1), (1, 1, round), "{told:?}");
        handles.first.end_lease(NAME, &told[0].0).await.unwrap();
    }
}

pub async fn leases_move_no_version(handles: Handles) {
    let before = handles.first.version().await.unwrap();
    take(&handles.first, "a", LONG).await;
    handles.first.end_lease(NAME, "a").await.unwrap();
    assert_eq!(handles.second.version().await.unwrap(), before);
}
