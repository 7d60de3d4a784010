//! The names of nodes and of what their pools are.
//!
//! Pure. Both are parts of subjects, so both are written in hexadecimal, whatever they hold.

use std::fmt;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// A server from its start to its end. It is drawn at random at the start, so no message to an
/// earlier server can reach a later one.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub u128);

/// What a pool is: two pools of one name and one seal answer questions alike.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seal(pub u64);

impl Seal {
    /// The seal of a text.
    pub fn of(text: &str) -> Self {
        Self::of_all([text])
    }

    /// The seal of these texts in this order.
    pub fn of_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Vec::new();
        for text in texts {
            // After its length, so that no two lists of texts read alike.
            all.extend((text.len() as u64).to_le_bytes());
            all.extend(text.as_bytes());
        }
        Self(xxh3_128_with_seed(&all, 0) as u64)
    }
}

/// Reads exactly these digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_right = text.len() == digits && text.bytes().all(is_digit);
    is_right.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

macro_rules! in_hexadecimal {
    ($name:ident, $digits:literal, $of:ty) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl $name {
            /// Reads what is written in a message or in a subject.
            pub fn parse(text: &str) -> Option<Self> {
                Some(Self(<$of>::try_from(hex(text, $digits)?).ok()?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                Self::parse(&text).ok_or_else(|| D::Error::custom("digits are wrong"))
            }
        }
    };
}

in_hexadecimal!(NodeId, 32, u128);
in_hexadecimal!(Seal, 16, u64);
