//! Settings that are valid, and odd.

use model::inspection::Inspection;
use server::config::Role;

use super::Check;
use crate::config::Settings;

/// Characters of a secret that can be guessed by nobody.
const SECRET_CHARACTERS_MIN: usize = 32;

pub(super) const CHECKS: &[Check] = &[
    supported,
    secret_key,
    allowed_hosts,
    trusted_proxies,
    debug,
    roles,
    redis_encryption,
    redis_alone,
];

fn text<'a>(settings: &'a Settings, key: &str) -> &'a str {
    let resolved = settings.resolved.iter().find(|resolved| resolved.spec.key == key);
    resolved.map_or("", |resolved| &resolved.text)
}

fn is_public(settings: &Settings) -> bool {
    !settings.listen.ip().is_loopback()
}

fn supported(settings: &Settings, found: &mut Inspection) {
    match settings.check_roles() {
        Ok(()) => found.ok("every setting is known and valid"),
        Err(error) => found.problem(error.to_string(), "change one of the two"),
    }
}

fn secret_key(settings: &Settings, found: &mut Inspection) {
    let secret = text(settings, "secret_key");
    if !secret.is_empty() && secret.chars().count() < SECRET_CHARACTERS_MIN {
        found.warn(
            format!("SECRET_KEY is shorter than {SECRET_CHARACTERS_MIN} characters"),
            "set it to what `openssl rand -hex 32` prints",
        );
    }
}

fn allowed_hosts(settings: &Settings, found: &mut Inspection) {
    if is_public(settings) && settings.allowed_hosts.is_empty() {
        found.warn(
            format!(
                "the server listens on {} and answers to every host name",
                settings.listen
            ),
            "set ALLOWED_HOSTS to the names that it has",
        );
    }
    if settings
        .allowed_hosts
        .iter()
        .any(|host| host.contains("://") || host.contains('/'))
    {
        found.problem(
            "ALLOWED_HOSTS has a URL, which no request names as its host",
            "write host names only, such as analytics.example.com",
        );
    }
}

fn trusted_proxies(settings: &Settings, found: &mut Inspection) {
    for network in settings
        .trusted_proxies
        .iter()
        .filter(|network| network.prefix_len() == 0)
    {
        found.problem(
            format!("TRUSTED_PROXIES trusts everybody ({network}): each client may claim any address"),
            "name the addresses of your proxies only",
        );
    }
}

fn debug(settings: &Settings, found: &mut Inspection) {
    if settings.debug && is_public(settings) {
        found.warn("DEBUG is on for a server that others reach", "unset DEBUG");
    }
}

fn roles(settings: &Settings, found: &mut Inspection) {
    let lacks = |role| !settings.roles.contains(&role);
    // Of a shared queue the Redis part tells who works.
    if lacks(Role::Worker) && !lacks(Role::Api) && settings.redis_url.is_none() {
        found.problem(
            "ROLES name no worker, and the queue is this process's own: nobody stores its events",
            "add worker to ROLES, or set REDIS_URL so that servers share the queue",
        );
    }
    if lacks(Role::Scheduler) && settings.database_url.is_none() {
        found.problem(
            "ROLES name no scheduler, and the store is this process's own: nothing is deleted when its retention ends",
            "add scheduler to ROLES",
        );
    }
}

fn redis_encryption(settings: &Settings, found: &mut Inspection) {
    let urls = settings
        .redis_url
        .as_deref()
        .map(queue::redis::urls)
        .unwrap_or_default();
    for url in urls.into_iter().filter_map(|url| url::Url::parse(url).ok()) {
        let host = url.host_str().unwrap_or_default();
        let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        if url.scheme() == "redis" && !is_here {
            found.warn(
                format!("events and the password go to Redis at {host} unencrypted"),
                "use rediss:// (and REDIS_CA_FILE, where the authority is your own), unless the network is yours alone",
            );
        }
    }
}

fn redis_alone(settings: &Settings, found: &mut Inspection) {
    if settings.redis_url.is_some() && settings.database_url.is_none() {
        found.warn(
            "REDIS_URL is set without DATABASE_URL: each server that takes from the queue keeps its own part of the events",
            "set DATABASE_URL, or run one worker only",
        );
    }
}
