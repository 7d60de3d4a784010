//! What a key looks like: `hp_`, 160 random bits in base 32, and a checksum of them.
//!
//! Pure: randomness is an argument. The checksum lets tools that search for secrets know a key from
//! other texts.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};

use crate::config::KeyHash;

/// How a key begins.
const PREFIX: &str = "hp_";
/// How many random bytes a key has.
pub const RANDOM: usize = 20;
/// How many characters these make.
const BODY: usize = 32;
/// How many characters of checksum follow.
const CHECKSUM: usize = 4;
/// How long a key is, in bytes.
const LENGTH: usize = PREFIX.len() + BODY + CHECKSUM;

/// A key, to be shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerKey(String);

impl fmt::Debug for CallerKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("CallerKey(…)")
    }
}

impl CallerKey {
    /// Makes a key of random bytes.
    pub fn new(random: [u8; RANDOM]) -> Self {
        let body = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
        let checksum = checksum(body.as_bytes());
        Self(format!("{PREFIX}{body}{}", String::from_utf8_lossy(&checksum)))
    }

    /// Returns the key, to be shown to its holder.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns what is kept of the key.
    pub fn hash(&self) -> KeyHash {
        hash(self.0.as_bytes())
    }
}

/// Returns the hash of what may be a key; `None` if it has another form, whatever the keys are.
///
/// The checksum is not looked at: a text with a wrong one has a hash that nobody has, and costs as much time as
/// every other guess.
pub fn hash_of(text: &[u8]) -> Option<KeyHash> {
    (text.len() == LENGTH && text.starts_with(PREFIX.as_bytes())).then(|| hash(text))
}

fn hash(text: &[u8]) -> KeyHash {
    KeyHash(Sha256::digest(text).into())
}

/// Returns the first characters of the hash of the random part.
fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::digest(body);
    // Five bytes make eight characters.
    let mut text = [0; 8];
    BASE32_NOPAD.encode_mut(&digest[..5], &mut text);
    text.make_ascii_lowercase();
    let (checksum, _) = text.split_first_chunk().expect("eight are more than four");
    *checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_form_and_its_hash() {
        let key = CallerKey::new([7; RANDOM]);
        assert_eq!(key.reveal(), "hp_a4dqobyha4dqobyha4dqobyha4dqobyhneiw");
        assert_eq!(format!("{key:?}"), "CallerKey(…)");
        assert_eq!(hash_of(key.reveal().as_bytes()), Some(key.hash()));
        let text = key.reveal();
        for wrong in [
            String::new(),
            "hp_".to_owned(),
            text.to_ascii_uppercase(),
            text[..LENGTH - 1].to_owned(),
            format!("{text}a"),
            format!(" {text}"),
            text.replace("hp_", "hq_"),
            "x".repeat(60_000),
        ] {
            assert_eq!(hash_of(wrong.as_bytes()), None, "{wrong}");
        }
        let mistyped = hash_of(text.replacen("a4dq", "a4dr", 1).as_bytes());
        assert!(mistyped.is_some_and(|hash| hash != key.hash()), "it is the key of nobody");
    }

    /// So however near a guess is, the comparison of hashes, which looks at all bytes, learns nothing from it.
    #[test]
    fn a_key_that_is_nearly_right_has_another_hash_altogether() {
        let good = CallerKey::new([7; RANDOM]).hash();
        for at in 0..RANDOM * 8 {
            let mut random = [7; RANDOM];
            random[at / 8] ^= 1 << (at % 8);
            let near =
                hash_of(CallerKey::new(random).reveal().as_bytes()).expect("its form is right");
            assert_eq!(near, KeyHash(Sha256::digest(CallerKey::new(random).reveal()).into()));
            let differ = near.0.iter().zip(&good.0).map(|(one, other)| (one ^ other).count_ones());
            assert!((80..176).contains(&differ.sum::<u32>()), "bit {at}");
        }
    }
}
