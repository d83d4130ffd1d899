//! What a request tells about its sender.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use model::limits;

use super::error::ApiError;
use crate::{engine::Engine, limit::LimitKey};

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Default for Peer {
    fn default() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// The client's address: the peer's, or what a trusted proxy says (contract, "Client address").
pub fn address(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    if trusted.is_empty() {
        return peer.0.to_canonical();
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
    let real_ip = headers.get("x-real-ip").map(HeaderValue::as_bytes);
    ingest::client_address(peer.0, forwarded, real_ip, trusted)
}

/// Whether the client's side of the connection is encrypted, as far as a trusted proxy tells.
pub fn over_https(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let is_trusted = trusted.iter().any(|net| net.contains(&peer.0.to_canonical()));
    is_trusted
        && headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// The key of an `Authorization: Bearer` header: scheme in any case, key as it stands.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

/// A parameter of the query string, decoded.
pub fn query_parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    url::form_urlencoded::parse(query?.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

/// A header as text, if it is.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The `User-Agent`, cut to its limit at a character.
pub fn user_agent(headers: &HeaderMap) -> Option<&str> {
    let text = header_text(headers, &header::USER_AGENT)?.trim();
    // `to_str` lets only visible ASCII pass: every byte is a character.
    text.get(..limits::USER_AGENT_BYTES_MAX)
        .or(Some(text))
        .filter(|text| !text.is_empty())
}

/// A cookie of the request.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// 429 when an address sends more requests than the server's setting allows.
pub async fn check_address_limit(engine: &Engine, address: IpAddr) -> Result<(), ApiError> {
    let Some(limit) = engine.config.ip_rate_limit_per_minute else {
        return Ok(());
    };
    let decision = engine.limiter().check(LimitKey::Address(address), limit, 1).await;
    if decision.allowed {
        Ok(())
    } else {
        Err(ApiError::rate_limited("address", &decision))
    }
}
