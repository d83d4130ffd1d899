//! What names a Redis: a URL, or several of nodes of a cluster.

use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};

/// A text that names no Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisUrlError {
    /// It is no URL of one.
    #[error(
        "this is no URL of a Redis server (redis://[user:password@]host[:port][/database], rediss:// for TLS; several nodes of a cluster by commas): {0}"
    )]
    Url(String),
    /// The certificates cannot be used.
    #[error("the certificates for Redis cannot be used: {0}")]
    Certificates(String),
}

/// Where a Redis is.
#[derive(Clone, Debug)]
pub struct RedisAddress {
    nodes: Vec<Client>,
}

impl RedisAddress {
    /// Reads one URL, or several of nodes of a cluster with a comma between them. With `authorities` (certificates as PEM) the server's
    /// certificate must come from one of them, otherwise from one that the system trusts; only for `rediss://`.
    pub fn parse(text: &str, authorities: Option<&[u8]>) -> Result<Self, RedisUrlError> {
        // Whoever comes first chooses for the process; they do the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nodes: Result<_, _> = urls(text).into_iter().map(|url| client(url, authorities)).collect();
        Ok(Self { nodes: nodes? })
    }

    /// Every node that is named.
    pub(super) fn nodes(&self) -> &[Client] {
        &self.nodes
    }
}

/// The URLs of a text. A comma may be part of a password: it parts two only before another URL.
pub fn urls(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut rest = text;
    let parting = |text: &str| {
        let places = ["redis://", "rediss://"].map(|scheme| text.find(&format!(",{scheme}")));
        places.into_iter().flatten().min()
    };
    while let Some(comma) = parting(rest) {
        urls.push(&rest[..comma]);
        rest = &rest[comma + 1..];
    }
    urls.push(rest);
    urls
}

fn client(url: &str, authorities: Option<&[u8]>) -> Result<Client, RedisUrlError> {
    let client = Client::open(url).map_err(|error| RedisUrlError::Url(error.to_string()))?;
    if name(&client).contains(',') {
        return Err(RedisUrlError::Url(
            "behind a comma comes another URL, with redis:// before it".to_owned(),
        ));
    }
    let Some(authorities) = authorities else {
        return Ok(client);
    };
    let refused = |why: &str| Err(RedisUrlError::Certificates(why.to_owned()));
    if !matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. }) {
        return refused("they are for TLS, and the URL is not rediss://");
    }
    if !String::from_utf8_lossy(authorities).contains("-----BEGIN CERTIFICATE-----") {
        return refused("there is no certificate in PEM form");
    }
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(authorities.to_vec()),
    };
    Client::build_with_tls(client.get_connection_info().clone(), certificates)
        .map_err(|error| RedisUrlError::Certificates(error.to_string()))
}

/// `host:port`.
pub(super) fn name(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// The same user, password and certificates at another node.
pub(super) fn at(client: &Client, host: &str, port: u16) -> Option<Client> {
    let info: &ConnectionInfo = client.get_connection_info();
    let mut address = info.addr().clone();
    match &mut address {
        ConnectionAddr::Tcp(old_host, old_port)
        | ConnectionAddr::TcpTls {
            host: old_host,
            port: old_port,
            ..
        } => {
            host.clone_into(old_host);
            *old_port = port;
        }
        _ => return None,
    }
    Client::open(info.clone().set_addr(address)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_urls_and_may_be_in_a_password() {
        assert_eq!(urls("redis://:a,b@h/"), ["redis://:a,b@h/"]);
        let text = "redis://:a,b@h:1,redis://i:2/0,rediss://j";
        assert_eq!(urls(text), ["redis://:a,b@h:1", "redis://i:2/0", "rediss://j"]);
        assert!(RedisAddress::parse("redis://h,i", None).is_err());
    }

    #[test]
    fn another_node_has_the_same_user_and_database() {
        let client = client("redis://user:secret@first:1/3", None).unwrap();
        let other = at(&client, "second", 2).unwrap();
        assert_eq!(name(&other), "second:2");
        let settings = other.get_connection_info().redis_settings();
        assert_eq!((settings.username(), settings.db()), (Some("user"), 3));
    }

    #[test]
    fn certificates_that_cannot_be_used_are_told_at_once() {
        for (url, authorities) in [("redis://h", "-----BEGIN CERTIFICATE-----"), ("rediss://h", "none")] {
            let refused = RedisAddress::parse(url, Some(authorities.as_bytes()));
            assert!(matches!(refused, Err(RedisUrlError::Certificates(_))), "{refused:?}");
        }
    }
}
