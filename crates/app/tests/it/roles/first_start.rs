//! Several processes at their first start on one empty database.

use super::members::{Group, Member};
use crate::harness::wait_until;

#[test]
fn of_six_processes_that_start_at_once_one_makes_and_tells_the_first_project() {
    let Some(group) = Group::new() else { return };
    let starting: Vec<_> = [
        "api,worker,scheduler,dashboard",
        "api,worker",
        "api,worker,scheduler,dashboard",
        "api",
        "scheduler",
        "dashboard",
    ]
    .map(|roles| group.begin(roles))
    .into();
    let members: Vec<Member> = starting.into_iter().map(|starting| starting.finish()).collect();
    let told: Vec<_> = members.iter().filter_map(Member::first_project).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let count = |table: &str| {
        group
            .database
            .sql(&format!("select count(*) from {table}"))
            .trim()
            .to_owned()
    };
    assert_eq!((count("projects"), count("people")), ("1".to_owned(), "1".to_owned()));
    // What was told is what there is, everywhere.
    let key = told[0]["private_api_key"].as_str().expect("a key");
    for member in members.iter().filter(|member| member.first_project().is_none()) {
        if member.request("GET", "/api/docs", "", "").status == 404 {
            continue;
        }
        wait_until("the first project's key", || {
            let answer = member.request("GET", "/api/events/names/", key, "");
            (answer.status == 200).then_some(()).ok_or(answer.text)
        });
    }
    let later = group.start("api");
    assert!(later.first_project().is_none(), "{}", later.document);
}
