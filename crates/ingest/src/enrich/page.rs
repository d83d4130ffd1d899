//! Page, referrer and campaign of an event, from its properties.
//!
//! - `path`: without query, fragment and trailing slash; `/` for the root. Not decoded, case kept.
//! - `hostname`: lower case, without port, user and final dot.
//! - `referrer_host`: as `hostname` and without `www.`; absent when it is the page's own host, for that is no referral.
//! - `utm_*`: percent-decoded.
//!
//! Each is cut at [`limits::DERIVED_KEY_BYTES_MAX`]. URLs are split by hand: a browser has already normalised them, and what
//! is no URL must still give what it can.

use std::borrow::Cow;

use model::{DerivedKeys, limits};
use percent_encoding::percent_decode_str;

use super::properties::{PageProperties, Slot};

/// The keys that come from properties; the others are left empty.
pub(super) fn derived_keys(properties: &str) -> DerivedKeys {
    let found = PageProperties::read(properties);
    let url = found.get(Slot::Url).and_then(Url::split);
    let page = explicit_page(&found);
    let hostname = found
        .get(Slot::Hostname)
        .and_then(host_of_authority)
        .or_else(|| url.as_ref().and_then(|url| url.host.clone()));
    let referrer_host = found
        .get(Slot::Referrer)
        .and_then(referrer_host)
        .filter(|referrer| hostname.as_deref().map(without_www) != Some(referrer));
    let mut keys = DerivedKeys {
        path: page.as_ref().or(url.as_ref()).map(|page| normal_path(page.path)),
        hostname,
        referrer_host,
        utm_source: found.get(Slot::UtmSource).map(kept),
        utm_medium: found.get(Slot::UtmMedium).map(kept),
        utm_campaign: found.get(Slot::UtmCampaign).map(kept),
        utm_term: found.get(Slot::UtmTerm).map(kept),
        utm_content: found.get(Slot::UtmContent).map(kept),
        ..DerivedKeys::default()
    };
    let query = url.and_then(|url| url.query).or(page.and_then(|page| page.query));
    if let Some(query) = query {
        fill_campaign(query, &mut keys);
    }
    keys
}

/// The page as a property names it outright.
fn explicit_page<'a>(found: &'a PageProperties<'_>) -> Option<Url<'a>> {
    let path = found
        .get(Slot::Path)
        .map(|text| Url::split(text).unwrap_or_else(|| Url::of_path(text)));
    path.or_else(|| found.get(Slot::Page).and_then(Url::split))
}

/// The parts of a URL that count here.
#[derive(Debug)]
struct Url<'a> {
    host: Option<String>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// Splits `scheme://host/path?query#fragment`, `//host/path` and `/path`; `None` for anything else.
    fn split(text: &'a str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => rest,
            _ if text.starts_with('/') => match text.strip_prefix("//") {
                Some(rest) => rest,
                None => return Some(Self::of_path(text)),
            },
            _ => return None,
        };
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        Some(Self {
            host: host_of_authority(authority),
            ..Self::of_path(path)
        })
    }

    /// Splits `path?query#fragment`.
    fn of_path(text: &'a str) -> Self {
        let text = text.split('#').next().unwrap_or_default();
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        Self {
            host: None,
            path,
            query,
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'))
}

/// The host of `user@host:port`; `None` when there is none or when it cannot be one.
fn host_of_authority(authority: &str) -> Option<String> {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host =
        !host.is_empty() && !host.contains(|char: char| char.is_whitespace() || char.is_control() || char == '/');
    is_host.then(|| kept(&host.to_lowercase()))
}

/// The host of a referrer: a URL, or a bare host name such as `news.example.com`.
fn referrer_host(text: &str) -> Option<String> {
    let host = match Url::split(text) {
        Some(url) => url.host?,
        None if text.contains('.') => host_of_authority(text.split(['/', '?', '#']).next()?)?,
        None => return None,
    };
    Some(without_www(&host).to_owned())
}

fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

fn normal_path(path: &str) -> String {
    let path = path.trim_end_matches('/');
    match path.starts_with('/') {
        true => kept(path),
        false => kept(&format!("/{path}")),
    }
}

/// Campaign parameters of a query string, where no property told them; the first of a repeated one counts.
fn fill_campaign(query: &str, keys: &mut DerivedKeys) {
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let key = match name {
            "utm_source" => &mut keys.utm_source,
            "utm_medium" => &mut keys.utm_medium,
            "utm_campaign" => &mut keys.utm_campaign,
            "utm_term" => &mut keys.utm_term,
            "utm_content" => &mut keys.utm_content,
            _ => continue,
        };
        let value = decoded(value);
        if key.is_none() && !value.trim().is_empty() {
            *key = Some(kept(value.trim()));
        }
    }
}

/// A form-encoded value. `%00` becomes U+FFFD like everything else that is no text: stores refuse NUL.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let spaced = value.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8_lossy();
    Cow::Owned(text.replace('\0', "\u{fffd}"))
}

fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(limits::DERIVED_KEY_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
