use testkit::{clock::FixedClock, suites::store::now};

use super::*;

fn open(options: DuckdbOptions) -> (tempfile::TempDir, DuckdbStore) {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(FixedClock::at(now()));
    let store = DuckdbStore::open(directory.path(), options, clock).expect("opens");
    (directory, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_given_up_is_ready_again_though_nobody_writes() {
    // No checkpoint in a quiet moment helps.
    let (_directory, store) = open(DuckdbOptions {
        checkpoint_quiet: Duration::MAX,
        checkpoint_interval: Duration::from_secs(3_600),
        ..DuckdbOptions::default()
    });
    store.shared.report_broken();
    store.shared.set_trouble(Some("the database was given up".to_owned()));
    // Many at once must not take the places of those who wait for an answer.
    for _ in 0..100 {
        assert!(store.check().await.is_err() || store.shared.trouble().is_none());
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.check().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        store.reclaim(true).await.map(drop).map_err(|error| error.to_string()),
        Ok(())
    );
}
