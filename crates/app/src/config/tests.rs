use std::{collections::BTreeMap, path::Path, time::Duration};

use model::limits;
use server::config::Role;

use super::{
    layers::{parse_dot_env, parse_file},
    *,
};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn settings(environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let layers = Layers {
        environment: map(environment),
        ..Layers::default()
    };
    Settings::parse(layers.resolve())
}

fn resolved<'a>(all: &'a [Resolved], key: &str) -> &'a Resolved {
    all.iter().find(|resolved| resolved.spec.key == key).unwrap()
}

#[test]
fn the_nearest_place_wins_and_is_remembered() {
    let mut layers = Layers {
        flags: [("listen", "1.1.1.1:1".to_owned())].into(),
        environment: map(&[("LISTEN", "2.2.2.2:2"), ("ROLES", "api"), ("BASE_PATH", " ")]),
        dot_env: map(&[("LISTEN", "3.3.3.3:3"), ("ROLES", "worker"), ("BASE_PATH", "/dot")]),
        file: Some(("x.toml".into(), map(&[("roles", "scheduler"), ("data_dir", "/srv")]))),
    };
    let expected = [
        ("listen", "1.1.1.1:1", "flag --listen"),
        ("roles", "api", "environment ROLES"),
        // A blank variable is as good as none.
        ("base_path", "/dot", ".env BASE_PATH"),
        ("data_dir", "/srv", "file x.toml"),
        ("log_format", "text", "default"),
    ];
    let all = layers.resolve();
    for (key, text, origin) in expected {
        let found = resolved(&all, key);
        assert_eq!(
            (found.text.as_str(), found.origin_text().as_str()),
            (text, origin),
            "{key}"
        );
    }
    layers.flags.clear();
    assert_eq!(resolved(&layers.resolve(), "listen").text, "2.2.2.2:2");
}

#[test]
fn defaults_are_those_of_the_limits_and_of_the_contract() {
    let settings = settings(&[]).unwrap();
    assert_eq!(
        settings.ip_rate_limit_per_minute,
        Some(limits::ADDRESS_REQUESTS_PER_MINUTE_DEFAULT)
    );
    assert_eq!(settings.queue_bytes_max, limits::QUEUE_BYTES_MAX_DEFAULT);
    assert_eq!(settings.store_memory_bytes_max, limits::STORE_MEMORY_BYTES_MAX_DEFAULT);
    assert_eq!(settings.redis_queue_bytes_max, limits::REDIS_QUEUE_BYTES_MAX_DEFAULT);
    assert_eq!(settings.roles, Role::ALL);
    assert_eq!(settings.retention_interval, limits::RETENTION_INTERVAL_DEFAULT);
    assert_eq!(settings.shutdown_budget, Duration::from_secs(20));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.admin_socket(), Path::new("./data/admin.sock"));
}

