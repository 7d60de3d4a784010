//! How far a run has come, as it is kept beside the output so that the next run can go on there.
//!
//! Pure.

use serde::{Deserialize, Serialize};

/// The form of a journal. A later one is refused, not misread.
const VERSION: u32 = 1;

/// A moment at which everything before it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub(super) version: u32,
    /// How many items have their answer in the output.
    pub inputs: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The length of the output, in bytes.
    pub out_bytes: u64,
    /// The length of the list of failures, in bytes; 0 without one.
    pub failed_bytes: u64,
    /// The [`Chain`] of these items.
    pub input_hash: Hash,
    /// What the items were asked with: the program, the route and the form of input and output.
    pub recipe: Hash,
}

/// A hash, written as hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub u128);

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJournal {
    /// It is no journal, or was cut off.
    #[error("it is not what `httpipe map` writes: {0}")]
    Unreadable(String),
    /// A later version wrote it.
    #[error("a later version of httpipe wrote it")]
    Later,
    /// It is of another program or route.
    #[error("it is of a run with another program, route, separator or `--failed`")]
    OtherRecipe,
}

impl Checkpoint {
    /// The moment before the first item.
    pub fn begin(recipe: Hash) -> Self {
        Self {
            version: VERSION,
            inputs: 0,
            failed: 0,
            out_bytes: 0,
            failed_bytes: 0,
            input_hash: Hash::default(),
            recipe,
        }
    }

    /// Returns the journal that says it.
    pub fn text(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("numbers are always JSON") + "\n"
    }

    /// Reads a journal of a run with this recipe.
    ///
    /// # Errors
    ///
    /// [`BadJournal`].
    pub fn read(text: &str, recipe: Hash) -> Result<Self, BadJournal> {
        let unreadable = |error: serde_json::Error| BadJournal::Unreadable(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
        if value["version"].as_u64().is_some_and(|version| version > VERSION.into()) {
            return Err(BadJournal::Later);
        }
        let checkpoint: Self = serde_json::from_value(value).map_err(unreadable)?;
        if checkpoint.recipe != recipe {
            return Err(BadJournal::OtherRecipe);
        }
        Ok(checkpoint)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        format!("{:032x}", hash.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

/// A hash of all items up to one, so that each item can be a place to go on from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain(Hash);

impl Chain {
    /// Returns the hash with one more item.
    #[must_use]
    pub fn with(self, item: &[u8]) -> Self {
        let own = xxhash_rust::xxh3::xxh3_128(item);
        let both = [self.0.0.to_le_bytes(), own.to_le_bytes()].concat();
        Self(Hash(xxhash_rust::xxh3::xxh3_128(&both)))
    }

    /// Returns the hash.
    pub fn hash(self) -> Hash {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { inputs: 7, out_bytes: 40, ..Checkpoint::begin(Hash(3)) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let checkpoint = checkpoint();
        assert_eq!(Checkpoint::read(&checkpoint.text(), Hash(3)), Ok(checkpoint));
    }

    #[test]
    fn a_journal_of_another_run_or_version_is_refused() {
        let text = checkpoint().text();
        assert_eq!(Checkpoint::read(&text, Hash(4)), Err(BadJournal::OtherRecipe));
        let later = text.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(Checkpoint::read(&later, Hash(3)), Err(BadJournal::Later));
        for cut in 0..text.trim_end().len() {
            let read = Checkpoint::read(&text[..cut], Hash(3));
            assert!(matches!(read, Err(BadJournal::Unreadable(_))), "{cut}");
        }
    }

    #[test]
    fn a_chain_tells_items_from_other_items_and_other_cuts() {
        let chain = |items: &[&str]| {
            items.iter().fold(Chain::default(), |chain, item| chain.with(item.as_bytes())).hash()
        };
        assert_eq!(chain(&["a", "b"]), chain(&["a", "b"]));
        for other in [&["ab"][..], &["b", "a"], &["a", "b", ""], &["", "a", "b"], &["a"]] {
            assert_ne!(chain(other), chain(&["a", "b"]), "{other:?}");
        }
    }
}
