//! How many workers are in which state.
//!
//! Pure: data and the smallest steps on it, as the rest of [`Crew`].

use super::{Crew, Phase};
use crate::pool::rules::Rules;

/// How many workers are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pool) struct Census {
    /// Neither leaving nor to be replaced.
    pub(in crate::pool) counted: usize,
    pub(in crate::pool) starting: usize,
    pub(in crate::pool) serving: usize,
}

impl Crew {
    /// Returns how many workers are in which state.
    pub(in crate::pool) fn census(&mut self) -> Census {
        let census = self.census.unwrap_or_else(|| self.count());
        *self.census.insert(census)
    }

    pub(super) fn count(&self) -> Census {
        let mut census = Census::default();
        for book in self.workers.values() {
            census.counted += usize::from(book.counts());
            census.starting += usize::from(book.phase == Phase::Starting);
            census.serving += usize::from(book.phase == Phase::Serving);
        }
        census
    }

    /// Returns true if no worker has changed since the last count, and while no call waits none is to be
    /// started and none to be let go.
    pub(in crate::pool) fn is_as_wanted(&self, rules: &Rules) -> bool {
        let Some(census) = self.census else { return false };
        let is_within = rules.least <= census.counted && census.counted <= rules.most;
        let may_one_be_added = self.free.is_empty() && census.counted < rules.most;
        is_within && census.starting == 0 && !may_one_be_added
    }
}