#[test]
fn every_wrong_value_is_named_at_once() {
    let wrong = [
        ("LISTEN", "8000"),
        ("ROLES", "api,cook"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,b.example"),
        ("IP_RATE_LIMIT_PER_MINUTE", "-1"),
        ("BASE_PATH", "analytics"),
        ("DATABASE_URL", "mysql://db/x"),
        ("DEBUG", "maybe"),
        ("LOG_FORMAT", "xml"),
        ("QUEUE_BYTES_MAX", "much"),
        ("STORE_MEMORY_BYTES_MAX", "1.5"),
        ("SHUTDOWN_BUDGET_SECONDS", "soon"),
        ("RETENTION_INTERVAL_SECONDS", "0"),
    ];
    let ConfigError(problems) = settings(&wrong).unwrap_err();
    assert_eq!(problems.len(), wrong.len(), "{problems:#?}");
    for (variable, value) in wrong {
        let name = format!("environment {variable}={value:?} ");
        assert!(
            problems.iter().any(|problem| problem.starts_with(&name)),
            "{name}: {problems:#?}"
        );
    }
}

#[test]
fn values_are_read() {
    let settings = settings(&[
        ("LISTEN", "localhost:9000"),
        ("ROLES", "worker, api, worker"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("IP_RATE_LIMIT_PER_MINUTE", "0"),
        ("BASE_PATH", "/stats/"),
        ("QUEUE_BYTES_MAX", "1.5 GiB"),
        ("STORE_MEMORY_BYTES_MAX", "512MB"),
        ("ALLOWED_HOSTS", "a.example,,.b.example "),
    ])
    .unwrap();
    let config = settings.server_config();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.roles, [Role::Worker, Role::Api]);
    assert_eq!(
        config
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["10.0.0.0/8", "::1/128"]
    );
    assert_eq!(config.ip_rate_limit_per_minute, None);
    assert_eq!(config.base_path, "/stats");
    assert_eq!(settings.queue_bytes_max, 3 << 29);
    assert_eq!(settings.store_memory_bytes_max, 512_000_000);
    assert_eq!(config.allowed_hosts, ["a.example", ".b.example"]);
}

#[test]
fn a_file_has_known_keys_only() {
    let values = parse_file(
        "listen = \"[::]:80\"\nroles = [\"api\", \"worker\"]\nip_rate_limit_per_minute = 0\ndebug = true",
        Path::new("x.toml"),
    );
    let expected = map(&[
        ("debug", "true"),
        ("ip_rate_limit_per_minute", "0"),
        ("listen", "[::]:80"),
        ("roles", "api,worker"),
    ]);
    assert_eq!(values, Ok(expected));
    let problems = parse_file(
        "listn = \"x\"\nQueue-Bytes-Max = 1\nzebra = 1\n[roles]\na = 1",
        Path::new("x.toml"),
    )
    .unwrap_err();
    let expected = [
        "x.toml: unknown setting \"listn\"; did you mean \"listen\"?",
        "x.toml: unknown setting \"Queue-Bytes-Max\"; did you mean \"queue_bytes_max\"?",
        "x.toml: unknown setting \"zebra\"",
        "x.toml: roles must be a text, a number, true or false, or a list of texts",
    ];
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    assert_eq!(sorted(problems), sorted(expected.map(str::to_owned).into()));
    assert!(parse_file("listen = ", Path::new("x.toml")).unwrap_err()[0].starts_with("x.toml: "));
}

#[test]
fn a_line_of_another_program_spoils_no_dot_env() {
    let ours = "ROLES=api\nexport LISTEN='127.0.0.1:9' # here\n";
    let expected = map(&[("LISTEN", "127.0.0.1:9"), ("ROLES", "api")]);
    assert_eq!(parse_dot_env(ours), Ok(expected.clone()));
    for theirs in ["GREETING=it's\n", "A B\n", "KEY=\"never closed\n", "X=a b\n"] {
        assert_eq!(
            parse_dot_env(&format!("{theirs}{ours}")),
            Ok(expected.clone()),
            "{theirs}"
        );
        assert_eq!(
            parse_dot_env(&format!("{ours}{theirs}")),
            Ok(expected.clone()),
            "{theirs}"
        );
    }
    // Our own are not guessed at.
    assert_eq!(parse_dot_env("SECRET_KEY=it's\nROLES=api\n"), Err("SECRET_KEY"));
}

#[test]
fn a_replica_is_one_of_a_database_and_no_password_is_told() {
    let (url, replica) = ("postgres://app:hunter2@db/app", "postgres://app:hunter2@replica/app");
    let chosen = settings(&[("DATABASE_URL", url), ("DATABASE_REPLICA_URL", replica)]).unwrap();
    assert_eq!(
        (chosen.database_url.as_deref(), chosen.database_replica_url.as_deref()),
        (Some(url), Some(replica))
    );
    for wrong in [
        vec![("DATABASE_REPLICA_URL", replica)],
        vec![("DATABASE_URL", url), ("DATABASE_REPLICA_URL", "app:hunter2@replica")],
    ] {
        let text = settings(&wrong).unwrap_err().to_string();
        assert!(text.contains("DATABASE_REPLICA_URL"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn roles_are_possible_where_processes_share_what_they_need() {
    let (database, redis) = (("DATABASE_URL", "postgres://db/x"), ("REDIS_URL", "redis://cache"));
    let embedded: &[(&str, &str)] = &[];
    // All else is refused.
    let possible = [
        (
            embedded,
            vec!["api", "api,worker", "api,scheduler", "api,worker,scheduler,dashboard"],
        ),
        (&[redis], vec!["api,worker", "worker,api,scheduler"]),
        (
            &[database],
            vec!["api", "scheduler", "dashboard", "api,worker", "scheduler,dashboard"],
        ),
        (
            &[database, redis],
            vec!["api", "worker", "scheduler", "dashboard", "worker,scheduler"],
        ),
    ];
    let every = [
        "api",
        "worker",
        "scheduler",
        "dashboard",
        "worker,scheduler",
        "worker,dashboard",
    ];
    for (stores, roles) in possible {
        let check = |roles: &str| {
            let environment = [stores, &[("ROLES", roles)]].concat();
            settings(&environment).unwrap().check_roles()
        };
        for roles in &roles {
            assert_eq!(check(roles), Ok(()), "{stores:?}, {roles}");
        }
        for other in every.iter().filter(|other| !roles.contains(other)) {
            let refused = check(other).is_err();
            // Two roles that are possible each are so together.
            let possible = other.split(',').all(|role| roles.contains(&role));
            assert_eq!(refused, !possible, "{stores:?}, {other}");
        }
    }
}

#[test]
fn a_redis_is_told_by_its_url() {
    assert_eq!(settings(&[]).unwrap().redis_url, None);
    let url = "redis://:hunter2@cache:6380/2";
    let chosen = settings(&[("REDIS_URL", url), ("REDIS_PREFIX", "shop:")]).unwrap();
    assert_eq!(
        (chosen.redis_url.as_deref(), &*chosen.redis_prefix),
        (Some(url), "shop:")
    );
    for right in ["rediss://:hunter2@cache", "redis://one:7000,redis://:hunter2@two:7001"] {
        let chosen = settings(&[("REDIS_URL", right), ("REDIS_WAIT_REPLICAS", "1")]).unwrap();
        assert_eq!(
            (chosen.redis_url.as_deref(), chosen.redis_wait_replicas),
            (Some(right), 1)
        );
    }
    for wrong in [
        "cache:6379",
        "http://:hunter2@cache",
        "redis://",
        "redis://cache,http://:hunter2@cache",
        "redis://:hunter2@cache,other:6379",
    ] {
        let text = settings(&[("REDIS_URL", wrong)]).unwrap_err().to_string();
        assert!(text.contains("must be redis://"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn secrets_are_masked() {
    let shown = |key: &str, value: &str| SPECS.iter().find(|spec| spec.key == key).unwrap().shown(value);
    assert_eq!(shown("secret_key", "hunter2"), "***");
    assert_eq!(
        shown("redis_url", "redis://:hunter2@one:7000,rediss://:hunter2@two"),
        "redis://:***@one:7000,rediss://:***@two"
    );
    assert_eq!(
        shown("database_url", "postgres://app:hunter2@db:5432/app"),
        "postgres://app:***@db:5432/app"
    );
    assert_eq!(
        shown("database_url", "postgres://db/app?password=hunter2"),
        "postgres://db/app?***"
    );
    assert_eq!(shown("redis_url", "hunter2"), "***");
    assert_eq!(shown("redis_url", "redis://:hunter2@cache/1"), "redis://:***@cache/1");
    assert_eq!(shown("listen", "127.0.0.1:1"), "127.0.0.1:1");
}

#[test]
fn settings_have_one_name_each() {
    for (index, spec) in SPECS.iter().enumerate() {
        let same = |other: &&Spec| other.key == spec.key || other.variable == spec.variable;
        assert_eq!(SPECS[index..].iter().filter(same).count(), 1, "{}", spec.key);
        assert!(
            spec.key == "log_level" || spec.variable == spec.key.to_uppercase(),
            "{}",
            spec.key
        );
    }
}
