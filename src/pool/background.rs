//! What the books know of background work: items of batches and jobs. It waits outside of the books,
//! and comes in only when a worker begins with it at once.
//!
//! Pure: data and the smallest steps on it; `vacancy` decides.

use std::time::{Duration, Instant};

use super::rules::Rules;
use crate::base::WorkerId;
use crate::config::InFlight;
use crate::config::pool::RuleSettings;

/// How long background work waits for a worker that nobody else needs.
pub(super) const WAIT_MOST: Duration = Duration::from_secs(30);

/// What the books know of the background work that waits elsewhere.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// Since when the work waits that has waited longest; `None` if none waits.
    pub(super) waits_since: Option<Instant>,
    /// Some of it could begin at once.
    pub(super) is_ready: bool,
    /// This worker gets no calls of callers, because background work has waited too long.
    pub(super) kept: Option<WorkerId>,
}

impl Background {
    /// Returns true if background work waits.
    pub(super) fn waits(&self) -> bool {
        self.waits_since.is_some()
    }
}

impl Rules {
    /// How many calls a worker can work on at once.
    pub(super) fn places_each(&self) -> usize {
        match self.in_flight {
            InFlight::Fixed(calls) if !self.takes_one() => calls as usize,
            InFlight::Fixed(_) | InFlight::Auto => 1,
        }
    }

    /// How many places in workers background work may hold while so many workers serve.
    pub(super) fn background_most(&self, serving: usize) -> usize {
        let places = serving.min(self.most).saturating_mul(self.places_each());
        RuleSettings::background_places(self.share, places)
    }
}
