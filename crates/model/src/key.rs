//! API keys of a project (contract, "Keys and scope").

use std::fmt;

use serde::{Deserialize, Serialize};

/// Random characters in a key; each carries log2(62) = 5.95 bits, so 43 carry 256 (contract: at least 240).
const RANDOM_CHARS: usize = 43;
const PUBLIC_PREFIX: &str = "sa_";
const PRIVATE_PREFIX: &str = "sa_priv_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Which of a project's two keys a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `sa_…`: sends events.
    Public,
    /// `sa_priv_…`: reads.
    Private,
}

impl KeyKind {
    /// What `text` looks like; `None` when it is no key of ours. Says nothing about whether the key exists.
    pub fn of(text: &str) -> Option<Self> {
        let (kind, random) = match text.strip_prefix(PRIVATE_PREFIX) {
            Some(random) => (Self::Private, random),
            None => (Self::Public, text.strip_prefix(PUBLIC_PREFIX)?),
        };
        (random.len() == RANDOM_CHARS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(kind)
    }
}

macro_rules! key_type {
    ($(#[$doc:meta])* $name:ident, $prefix:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A new key from the operating system's randomness.
            pub fn generate() -> Self {
                Self(format!("{}{}", $prefix, random_text(RANDOM_CHARS)))
            }

            /// A key as it was stored.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// The key itself. Never log it.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

key_type!(
    /// Sends events, nothing else; safe in a page.
    PublicKey,
    PUBLIC_PREFIX
);
key_type!(
    /// Reads, nothing else; keep on a server.
    PrivateKey,
    PRIVATE_PREFIX
);

/// `length` characters of letters and digits, each equally likely, from a generator seeded by the operating system.
pub fn random_text(length: usize) -> String {
    use rand::RngExt;
    let mut generator = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[generator.random_range(0..ALPHABET.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_kind_and_hides_in_debug() {
        let (public, private) = (PublicKey::generate(), PrivateKey::generate());
        assert_eq!(KeyKind::of(public.expose()), Some(KeyKind::Public));
        assert_eq!(KeyKind::of(private.expose()), Some(KeyKind::Private));
        assert_ne!(PublicKey::generate(), public);
        assert_eq!(format!("{public:?}{private:?}"), "PublicKey(…)PrivateKey(…)");
    }

    #[test]
    fn padded_cut_and_foreign_texts_are_no_keys() {
        let key = PublicKey::generate();
        for text in [
            "",
            "sa_",
            "sa_priv_",
            " ",
            &format!(" {}", key.expose()),
            &format!("{} ", key.expose()),
            &key.expose()[..45],
        ] {
            assert_eq!(KeyKind::of(text), None, "{text:?}");
        }
    }
}
