//! What the index promises: claims for the window and not for ever, numbers dense and never given twice, all of it after reopening.

use std::cell::Cell;

use tempfile::TempDir;

use super::*;

const STORE: Identity = Identity {
    store: Uuid::from_u128(1),
    session: Uuid::from_u128(2),
};
const QUEUE: Uuid = Uuid::from_u128(0x1234_5678_9abc);

fn day(number: i64) -> Timestamp {
    let start: Timestamp = "2026-01-15T12:00:00Z".parse().unwrap();
    start.saturating_add_seconds(number * 86_400)
}

fn id(number: u128) -> EventId {
    EventId(Uuid::from_u128(number))
}

fn at(position: u64) -> Owner {
    Owner::delivery(QUEUE, position)
}

/// An index that belongs to [`STORE`].
fn create(directory: &TempDir) -> Index {
    let mut index = Index::create(&directory.path().join("index")).unwrap();
    index.adopt(STORE, Uuid::nil()).unwrap();
    index
}

fn open(directory: &TempDir, identity: Identity, next_numbers: &[(u32, u32)]) -> Option<Index> {
    let next_numbers = next_numbers.iter().copied().collect();
    Index::open(&directory.path().join("index"), identity, &next_numbers, 0).unwrap()
}

fn reopen(directory: &TempDir, index: Index) -> Index {
    drop(index);
    open(directory, STORE, &[]).expect("whole, and of this store")
}

/// Claims in a batch of its own, as the owner of a position; everything up to `stored` is in the database.
fn claim(index: &mut Index, number: u128, received: i64, now: i64, position: u64, stored: u64) -> bool {
    let mut changes = index.begin(1);
    let is_stored = |owner: Owner| owner.position <= stored;
    let is_mine = index
        .claim(
            &mut changes,
            id(number),
            day(received),
            day(now),
            at(position),
            is_stored,
        )
        .unwrap();
    index.commit(&mut changes).unwrap();
    is_mine
}

fn number(index: &mut Index, project: u32, user: &str) -> u32 {
    let mut changes = index.begin(1);
    let number = index.number(&mut changes, project, user).unwrap();
    index.commit(&mut changes).unwrap();
    number
}

fn epochs(index: &Index) -> Vec<i64> {
    index.claims.keys().copied().collect()
}

#[test]
fn owners_keep_every_position_in_few_bytes() {
    for (position, bytes) in [
        (0, 4),
        (1, 5),
        (255, 5),
        (256, 6),
        (0x0100_0000, 8),
        (u64::from(u32::MAX), 8),
        (u64::MAX, 12),
    ] {
        let owner = at(position);
        assert_eq!(owner.to_bytes().len(), bytes, "{position}");
        assert_eq!(Owner::from_bytes(&owner.to_bytes()).unwrap(), owner);
    }
    for damaged in [&[][..], &[1, 2, 3], &[0; 13]] {
        assert!(
            matches!(Owner::from_bytes(damaged), Err(Failure::Damaged(_))),
            "{damaged:?}"
        );
    }
    // The owner of the past is nobody's: no queue folds to 0.
    for queue in [Uuid::nil(), Uuid::max(), Uuid::from_u128(5 << 64 | 5), QUEUE] {
        assert_ne!(fold(queue), Owner::PAST.queue, "{queue}");
    }
}

#[test]
fn a_claim_counts_once_its_event_is_stored() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    assert!(claim(&mut index, 1, 0, 0, 5, 4));
    assert!(claim(&mut index, 1, 0, 0, 5, 4), "the same delivery again");
    assert!(
        claim(&mut index, 1, 0, 0, 6, 4),
        "the first never made it into the database"
    );
    assert!(!claim(&mut index, 1, 0, 0, 7, 6), "the second one did");
    let mut index = reopen(&directory, index);
    assert!(!claim(&mut index, 1, 0, 0, 8, 6));
    assert!(
        claim(&mut index, 1, 0, 0, 6, 6),
        "its own position is asked about elsewhere"
    );
    assert!(claim(&mut index, 2, 0, 0, 9, 6), "another id");
}

#[test]
fn changes_count_for_nothing_until_they_are_committed() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    let mut changes = index.begin(1);
    assert!(
        index
            .claim(&mut changes, id(1), day(0), day(0), at(1), |_| true)
            .unwrap()
    );
    assert_eq!(index.number(&mut changes, 0, "ann").unwrap(), 0);
    assert_eq!(changes.claimed(), [(epoch_of(day(0)), id(1))]);
    assert_eq!(changes.next_numbers(), [(0, 1)]);
    drop(changes);
    index.reload_numbers().unwrap();
    assert_eq!(number(&mut index, 0, "bob"), 0, "the number is free again");
    assert!(claim(&mut index, 1, 0, 0, 2, 9));
    let mut index = reopen(&directory, index);
    assert_eq!(number(&mut index, 0, "ann"), 1);
}

