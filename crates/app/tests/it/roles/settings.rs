//! A change of settings, made beside one process, is in force in every process within two seconds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::members::{Group, Member};
use crate::harness::{PATIENCE, wait_until};

/// What the contract promises.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

/// Waits until all members answer with `status`; fails unless they do within the time that is promised.
fn all_answer(members: &[Member], what: &str, status: u16, ask: impl Fn(&Member) -> u16) {
    let changed = Instant::now();
    for member in members {
        loop {
            // By the time of the question: the answer is of that moment or a later one.
            let asked = changed.elapsed();
            let found = ask(member);
            if found == status {
                assert!(asked <= IN_FORCE_WITHIN, "{what}: {asked:?} until it was in force");
                break;
            }
            assert!(asked < PATIENCE, "{what}: still {found}, not {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("a text")
}

#[test]
fn keys_and_settings_change_in_every_process_within_two_seconds() {
    let Some(group) = Group::new() else { return };
    let members = [group.start("api,worker"), group.start("api,worker")];
    let project = members[0].first_project().expect("the first start").clone();
    let id = text(&project, "id");
    let event = json!({"event_name": "a", "event_source": "shop"});
    let send = |key: &str| {
        let key = key.to_owned();
        let event = event.clone();
        move |member: &Member| member.send(&key, &event)
    };
    let read = |key: &str| {
        let key = key.to_owned();
        move |member: &Member| member.request("GET", "/api/events/names/", &key, "").status
    };
    let (mut public, mut private) = (
        text(&project, "public_api_key").to_owned(),
        text(&project, "private_api_key").to_owned(),
    );
    // Both directions: made beside the one, then beside the other.
    for member in &members {
        let rotated = member.command(&["project", "rotate-keys", id, "--public", "--private"]);
        all_answer(
            &members,
            "the new public key",
            202,
            send(text(&rotated, "public_api_key")),
        );
        all_answer(&members, "the old public key", 401, send(&public));
        all_answer(
            &members,
            "the new private key",
            200,
            read(text(&rotated, "private_api_key")),
        );
        all_answer(&members, "the old private key", 401, read(&private));
        public = text(&rotated, "public_api_key").to_owned();
        private = text(&rotated, "private_api_key").to_owned();

        member.command(&["project", "update", id, "--is-active", "false"]);
        all_answer(&members, "a project that is switched off", 401, send(&public));
        member.command(&["project", "update", id, "--is-active", "true"]);
        all_answer(&members, "a project that is switched on", 202, send(&public));

        member.command(&["project", "update", id, "--rate-limit-per-minute", "1"]);
        let two = json!([event, event]).to_string();
        let send_two = |member: &Member| member.request("POST", "/api/events/batch/", &public, &two).status;
        all_answer(&members, "a limit", 429, send_two);
        member.command(&["project", "update", id, "--rate-limit-per-minute", "none"]);
        all_answer(&members, "no limit", 202, send_two);

        let sources = wait_until("the source", || {
            let sources = member.command(&["source", "list", "--project", id]);
            let found = sources[0]["id"].as_str().map(str::to_owned);
            found.ok_or(sources.to_string())
        });
        member.command(&["source", "update", &sources, "--is-active", "false"]);
        all_answer(&members, "a source that is switched off", 400, send(&public));
        member.command(&["source", "update", &sources, "--is-active", "true"]);
        all_answer(&members, "a source that is switched on", 202, send(&public));
    }
}
