//! The few properties that derived keys come from, read in one pass; all others are skipped unread.
//!
//! | key | properties, the first that is there counts |
//! |---|---|
//! | URL of the page | `url`, `page_url`, `$current_url`, `current_url`, `page_location`, `href` |
//! | `path` | `path`, `page_path`, `$pathname`, `pathname`, `page` (a path or URL only), else the URL's |
//! | `hostname` | `hostname`, `host`, `$host`, else the URL's |
//! | `referrer_host` | `referrer`, `$referrer`, `page_referrer`, `referer` |
//! | `utm_*` | the property of the same name, else the URL's query |
//!
//! Only strings that are not blank count.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// What a property is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Url,
    Path,
    /// A path only if it looks like one: others name their pages here.
    Page,
    Hostname,
    Referrer,
    UtmSource,
    UtmMedium,
    UtmCampaign,
    UtmTerm,
    UtmContent,
}

const SLOTS: usize = 10;

/// The slot that a property fills, with its rank there: the lower wins.
pub(super) fn slot(name: &str) -> Option<(Slot, u8)> {
    Some(match name {
        "url" => (Slot::Url, 0),
        "page_url" => (Slot::Url, 1),
        "$current_url" => (Slot::Url, 2),
        "current_url" => (Slot::Url, 3),
        "page_location" => (Slot::Url, 4),
        "href" => (Slot::Url, 5),
        "path" => (Slot::Path, 0),
        "page_path" => (Slot::Path, 1),
        "$pathname" => (Slot::Path, 2),
        "pathname" => (Slot::Path, 3),
        "page" => (Slot::Page, 0),
        "hostname" => (Slot::Hostname, 0),
        "host" => (Slot::Hostname, 1),
        "$host" => (Slot::Hostname, 2),
        "referrer" => (Slot::Referrer, 0),
        "$referrer" => (Slot::Referrer, 1),
        "page_referrer" => (Slot::Referrer, 2),
        "referer" => (Slot::Referrer, 3),
        "utm_source" => (Slot::UtmSource, 0),
        "utm_medium" => (Slot::UtmMedium, 0),
        "utm_campaign" => (Slot::UtmCampaign, 0),
        "utm_term" => (Slot::UtmTerm, 0),
        "utm_content" => (Slot::UtmContent, 0),
        _ => return None,
    })
}

/// The properties found, by slot.
#[derive(Debug, Default)]
pub(super) struct PageProperties<'a>([Option<(u8, Cow<'a, str>)>; SLOTS]);

impl<'a> PageProperties<'a> {
    /// Reads them from a JSON object; nothing from anything else.
    pub fn read(properties: &'a str) -> Self {
        serde_json::from_str(properties).unwrap_or_default()
    }

    /// The text of a slot, trimmed, never blank.
    pub fn get(&self, slot: Slot) -> Option<&str> {
        self.0[slot as usize].as_ref().map(|(_, text)| text.trim())
    }

    fn offer(&mut self, slot: Slot, rank: u8, text: Cow<'a, str>) {
        let place = &mut self.0[slot as usize];
        let is_better = place.as_ref().is_none_or(|(best, _)| rank <= *best);
        if is_better && !text.trim().is_empty() {
            *place = Some((rank, text));
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PageProperties<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PropertiesVisitor;

        impl<'de> Visitor<'de> for PropertiesVisitor {
            type Value = PageProperties<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = PageProperties::default();
                while let Some(slot) = map.next_key_seed(SlotSeed)? {
                    match slot {
                        Some((slot, rank)) => {
                            if let Some(text) = map.next_value_seed(TextSeed)? {
                                found.offer(slot, rank, text);
                            }
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(PropertiesVisitor)
    }
}

struct SlotSeed;

impl<'de> DeserializeSeed<'de> for SlotSeed {
    type Value = Option<(Slot, u8)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for SlotSeed {
    type Value = Option<(Slot, u8)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a property's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(slot(name))
    }
}

/// A string as text, anything else as nothing.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
