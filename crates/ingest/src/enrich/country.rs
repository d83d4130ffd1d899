//! The country of an address.

use std::net::IpAddr;

use maxminddb::Reader;
use serde::Deserialize;

use super::EnricherError;

/// The table, in memory; lookups allocate only their answer.
pub(super) struct Countries(Option<Reader<Vec<u8>>>);

/// A row in either of the two shapes in use: `{country_code}` and MaxMind's own `{country: {iso_code}}`.
#[derive(Deserialize)]
struct Row<'a> {
    country_code: Option<&'a str>,
    #[serde(borrow)]
    country: Option<Country<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

impl Countries {
    pub fn new(mmdb: Option<Vec<u8>>) -> Result<Self, EnricherError> {
        Ok(Self(mmdb.map(Reader::from_source).transpose()?))
    }

    /// ISO 3166-1 alpha-2, upper case; `None` for addresses that belong to no country, private ones among them.
    pub fn country(&self, address: IpAddr) -> Option<String> {
        // A row that cannot be read says as little as none.
        let row: Row<'_> = self.0.as_ref()?.lookup(address).ok()?.decode().ok()??;
        let code = row.country_code.or_else(|| row.country?.iso_code)?;
        let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
        is_code.then(|| code.to_ascii_uppercase())
    }
}
