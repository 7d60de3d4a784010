//! Numbers that only grow, alone and one for each status.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Counts up to this number. A lower one changes nothing, so that the counter never falls.
    pub(super) fn raise_to(&self, number: u64) {
        self.0.fetch_max(number, Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Lowest and highest status that is told apart.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;

/// One counter for each status; 4 KB a route buys a look-up that is one subtraction.
#[derive(Debug)]
pub(super) struct StatusCounters(Box<[Counter]>);

impl Default for StatusCounters {
    fn default() -> Self {
        Self(STATUSES.map(|_| Counter::default()).collect())
    }
}

impl StatusCounters {
    /// Counts a status; what is outside of 100 to 599 is counted as the nearest inside.
    pub(super) fn count(&self, status: u16) {
        let status = status.clamp(*STATUSES.start(), *STATUSES.end());
        self.0[usize::from(status - STATUSES.start())].add(1);
    }

    /// Every status that was seen.
    pub(super) fn seen(&self) -> impl Iterator<Item = (u16, u64)> {
        STATUSES.zip(&self.0).map(|(status, counter)| (status, counter.value())).filter(|s| s.1 > 0)
    }
}
