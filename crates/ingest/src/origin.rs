//! Which pages may send to a project (contract, "Browsers").
//!
//! A rule is an exact origin (`https://example.com`, `http://localhost:3000`, `capacitor://localhost`), all subdomains of a host at
//! any depth but not the host itself (`https://*.example.com`), or `*`. Scheme and host match without regard to case, default
//! ports are the same as none, and an international name is the same as its `xn--` form. `null`, the origin of sandboxed pages and
//! files, is allowed only by `*`. An empty list allows no page.

use crate::error::shown;

/// The rules of one project, ready to be asked for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginRules {
    allows_all: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// In its one spelling; of a wildcard rule the host begins with a dot.
    origin: Origin,
    is_wildcard: bool,
}

/// An origin in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` for the scheme's default.
    port: Option<u16>,
}

/// What is wrong with a list of origins; for the person who sets it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", sentences.join(" "))]
pub struct OriginRulesError {
    /// One sentence per bad entry.
    pub sentences: Vec<String>,
}

impl OriginRules {
    /// Checks a list of settings. Every bad entry is told.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, OriginRulesError> {
        let mut rules = Self::default();
        let mut sentences = Vec::new();
        for entry in entries {
            if let Err(problem) = rules.add(entry.as_ref()) {
                sentences.push(format!("{} is no allowed origin: {problem}.", shown(entry.as_ref())));
            }
        }
        match sentences.is_empty() {
            true => Ok(rules),
            false => Err(OriginRulesError { sentences }),
        }
    }

    /// The rules of a list that was checked when it was set; an entry that this build cannot read allows nothing.
    pub fn from_stored<S: AsRef<str>>(entries: &[S]) -> Self {
        let mut rules = Self::default();
        for entry in entries {
            // Ignored on purpose: refusing is the safe side.
            let _ = rules.add(entry.as_ref());
        }
        rules
    }

    /// Whether a page of this origin may send; `origin` is the header as the browser sent it.
    pub fn allows(&self, origin: &str) -> bool {
        if self.allows_all {
            return true;
        }
        let Ok(origin) = Origin::parse(origin) else {
            return false;
        };
        self.rules.iter().any(|rule| rule.matches(&origin))
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        let entry = entry.trim();
        if entry == "*" {
            self.allows_all = true;
            return Ok(());
        }
        // People copy it from the address bar.
        let entry = entry
            .strip_suffix('/')
            .filter(|rest| !rest.ends_with('/'))
            .unwrap_or(entry);
        let rule = match entry.split_once("://*.") {
            Some((scheme, rest)) => {
                let mut origin = Origin::parse(&format!("{scheme}://{rest}"))?;
                origin.host.insert(0, '.');
                Rule {
                    origin,
                    is_wildcard: true,
                }
            }
            None => Rule {
                origin: Origin::parse(entry)?,
                is_wildcard: false,
            },
        };
        self.rules.push(rule);
        Ok(())
    }
}

impl Rule {
    fn matches(&self, origin: &Origin) -> bool {
        if !self.is_wildcard {
            return self.origin == *origin;
        }
        let subdomain = origin.host.strip_suffix(self.origin.host.as_str());
        self.origin.scheme == origin.scheme
            && self.origin.port == origin.port
            && subdomain.is_some_and(|subdomain| !subdomain.is_empty() && !subdomain.ends_with('.'))
    }
}

impl Origin {
    /// Reads `scheme://host[:port]`. The error says what is wrong, in words that fit behind a colon.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, authority) = text
            .split_once("://")
            .ok_or("it must begin with a scheme, as in https://example.com")?;
        let scheme_is_valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'));
        if !scheme_is_valid {
            return Err("its scheme is not valid");
        }
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return Err("it must be scheme, host and port only, without path or user");
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority)?;
        let is_web = matches!(scheme.as_str(), "http" | "https" | "ws" | "wss");
        let host = match host {
            "" => return Err("it has no host"),
            host if host.contains('*') => {
                return Err("a * can only stand alone or for all subdomains, as in https://*.example.com");
            }
            host if is_web => url::Host::parse(host).map_err(|_| "its host is not valid")?.to_string(),
            host => host.to_ascii_lowercase(),
        };
        let default_port = match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        Ok(Self {
            port: port.filter(|port| Some(*port) != default_port),
            scheme,
            host,
        })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    // The colons of an IPv6 address are inside its brackets.
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    match port_at {
        None => Ok((authority, None)),
        Some(at) => {
            let port = &authority[at + 1..];
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|_| is_number).ok_or("its port is not valid")?;
            Ok((&authority[..at], Some(port)))
        }
    }
}

#[cfg(test)]
mod tests;
