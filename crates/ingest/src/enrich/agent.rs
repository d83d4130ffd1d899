//! Browser, system and device of a user agent, by uap-core's rules.

use std::sync::{Arc, OnceLock};

use model::limits;
use moka::sync::Cache;
use ua_parser::{Extractor, Regexes};

use super::EnricherError;

/// What a user agent says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AgentKeys {
    /// Family, as the rules call it: `Chrome`, `Mobile Safari`.
    pub browser: Option<String>,
    /// Major and minor number: `126.0`.
    pub browser_version: Option<String>,
    /// Family: `Windows`, `iOS`.
    pub os: Option<String>,
    /// See [`device_class`].
    pub device: Option<String>,
}

pub(super) struct Agents {
    /// The rules' text; `None` = no rules, no keys.
    rules: Option<Box<[u8]>>,
    /// Compiled at first use; `None` inside when that failed.
    extractor: OnceLock<Option<Extractor<'static>>>,
    /// By the user agent's text. Real traffic has a few thousand texts, and the rules take 10 to 100 µs for each.
    cache: Cache<Arc<str>, Arc<AgentKeys>>,
}

impl Agents {
    /// Reads the rules without compiling them.
    pub fn new(rules_yaml: Option<&[u8]>) -> Result<Self, EnricherError> {
        if let Some(yaml) = rules_yaml {
            serde_yaml_ng::from_slice::<Regexes<'_>>(yaml)?;
        }
        // The entry itself, two pointers to it, and its strings.
        const ENTRY_BYTES: usize = 256;
        Ok(Self {
            rules: rules_yaml.map(Into::into),
            extractor: OnceLock::new(),
            cache: Cache::builder()
                .weigher(|text: &Arc<str>, _| u32::try_from(text.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
                .max_capacity(limits::AGENT_CACHE_BYTES_MAX)
                .build(),
        })
    }

    /// Compiles the rules unless that is done.
    pub fn warm_up(&self) {
        self.extractor();
    }

    /// What `text` says; `None` without rules.
    pub fn parse(&self, text: &str) -> Option<Arc<AgentKeys>> {
        if let Some(keys) = self.cache.get(text) {
            return Some(keys);
        }
        let keys = Arc::new(keys_of(self.extractor()?, text));
        self.cache.insert(text.into(), Arc::clone(&keys));
        Some(keys)
    }

    fn extractor(&self) -> Option<&Extractor<'_>> {
        let compiled = self.extractor.get_or_init(|| {
            let rules: Regexes<'static> = serde_yaml_ng::from_slice(self.rules.as_ref()?)
                .inspect_err(|error| tracing::error!(%error, "user-agent rules could not be read"))
                .ok()?;
            rules
                .try_into()
                .inspect_err(|error: &ua_parser::Error| {
                    tracing::error!(%error, "user-agent rules could not be compiled; browser, os and device stay empty");
                })
                .ok()
        });
        compiled.as_ref()
    }
}

fn keys_of<'a>(extractor: &'a Extractor<'a>, text: &'a str) -> AgentKeys {
    let (browser, os, device) = extractor.extract(text);
    let os = os.map(|os| os.os.into_owned());
    let class = device_class(
        text,
        browser.as_ref().map(|browser| browser.family.as_ref()),
        os.as_deref(),
        device.as_ref().map(|device| device.device.as_ref()),
    );
    AgentKeys {
        browser_version: browser.as_ref().and_then(|browser| {
            let major = browser.major?;
            Some(match browser.minor {
                Some(minor) => format!("{major}.{minor}"),
                None => major.to_owned(),
            })
        }),
        browser: browser.map(|browser| browser.family.into_owned()),
        device: class.map(str::to_owned),
        os,
    }
}

/// The class of device: `bot`, `tv`, `console`, `tablet`, `mobile` or `desktop`; `None` where nothing tells (`curl/8.5`).
///
/// The rules name thousands of models but no class, so it is told from what browsers promise: Android phones write
/// `Mobile` and Android tablets do not, iPads and Kindles name themselves. An iPad that asks for desktop pages cannot be told
/// from a Mac.
fn device_class(text: &str, browser: Option<&str>, os: Option<&str>, device: Option<&str>) -> Option<&'static str> {
    let device = device.unwrap_or_default();
    let os = os.unwrap_or_default();
    let says = |word: &str| text.contains(word);
    if device == "Spider" || browser.is_some_and(|browser| browser.starts_with("Headless")) {
        return Some("bot");
    }
    let is_tv = matches!(
        os,
        "Tizen" | "webOS" | "tvOS" | "ATV OS X" | "Roku" | "Chromecast" | "FireTV"
    ) && !says("Mobile");
    if is_tv
        || [
            "SmartTV",
            "SMART-TV",
            "Smart-TV",
            "AppleTV",
            "Android TV",
            "GoogleTV",
            "BRAVIA",
        ]
        .into_iter()
        .any(says)
    {
        return Some("tv");
    }
    if ["PlayStation", "Xbox", "Nintendo"].into_iter().any(says) {
        return Some("console");
    }
    if ["iPad", "Kindle"].into_iter().any(|name| device.starts_with(name)) || says("Tablet") || says("Silk/") {
        return Some("tablet");
    }
    match os {
        "Android" if says("Mobile") => Some("mobile"),
        "Android" => Some("tablet"),
        "iOS" | "Windows Phone" | "BlackBerry OS" | "KaiOS" | "HarmonyOS" | "watchOS" => Some("mobile"),
        "Windows" | "Mac OS X" | "Linux" | "Chrome OS" | "Ubuntu" | "Debian" | "Fedora" | "FreeBSD" | "OpenBSD"
        | "NetBSD" => Some("desktop"),
        _ if says("Mobile") => Some("mobile"),
        _ if says("X11;") => Some("desktop"),
        _ => None,
    }
}
