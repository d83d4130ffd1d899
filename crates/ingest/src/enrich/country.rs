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
        row.code()
    }
}

impl Row<'_> {
    fn code(&self) -> Option<String> {
        let code = self
            .country_code
            .or(self.country.as_ref().and_then(|country| country.iso_code))?;
        let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
        is_code.then(|| code.to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_rows_are_read_and_only_codes_are_told() {
        for (row, expected) in [
            (r#"{"country_code":"de"}"#, Some("DE")),
            (r#"{"country":{"iso_code":"NZ","names":{}},"continent":{}}"#, Some("NZ")),
            (r#"{"country_code":"DEU"}"#, None),
            (r#"{"country_code":"1x"}"#, None),
            (r#"{"country_code":""}"#, None),
            (r#"{"country":{}}"#, None),
            ("{}", None),
        ] {
            let row: Row<'_> = serde_json::from_str(row).unwrap();
            assert_eq!(row.code().as_deref(), expected);
        }
    }
}
