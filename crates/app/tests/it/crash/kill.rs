//! `kill -9` at random moments under load.

use std::time::Duration;

use rand::RngExt;
use serde_json::json;

use super::{
    journal::{Differences, settled_ledger, stored_ids},
    load::Clients,
};
use crate::harness::Server;

const CLIENTS: usize = 8;
/// Kills in the gate; `CRASH_TEST_KILLS` asks for more.
const KILLS: usize = 20;

#[test]
fn nothing_is_lost_or_doubled_when_the_server_is_killed() {
    let kills = std::env::var("CRASH_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS);
    let mut server = Server::start().without_rate_limit();
    let clients = Clients::start("client", CLIENTS, &[server.url.clone()], server.public_key());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..700)));
        server.kill_and_restart();
        clients.set_url(0, &server.url);
    }
    let (journal, _) = clients.stop();
    let ledger = settled_ledger(&server);
    assert_eq!(journal.compare(stored_ids(&server)), Differences::default());
    assert_eq!(ledger["stored"], json!(journal.len()), "{ledger}");
    assert!(
        journal.len() > kills * 10,
        "the test must have had something to lose: {}",
        journal.len()
    );
    println!(
        "{kills} kills, {} events promised and stored, ledger {ledger}",
        journal.len()
    );
}
