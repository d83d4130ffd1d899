//! The whole stack, one role a process.

use serde_json::{Value, json};
use testkit::{postgres::TestDatabase, redis_server::RedisServer};

use super::members::{Group, Member};
use crate::harness::wait_until;

const UP: bool = true;
const AWAY: bool = false;
const REQUIRED: bool = true;
const SPARED: bool = false;

/// Two servers that take events, two workers, a scheduler and a dashboard.
struct Stack {
    apis: [Member; 2],
    workers: [Member; 2],
    scheduler: Member,
    dashboard: Member,
    public: String,
    private: String,
}

impl Stack {
    fn start(group: &Group) -> Self {
        let apis = [group.start("api"), group.start("api")];
        let project = apis[0].first_project().expect("the first start");
        let key = |name: &str| project[name].as_str().expect("a key").to_owned();
        let (public, private) = (key("public_api_key"), key("private_api_key"));
        let id = project["id"].as_str().expect("an id");
        apis[0].command(&["project", "update", id, "--rate-limit-per-minute", "none"]);
        Self {
            workers: [group.start("worker"), group.start("worker")],
            scheduler: group.start("scheduler"),
            dashboard: group.start("dashboard"),
            apis,
            public,
            private,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Member> {
        self.apis
            .iter()
            .chain(&self.workers)
            .chain([&self.scheduler, &self.dashboard])
    }

    fn wait_for_events(&self, member: &Member, count: u64) {
        wait_for_events(member, &self.private, count);
    }

    fn wait_for_ready(&self, member: &Member, expected: (u16, Vec<(bool, bool)>)) {
        wait_until(&format!("{expected:?}"), || {
            let found = member.ready();
            (found == expected).then_some(()).ok_or_else(|| format!("{found:?}"))
        });
    }
}

/// Waits until a member reads so many events.
fn wait_for_events(member: &Member, key: &str, count: u64) {
    wait_until(&format!("{count} events"), || {
        let answer = member.request("GET", "/api/events/query/", key, "");
        let found = serde_json::from_str::<Value>(&answer.text).unwrap_or_default();
        (found["count"] == count).then_some(()).ok_or(answer.text)
    });
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn what_waits_on_the_disk_is_not_forgotten_when_the_roles_there_change() {
    let Some(group) = Group::new() else { return };
    let api = group.start("api");
    let project = api.first_project().expect("the first start");
    let key = |name: &str| project[name].as_str().expect("a key").to_owned();
    let (public, private) = (key("public_api_key"), key("private_api_key"));
    assert_eq!(api.send(&public, &json!({"event_name": "a"})), 202);
    let folder = api.remains();
    let redis = RedisServer::start("always");
    let group = group.on(&redis);
    let _worker = group.begin_in(folder, "worker").finish();
    wait_for_events(&group.start("dashboard"), &private, 1);
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn each_role_does_its_part_and_keeps_nothing_else() {
    let Some(group) = Group::new() else { return };
    let redis = RedisServer::start("always");
    let group = group.on(&redis);
    let stack = Stack::start(&group);
    for number in 0..10 {
        let event = json!({"event_name": "a", "event_id": number.to_string()});
        assert_eq!(stack.apis[number % 2].send(&stack.public, &event), 202);
    }
    for member in stack.apis.iter().chain([&stack.dashboard]) {
        stack.wait_for_events(member, 10);
    }
    // Nobody takes events, or answers, whose part it is not.
    let event = json!({"event_name": "a"});
    for member in stack.workers.iter().chain([&stack.scheduler, &stack.dashboard]) {
        assert_eq!(member.send(&stack.public, &event), 404);
        assert_eq!(member.ready(), (200, member.ready().1));
        assert!(member.metric("simple_analytics_queue_waiting_events").is_some());
    }
    for member in stack.workers.iter().chain([&stack.scheduler]) {
        let answer = member.request("GET", "/api/events/names/", &stack.private, "");
        assert_eq!(answer.status, 404);
        assert!(answer.text.contains("/health/ready"), "{}", answer.text);
    }
    // Every process tells of the whole.
    for member in stack.all() {
        let status = member.command(&["event_status"]);
        assert_eq!(
            (&status["events_stored"], &status["queue"]["waiting"]),
            (&json!(10), &json!(0))
        );
        assert_eq!(status["projects"][0]["ledger"]["stored"], 10, "{status}");
        let is_scheduler = std::ptr::eq(member, &stack.scheduler);
        assert_eq!(status["scheduler"]["is_this_process"], is_scheduler, "{status}");
    }
    let own = ["admin.lock", "admin.sock"];
    assert_eq!(stack.scheduler.files(), own);
    assert_eq!(stack.dashboard.files(), own);
    assert_eq!(stack.workers[0].files(), ["admin.lock", "admin.sock", "redis-consumer"]);
    assert_eq!(
        stack.apis[0].files(),
        ["admin.lock", "admin.sock", "queue", "redis-consumer"]
    );
}

#[test]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
fn a_server_is_ready_without_what_its_role_does_not_need() {
    let Some(group) = Group::new() else { return };
    let redis = RedisServer::start("always");
    let group = group.on(&redis);
    let stack = Stack::start(&group);
    let send = |member: &Member, number: u32| {
        let event = json!({"event_name": "a", "event_id": number.to_string()});
        assert_eq!(member.send(&stack.public, &event), 202);
    };
    send(&stack.apis[0], 0);

    redis.kill();
    let without_queue = |required| vec![(AWAY, required), (UP, REQUIRED), (UP, SPARED)];
    stack.wait_for_ready(&stack.workers[0], (503, without_queue(REQUIRED)));
    let reader = vec![(AWAY, SPARED), (UP, REQUIRED), (UP, REQUIRED)];
    stack.wait_for_ready(&stack.dashboard, (200, reader.clone()));
    stack.wait_for_ready(&stack.scheduler, (200, reader));
    // Its events wait on its own disk.
    stack.wait_for_ready(&stack.apis[0], (200, vec![(UP, REQUIRED), (UP, SPARED), (UP, SPARED)]));
    send(&stack.apis[0], 1);
    redis.start_again();
    stack.wait_for_events(&stack.dashboard, 2);

    let elsewhere = TestDatabase::create();
    let name = &group.database.name;
    // Nobody gets in any more, and who is in goes out.
    elsewhere.sql(&format!("alter database {name} allow_connections false"));
    elsewhere.sql(&format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}'"
    ));
    stack.wait_for_ready(
        &stack.dashboard,
        (503, vec![(UP, SPARED), (AWAY, REQUIRED), (AWAY, REQUIRED)]),
    );
    stack.wait_for_ready(
        &stack.workers[1],
        (503, vec![(UP, REQUIRED), (AWAY, REQUIRED), (AWAY, SPARED)]),
    );
    stack.wait_for_ready(
        &stack.apis[1],
        (200, vec![(UP, REQUIRED), (AWAY, SPARED), (AWAY, SPARED)]),
    );
    send(&stack.apis[1], 2);
    let answer = stack.apis[1].request("GET", "/api/events/names/", &stack.private, "");
    assert_eq!(answer.status, 503, "{}", answer.text);
    elsewhere.sql(&format!("alter database {name} allow_connections true"));
    stack.wait_for_events(&stack.dashboard, 3);
    stack.wait_for_ready(
        &stack.scheduler,
        (200, vec![(UP, SPARED), (UP, REQUIRED), (UP, REQUIRED)]),
    );
}
