//! Redis behind TLS, with a certificate of an authority that the test makes, and a user of its own.

use queue::{EventQueue, RedisAddress, RedisOptions, RedisQueue};
use testkit::{
    authority::{Authority, Certificate},
    redis_server::{RedisServer, free_port},
    suites::queue::{contents, read_exactly, records},
};

use super::clock;

struct TlsRedis {
    server: RedisServer,
    port: u16,
    _files: tempfile::TempDir,
}

/// A server that takes TLS from one user; the tests' own commands come without.
fn start(certificate: &Certificate) -> TlsRedis {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (
        file("certificate", &certificate.certificate),
        file("key", &certificate.key),
    );
    let port = free_port();
    let server = RedisServer::start_with(
        "everysec",
        &[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ],
    );
    // Letters that must be escaped in a URL.
    let user = server.command("ACL SETUSER events on >s:cr/t@1 ~{shop}:* +@all -@dangerous +info +config|get");
    assert!(user.starts_with("+OK"), "{user}");
    TlsRedis {
        server,
        port,
        _files: files,
    }
}

async fn open(url: &str, authority: Option<&Authority>) -> RedisQueue {
    let authorities = authority.map(Authority::certificate);
    let address = RedisAddress::parse(url, authorities.as_deref().map(str::as_bytes)).unwrap();
    let options = RedisOptions {
        prefix: "{shop}:".to_owned(),
        ..RedisOptions::new("one")
    };
    RedisQueue::open(&address, options, clock()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn a_user_comes_in_over_tls_and_everything_works() {
    let authority = Authority::new();
    let redis = start(&authority.issue("127.0.0.1"));
    let url = format!("rediss://events:s%3Acr%2Ft%401@127.0.0.1:{}/", redis.port);
    let queue = open(&url, Some(&authority)).await;
    assert_eq!(queue.away(), None);
    queue.append(records(0..20).into()).await.unwrap();
    let came = read_exactly(&queue, 20).await;
    assert_eq!(contents(&came), records(0..20));
    queue.dead_letter(&came[0], "unwanted").await.unwrap();
    let status = queue.status().await.unwrap();
    assert_eq!((status.waiting, status.dead_letters), (20, 1));
    queue.close().await.unwrap();
    // Everything came through there.
    assert!(redis.server.command("EXISTS {shop}:events:queue").starts_with(":1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(has_redis_server),
    ignore = "no redis-server on this machine: scripts/setup.sh installs it"
)]
async fn what_is_wrong_with_tls_or_the_user_is_told() {
    let authority = Authority::new();
    let redis = start(&authority.issue("127.0.0.1"));
    let elsewhere = start(&authority.issue("redis.example.com"));
    let (right, plain) = (redis.port, redis.server.port());
    let cases = [
        (
            format!("rediss://127.0.0.1:{right}"),
            Some(Authority::new()),
            "set REDIS_CA_FILE",
        ),
        (format!("rediss://127.0.0.1:{right}"), None, "set REDIS_CA_FILE"),
        (
            format!("rediss://127.0.0.1:{plain}"),
            None,
            "the URL begins with redis://",
        ),
        (
            format!("redis://127.0.0.1:{right}"),
            None,
            "the URL begins with rediss://",
        ),
    ];
    for (url, authority, expected) in cases {
        let why = open(&url, authority.as_ref()).await.away().unwrap_or_default();
        assert!(why.contains(expected), "{url}: {why}");
    }
    let url = format!("rediss://127.0.0.1:{}", elsewhere.port);
    let why = open(&url, Some(&authority)).await.away().unwrap_or_default();
    assert!(
        why.contains("redis.example.com") && why.contains("name the host"),
        "{why}"
    );
    let url = format!("rediss://events:wrong@127.0.0.1:{right}");
    let why = open(&url, Some(&authority)).await.away().unwrap_or_default();
    assert!(why.contains("user and password"), "{why}");
    assert!(!why.contains("wrong"), "{why}");
}