#[test]
fn a_released_claim_is_free() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    let mut changes = index.begin(1);
    for event in 1..=2 {
        assert!(
            index
                .claim(&mut changes, id(event), day(0), day(0), at(1), |_| true)
                .unwrap()
        );
    }
    index.commit(&mut changes).unwrap();
    let released: Vec<_> = changes.claimed()[..1].to_vec();
    index.release(&released).unwrap();
    let mut index = reopen(&directory, index);
    assert!(claim(&mut index, 1, 0, 0, 2, 9));
    assert!(!claim(&mut index, 2, 0, 0, 3, 9), "the other one stays");
}

#[test]
fn a_claim_is_known_for_the_window_from_any_day() {
    for first in 0..REMEMBERED_DAYS {
        let directory = TempDir::new().unwrap();
        let mut index = create(&directory);
        assert!(claim(&mut index, 1, first, first, 1, 0));
        let last = first + limits::IDEMPOTENCY_WINDOW_DAYS;
        for now in first..=last {
            assert!(claim(&mut index, 100 + now.unsigned_abs() as u128, now, now, 2, 1));
            assert!(!claim(&mut index, 1, now, now, 3, 1), "of day {first}, on day {now}");
        }
        assert!(
            !claim(&mut index, 1, first - 1, last, 4, 1),
            "a clock that is a day behind"
        );
        assert!(
            !claim(&mut index, 1, last + 1, last, 5, 1),
            "a clock that is a day ahead"
        );
    }
}

#[test]
fn claims_expire_and_their_room_is_given_back() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    assert!(claim(&mut index, 1, 0, 0, 1, 0));
    let first = epoch_of(day(0));
    for now in 1..=40 {
        assert!(claim(&mut index, 100 + now as u128, now, now, 2, 1));
        assert!(index.claims.len() <= 3, "day {now}: {:?}", epochs(&index));
    }
    let last = epoch_of(day(40));
    assert!(
        last >= first + 4 && epochs(&index) == [last - 1, last],
        "{:?}",
        epochs(&index)
    );
    let mut index = reopen(&directory, index);
    assert_eq!(epochs(&index), [last - 1, last]);
    assert!(claim(&mut index, 1, 40, 40, 3, 9), "after the window it is a new event");
}

#[test]
fn neither_a_backlog_nor_a_clock_ahead_makes_claims_forgotten() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    assert!(claim(&mut index, 1, 0, 0, 1, 0));
    // Received a year ahead, by a clock that is wrong; then a backlog of a month ago.
    assert!(claim(&mut index, 2, 365, 0, 2, 1));
    assert!(claim(&mut index, 3, -30, 0, 3, 2));
    let mut index = reopen(&directory, index);
    for event in 1..=3 {
        let received = [0, 365, -30][event as usize - 1];
        assert!(!claim(&mut index, event, received, 0, 9, 3), "event {event}");
    }
    // The server's own clock ahead while a backlog comes in: what is as old as the backlog stays.
    assert!(claim(&mut index, 4, 20, 365, 4, 3));
    assert!(!claim(&mut index, 4, 20, 365, 5, 4));
}

#[test]
fn users_are_numbered_densely_and_for_ever() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    let user = |number: u32| format!("user {number}");
    for expected in 0..50 {
        assert_eq!(number(&mut index, 3, &user(expected)), expected);
        assert_eq!(number(&mut index, 3, &user(expected / 2)), expected / 2);
    }
    // The numbers of another project are its own; 768 begins with the bytes of 3 in the wrong order.
    for project in [0, 4, 768, u32::MAX] {
        assert_eq!(number(&mut index, project, &user(7)), 0);
    }
    for odd in ["", "\0", "é", &"x".repeat(60_000)] {
        let given = number(&mut index, 5, odd);
        assert_eq!(number(&mut index, 5, odd), given);
    }
    let mut index = reopen(&directory, index);
    for expected in 0..50 {
        assert_eq!(number(&mut index, 3, &user(expected)), expected);
    }
    assert_eq!(number(&mut index, 3, "new"), 50);
    assert_eq!(number(&mut index, 5, "new"), 4);
}

#[test]
fn numbers_outlive_the_memory_of_them() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    for expected in 0..30 {
        assert_eq!(number(&mut index, 0, &expected.to_string()), expected);
        // Room for so few that most are forgotten.
        index.numbers.trim(8);
        let seen_again = expected / 3;
        assert_eq!(number(&mut index, 0, &seen_again.to_string()), seen_again);
    }
    index.numbers.trim(0);
    index.numbers.trim(0);
    for expected in 0..30 {
        assert_eq!(number(&mut index, 0, &expected.to_string()), expected);
    }
}

#[test]
fn numbers_of_forgotten_users_are_not_given_again() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    for (project, user) in [(1, "ann"), (1, "bob"), (2, "ann")] {
        number(&mut index, project, user);
    }
    index.forget_users(1).unwrap();
    let mut index = reopen(&directory, index);
    assert_eq!(number(&mut index, 1, "ann"), 2);
    assert_eq!(number(&mut index, 2, "ann"), 0, "of another project");
}

