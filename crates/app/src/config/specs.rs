//! The list of settings.

/// How a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// As it is.
    Open,
    /// A URL, or several, whose user information is hidden.
    Url,
    /// Not at all.
    Hidden,
}

/// One setting.
#[derive(Debug)]
pub struct Spec {
    /// Its TOML key; the flag is the same with `-`.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Its value when nobody says anything; empty = not set.
    pub default: &'static str,
    /// How its value is shown.
    pub secrecy: Secrecy,
}

const fn open(key: &'static str, variable: &'static str, default: &'static str) -> Spec {
    Spec {
        key,
        variable,
        default,
        secrecy: Secrecy::Open,
    }
}

const fn secret(key: &'static str, variable: &'static str, secrecy: Secrecy) -> Spec {
    Spec {
        key,
        variable,
        default: "",
        secrecy,
    }
}

/// Every setting, in the order in which they are shown.
pub const SPECS: &[Spec] = &[
    open("listen", "LISTEN", "127.0.0.1:8000"),
    open("base_path", "BASE_PATH", ""),
    open("data_dir", "DATA_DIR", "./data"),
    open("roles", "ROLES", "api,worker,scheduler,dashboard"),
    secret("database_url", "DATABASE_URL", Secrecy::Url),
    secret("database_replica_url", "DATABASE_REPLICA_URL", Secrecy::Url),
    secret("redis_url", "REDIS_URL", Secrecy::Url),
    // PEM: the authority whose certificate a rediss:// server has, instead of those of the system.
    open("redis_ca_file", "REDIS_CA_FILE", ""),
    // Replicas that must have an event before it is accepted; 0 = a failover may cost the last ones.
    open("redis_wait_replicas", "REDIS_WAIT_REPLICAS", "0"),
    // Before every key in Redis, so that several installations share one.
    open("redis_prefix", "REDIS_PREFIX", ""),
    // Redis keeps what waits in memory. model::limits::REDIS_QUEUE_BYTES_MAX_DEFAULT.
    open("redis_queue_bytes_max", "REDIS_QUEUE_BYTES_MAX", "512MiB"),
    secret("secret_key", "SECRET_KEY", Secrecy::Hidden),
    open("allowed_hosts", "ALLOWED_HOSTS", ""),
    open("cors_allowed_origins", "CORS_ALLOWED_ORIGINS", ""),
    open("trusted_proxies", "TRUSTED_PROXIES", ""),
    // model::limits::ADDRESS_REQUESTS_PER_MINUTE_DEFAULT; a test holds the two together, as with the two sizes below.
    open("ip_rate_limit_per_minute", "IP_RATE_LIMIT_PER_MINUTE", "1000"),
    open("queue_bytes_max", "QUEUE_BYTES_MAX", "8GiB"),
    open("store_memory_bytes_max", "STORE_MEMORY_BYTES_MAX", "96MiB"),
    open("shutdown_budget_seconds", "SHUTDOWN_BUDGET_SECONDS", "20"),
    // model::limits::RETENTION_INTERVAL_DEFAULT.
    open("retention_interval_seconds", "RETENTION_INTERVAL_SECONDS", "3600"),
    open("runtime_dir", "RUNTIME_DIR", ""),
    open("debug", "DEBUG", "false"),
    open("log_format", "LOG_FORMAT", "text"),
    open("log_level", "RUST_LOG", ""),
];

impl Spec {
    /// The command-line flag.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// `value` as it may be shown to people.
    pub fn shown(&self, value: &str) -> String {
        match self.secrecy {
            Secrecy::Open => value.to_owned(),
            Secrecy::Hidden => "***".to_owned(),
            Secrecy::Url => {
                let urls = queue::redis::urls(value);
                urls.into_iter().map(masked_url).collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// The URL with its password hidden, and its query too (drivers take passwords there); a text that is no URL is hidden whole.
fn masked_url(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else {
        return "***".to_owned();
    };
    // `user:password@host` reads as a URL too, of the scheme `user`; and written wrongly, the password may stand in what looks like the path.
    if url.cannot_be_a_base() || url.path().contains('@') {
        return "***".to_owned();
    }
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}
