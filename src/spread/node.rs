//! What a pool is, so that only pools that answer alike share calls; and how nodes are written.
//!
//! Pure. Both are parts of subjects, so both are written in hexadecimal, whatever they hold.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use crate::base::NodeId;

/// What a pool is: two pools of one name and one seal answer questions alike.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seal(pub u64);

impl Seal {
    /// The seal of a text.
    pub fn of(text: &str) -> Self {
        Self::of_all([text])
    }

    /// The seal of a pool of this name that is made of these facts.
    pub fn of_pool(name: &str, facts: &[(String, Self)]) -> Self {
        let texts = facts.iter().map(|(key, seal)| format!("{key}={seal}")).collect::<Vec<_>>();
        Self::of_all(std::iter::once(name).chain(texts.iter().map(|it| &**it)))
    }

    /// The seal of these texts in this order.
    pub fn of_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Vec::new();
        for text in texts {
            // After its length, so that no two lists of texts read alike.
            all.extend((text.len() as u64).to_le_bytes());
            all.extend(text.as_bytes());
        }
        Self(xxh3_64(&all))
    }
}

/// Returns the facts of a pool as others are told them: what they say stays here.
#[cfg(feature = "nats")]
pub fn facts_of(facts: &[(&'static str, String)]) -> Vec<(String, Seal)> {
    facts.iter().map(|(key, text)| ((*key).to_owned(), Seal::of(text))).collect()
}

/// Reads exactly these digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_right = text.len() == digits && text.bytes().all(is_digit);
    is_right.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Reads a node as it is written in a subject.
pub fn parse_node(text: &str) -> Option<NodeId> {
    hex(text, 32).map(NodeId)
}

/// A node in a message.
pub mod node_text {
    use super::{Cow, Deserialize, Deserializer, NodeId, Serializer, parse_node};

    /// Writes it.
    pub fn serialize<S: Serializer>(node: &NodeId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(node)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NodeId, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        parse_node(&text).ok_or_else(|| serde::de::Error::custom("digits are wrong"))
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Seal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seal {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let seal = hex(&text, 16).and_then(|seal| u64::try_from(seal).ok());
        seal.map(Self).ok_or_else(|| serde::de::Error::custom("digits are wrong"))
    }
}
