//! Texts into values. Each error says what would be right.

use std::net::SocketAddr;

use ipnet::IpNet;

/// A listening address: `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let spelled = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"))
        .unwrap_or_else(|| text.to_owned());
    spelled
        .parse()
        .map_err(|_| "must be an address and a port, such as 127.0.0.1:8000 or [::]:8000".to_owned())
}

/// Where a Redis is, or nodes of a cluster; empty = nowhere.
pub fn redis_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_ours = text.starts_with("redis://") || text.starts_with("rediss://");
    match queue::RedisAddress::parse(text, None) {
        Ok(_) if is_ours => Ok(Some(text.to_owned())),
        _ => Err(
            "must be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss://… for TLS, or several of them (nodes of a cluster) with commas between"
                .to_owned(),
        ),
    }
}

/// `true`, `false` and their usual spellings.
pub fn truth(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A whole number, 0 allowed.
pub fn whole(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("must be a whole number from 0 to {}", u32::MAX))
}

/// A whole number, 0 not allowed.
pub fn positive(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("must be a whole number from 1 to {}", u32::MAX)),
    }
}

/// Bytes: `1048576`, `512MB`, `8GiB`, `1.5 GiB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("b", 1),
    ];
    let wrong = || "must be a size such as 536870912, 512MB or 8GiB".to_owned();
    let lower = text.to_lowercase();
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?.trim_end(), *factor)))
        .unwrap_or((lower.as_str(), 1));
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    let parsed: f64 = number.parse().map_err(|_| wrong())?;
    let total = parsed * factor as f64;
    // Exact up to 2^53; a fraction of a larger unit never needs more.
    if factor > 1 && total.is_finite() && (0.0..9e15).contains(&total) {
        Ok(total as u64)
    } else {
        Err(wrong())
    }
}

/// Parts between commas, trimmed, blank ones left out.
pub fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A list of origins, as [`ingest::OriginRules`] reads them; kept as they are written.
pub fn origins(text: &str) -> Result<Vec<String>, String> {
    let origins = list(text);
    match ingest::OriginRules::parse(&origins) {
        Ok(_) => Ok(origins),
        Err(error) => Err(error.to_string()),
    }
}

/// A list of networks; a single address is a network of one.
pub fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    list(text)
        .iter()
        .map(|part| {
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<std::net::IpAddr>().map(IpNet::from))
                .map_err(|_| format!("{part:?} is no network; networks look like 10.0.0.0/8, 192.0.2.1 or fd00::/8"))
        })
        .collect()
}

/// The URL of a PostgreSQL database; blank: none.
pub fn database_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_ours = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if is_ours && url::Url::parse(text).is_ok() {
        Ok(Some(text.to_owned()))
    } else {
        Err("must be a URL such as postgres://user:password@host:5432/database".to_owned())
    }
}

/// A URL path prefix without trailing slash; `/` alone is none.
pub fn base_path(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    let well_formed = trimmed.starts_with('/') && !trimmed.contains("//") && trimmed.bytes().all(plain);
    if well_formed {
        Ok(trimmed.to_owned())
    } else {
        Err("must be a path such as /analytics".to_owned())
    }
}