#[test]
fn a_project_that_is_full_is_refused() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    index
        .restore_users(&mut std::iter::empty(), &HashMap::from([(0, u32::MAX)]))
        .unwrap();
    let mut changes = index.begin(1);
    assert!(matches!(
        index.number(&mut changes, 0, "one more"),
        Err(Failure::Refused(_))
    ));
    assert_eq!(index.number(&mut changes, 1, "one more").unwrap(), 0);
}

#[test]
fn an_index_of_another_time_or_store_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    number(&mut index, 0, "ann");
    let later = Identity {
        session: Uuid::from_u128(3),
        ..STORE
    };
    index.adopt(later, STORE.session).unwrap();
    drop(index);
    // A crash between writing the identity here and there leaves the database one behind.
    for (session, is_known) in [(2, true), (3, true), (1, false), (4, false)] {
        let session = Uuid::from_u128(session);
        let found = open(&directory, Identity { session, ..STORE }, &[]);
        assert_eq!(found.is_some(), is_known, "session {session}");
    }
    let store = Uuid::from_u128(9);
    assert!(open(&directory, Identity { store, ..later }, &[]).is_none());
    for (next, is_known) in [(0, true), (1, true), (2, false)] {
        let found = open(&directory, later, &[(0, next)]);
        assert_eq!(found.is_some(), is_known, "the database gave numbers below {next}");
    }
    assert!(
        open(&directory, later, &[(1, 1)]).is_none(),
        "a project the index never saw"
    );
    assert!(open(&TempDir::new().unwrap(), later, &[]).is_none(), "none at all");
    assert!(
        Index::create(&directory.path().join("index")).unwrap().numbers.next(0) == 0,
        "made anew it is empty"
    );
    assert!(
        open(&directory, later, &[]).is_none(),
        "and nobody's until it is adopted"
    );
}

#[test]
fn an_index_that_lost_its_last_changes_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("index");
    let mut index = create(&directory);
    assert!(claim(&mut index, 1, 0, 0, 1, 0));
    let mut changes = index.begin(1);
    index
        .claim(&mut changes, id(2), day(0), day(0), at(2), |_| true)
        .unwrap();
    let mark = index.commit(&mut changes).unwrap().expect("something was changed");
    let mut nothing = index.begin(1);
    assert_eq!(index.commit(&mut nothing).unwrap(), None, "nothing to do is free");
    drop((index, changes, nothing));
    for (known, is_whole) in [(0, true), (mark, true), (mark + 1, false)] {
        let found = Index::open(&path, STORE, &HashMap::new(), known).unwrap();
        assert_eq!(found.is_some(), is_whole, "the database knows of {known} changes");
    }
    // Made anew it goes on from what the database knows.
    let mut index = Index::create(&path).unwrap();
    index.restore_mark(mark).unwrap();
    index.adopt(STORE, Uuid::nil()).unwrap();
    let mut changes = index.begin(1);
    index
        .claim(&mut changes, id(3), day(0), day(0), at(3), |_| true)
        .unwrap();
    assert_eq!(index.commit(&mut changes).unwrap(), Some(mark + 1));
}

#[test]
fn a_restored_index_knows_the_stored_events_and_users() {
    const EVENTS: u128 = REBUILD_BATCH as u128 + 5;
    let directory = TempDir::new().unwrap();
    let mut index = create(&directory);
    let read = Cell::new(0);
    let mut users = (0..EVENTS as u32).map(|user| Ok((1, format!("user {user}"), user * 2)));
    index
        .restore_users(&mut users, &HashMap::from([(1, 3), (2, 7)]))
        .unwrap();
    let mut ids = (0..EVENTS).map(|number| {
        read.set(read.get() + 1);
        Ok((id(number), day(number as i64 % 20)))
    });
    index.restore_claims(&mut ids).unwrap();
    assert_eq!(read.get(), EVENTS);
    let mut index = reopen(&directory, index);
    for number in [0, 1, 9_999, 10_000, EVENTS - 1] {
        let received = number as i64 % 20;
        // Whoever comes: who brought it is not known any more.
        assert!(!claim(&mut index, number, received, 20, 1, 0), "event {number}");
    }
    assert!(claim(&mut index, EVENTS, 20, 20, 1, 0));
    for user in [0, 1, EVENTS as u32 - 1] {
        assert_eq!(number(&mut index, 1, &format!("user {user}")), user * 2);
    }
    assert_eq!(
        number(&mut index, 1, "new"),
        EVENTS as u32 * 2 - 1,
        "above every one there is"
    );
    assert_eq!(number(&mut index, 2, "new"), 7, "and above every one that was");
    let broken = &mut std::iter::once(Err(Failure::Fatal("gone".to_owned())));
    assert!(matches!(index.restore_claims(broken), Err(Failure::Fatal(_))));
}
