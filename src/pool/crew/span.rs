//! The time between two moments, kept with them.
//!
//! Pure.

use std::time::{Duration, Instant};

/// The time between two moments. To take one moment from another costs more than to see that it was
/// done before, and all that a call took alone in its worker is counted from one beginning.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Span {
    since: Instant,
    until: Instant,
    time: Duration,
}

impl Span {
    pub(super) fn new(since: Instant, until: Instant) -> Self {
        Self { since, until, time: until.saturating_duration_since(since) }
    }

    pub(in crate::pool) fn since(&self) -> Instant {
        self.since
    }

    pub(in crate::pool) fn until(&self) -> Instant {
        self.until
    }

    pub(in crate::pool) fn time(&self) -> Duration {
        self.time
    }

    /// Returns the time between two other moments, which are mostly the same.
    pub(in crate::pool) fn or(&self, since: Instant, until: Instant) -> Duration {
        let is_same = since == self.since && until == self.until;
        if is_same { self.time } else { until.saturating_duration_since(since) }
    }
}
