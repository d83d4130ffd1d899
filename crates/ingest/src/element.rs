//! One event as JSON text, cut into its fields in a single pass that no wrong type can stop: each field stays raw text,
//! so that all bad fields of an event can be named at once and a bad event never hides its neighbours.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Declares the fields that are read, once: the struct, and the keys by which they are found.
macro_rules! fields {
    ($($name:ident),+ $(,)?) => {
        /// The fields of an event; everything else in it is ignored. Of a repeated field the last one counts.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Fields<'a> {
            $(pub $name: Option<&'a RawValue>,)+
        }

        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "each is the field of the same name")]
        enum Key { $($name,)+ Other }

        impl Key {
            fn of(text: &str) -> Self {
                match text {
                    $(stringify!($name) => Self::$name,)+
                    _ => Self::Other,
                }
            }
        }

        impl<'a> Fields<'a> {
            fn read<A: MapAccess<'a>>(mut map: A) -> Result<Self, A::Error> {
                let mut fields = Self::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        $(Key::$name => fields.$name = Some(map.next_value()?),)+
                        Key::Other => { map.next_value::<IgnoredAny>()?; }
                    }
                }
                Ok(fields)
            }
        }
    };
}

fields!(
    id,
    event_name,
    event_source,
    user_id,
    session_id,
    event_id,
    anonymous_id,
    properties,
    timestamp,
    sent_at,
    received_at,
    ip_address,
    user_agent,
);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key::of(text))
            }
        }

        deserializer.deserialize_identifier(KeyVisitor)
    }
}

/// A JSON value where an event should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Element<'a> {
    /// An object.
    Event(Fields<'a>),
    /// Anything else, in words that fit behind "but is".
    Other(&'static str),
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Fields::read(map).map(Element::Event)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element::Other("an array"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Element::Other("a string"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Element::Other("a boolean"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Element::Other("null"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Element::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Element::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Element::Other("a number"))
    }
}
