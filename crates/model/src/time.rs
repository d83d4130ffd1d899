//! Instants as the platform stores them (`docs/semantics`, "Time"): UTC, microseconds.

use std::{fmt, str::FromStr};

use jiff::civil;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A UTC instant in microseconds since the Unix epoch; within years 0001 to 9999.
///
/// As JSON: RFC 3339 text with `Z`. In binary formats: the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is no [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-01-31T12:00:00Z")]
pub struct ParseTimestampError;

impl Timestamp {
    /// 0001-01-01T00:00:00Z: PostgreSQL and DuckDB store nothing useful before it.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z, the last instant that the calendar library can place in every zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// The instant that many microseconds after (or before) the Unix epoch; `None` outside years 0001 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the Unix epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant moved by `seconds`, held within years 0001 to 9999.
    pub fn saturating_add_seconds(self, seconds: i64) -> Self {
        self.saturating_add_micros(seconds.saturating_mul(1_000_000))
    }

    /// This instant less `days` times 24 hours, held within years 0001 to 9999.
    pub fn days_before(self, days: u32) -> Self {
        self.saturating_add_seconds(-i64::from(days) * 86_400)
    }

    /// This instant moved by `micros`, held within years 0001 to 9999.
    pub fn saturating_add_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds from `earlier` to this instant; negative when `earlier` is later.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The same instant for calendar work.
    pub fn to_jiff(self) -> jiff::Timestamp {
        // Cannot fail: the range of `Self` lies inside that of jiff.
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The calendar date of this instant in `zone`.
    pub fn date_in(self, zone: &jiff::tz::TimeZone) -> civil::Date {
        zone.to_datetime(self.to_jiff()).date()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    /// Rounds down to the microsecond and holds the result within years 0001 to 9999.
    fn from(instant: jiff::Timestamp) -> Self {
        Self(instant.as_microsecond().clamp(Self::MIN.0, Self::MAX.0))
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Reads RFC 3339. A time without a zone is UTC (contract, first section); a date alone is its midnight in UTC.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Nothing valid is longer: 2026-01-31T12:00:00.123456789+00:00 and a zone name.
        if text.len() > 64 {
            return Err(ParseTimestampError);
        }
        let instant = match text.parse::<jiff::Timestamp>() {
            Ok(instant) => instant,
            Err(_) => {
                let local = text.parse::<civil::DateTime>().map_err(|_| ParseTimestampError)?;
                jiff::tz::TimeZone::UTC
                    .to_timestamp(local)
                    .map_err(|_| ParseTimestampError)?
            }
        };
        Self::from_micros(instant.as_microsecond()).ok_or(ParseTimestampError)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with `Z`, whole seconds or six digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = self.to_jiff();
        if self.0.rem_euclid(1_000_000) == 0 {
            write!(formatter, "{instant}")
        } else {
            write!(formatter, "{instant:.6}")
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let micros = i64::deserialize(deserializer)?;
            Self::from_micros(micros).ok_or_else(|| serde::de::Error::custom("instant outside years 0001 to 9999"))
        }
    }
}

#[cfg(test)]
mod tests;
