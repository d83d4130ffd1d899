//! Values of flags that several commands take.

use std::str::FromStr;

use model::{ProjectId, SamplingStrategy};

/// A value, or `none`, which clears it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clearable<T>(pub Option<T>);

impl<T: FromStr> FromStr for Clearable<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|value| Self(Some(value)))
            .map_err(|_| format!("{text:?} is neither a value nor `none`"))
    }
}

/// Days that something is kept, or `none`. 0 is refused: it would delete everything, and who writes it mostly means the opposite.
pub fn days(text: &str) -> Result<Clearable<u32>, String> {
    match text.parse()? {
        Clearable(Some(0)) => Err("0 days would keep nothing; to keep everything for ever use `none`".to_owned()),
        days => Ok(days),
    }
}

/// A share of events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err("a share is a number from 0 to 1, such as 0.25".to_owned()),
        }
    }
}

/// How a sampled share is chosen, as written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy(pub SamplingStrategy);

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = serde_json::Value::String(text.replace('-', "_"));
        serde_json::from_value(name)
            .map(Self)
            .map_err(|_| "strategies are random, deterministic and time_window".to_owned())
    }
}

/// Checks an IANA time zone and gives its name as the data spell it.
pub fn time_zone(text: &str) -> Result<String, String> {
    let zone = jiff::tz::TimeZone::get(text)
        .map_err(|_| format!("{text:?} is no time zone; zones have IANA names such as Europe/Berlin or UTC"))?;
    Ok(zone.iana_name().unwrap_or(text).to_owned())
}

/// Reads a project's name: 1 to 255 characters.
pub fn name(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    match trimmed.chars().count() {
        0 => Err("a name has at least one character".to_owned()),
        1..=model::limits::NAME_CHARS_MAX => Ok(trimmed.to_owned()),
        _ => Err(format!(
            "a name has at most {} characters",
            model::limits::NAME_CHARS_MAX
        )),
    }
}

/// Reads a project's id.
pub fn project_id(text: &str) -> Result<ProjectId, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no project id; `simple-analytics project list` shows them"))
}

/// Origins between commas; `none` is the empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(pub Vec<String>);

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        crate::config::origins(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_clears_and_other_texts_are_values() {
        assert_eq!("none".parse(), Ok(Clearable::<u32>(None)));
        assert_eq!("0".parse(), Ok(Clearable(Some(0_u32))));
        assert!("None ".parse::<Clearable<u32>>().is_err());
        assert!("-1".parse::<Clearable<u32>>().is_err());
        assert_eq!(days("none"), Ok(Clearable(None)));
        assert_eq!(days("1"), Ok(Clearable(Some(1))));
        assert!(days("0").is_err_and(|sentence| sentence.contains("`none`")));
    }

    #[test]
    fn shares_strategies_and_zones_are_checked() {
        assert_eq!("0.5".parse(), Ok(Share(0.5)));
        for wrong in ["1.01", "-0.1", "NaN", "half"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        assert_eq!("time-window".parse(), Ok(Strategy(SamplingStrategy::TimeWindow)));
        assert!("sometimes".parse::<Strategy>().is_err());
        assert_eq!(time_zone("europe/berlin").as_deref(), Ok("Europe/Berlin"));
        assert!(time_zone("Europe/Bärlin").is_err());
    }

    #[test]
    fn origins_are_origins() {
        let origins = |texts: &[&str]| Ok(Origins(texts.iter().map(|text| (*text).to_owned()).collect()));
        assert_eq!("none".parse(), origins(&[]));
        assert_eq!(
            "https://a.example, http://localhost:3000,https://*.example.com,*".parse(),
            origins(&[
                "https://a.example",
                "http://localhost:3000",
                "https://*.example.com",
                "*"
            ])
        );
        for wrong in [
            "example.com",
            "https://example.com/page",
            "https://a.*.com",
            "https://*",
            "null",
            "https://a.example,b.example",
        ] {
            assert!(wrong.parse::<Origins>().is_err(), "{wrong}");
        }
    }
}
