//! Which second it is, for samples that all pools take alike.
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

/// The seconds since 1970, counted on from one moment. A clock that is set later does not change
/// them, so that no second comes twice.
#[derive(Clone, Copy, Debug)]
pub struct SecondClock {
    /// The begin of the second `number`.
    begin: Instant,
    number: u64,
}

impl SecondClock {
    /// A clock that shows `since_epoch` at `now`.
    pub fn new(now: Instant, since_epoch: Duration) -> Self {
        let inside = Duration::from_nanos(u64::from(since_epoch.subsec_nanos()));
        let begin = now.checked_sub(inside).unwrap_or(now);
        Self { begin, number: since_epoch.as_secs() }
    }

    /// Returns the second that a moment is in. What was before the clock is in its first second.
    pub fn second_of(&self, at: Instant) -> u64 {
        self.number + at.saturating_duration_since(self.begin).as_secs()
    }

    /// Returns when a second begins.
    pub fn begin_of(&self, second: u64) -> Instant {
        self.begin + Duration::from_secs(second.saturating_sub(self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_begin_where_those_of_the_wall_clock_did() {
        let now = Instant::now();
        let clock = SecondClock::new(now, Duration::from_millis(7_400));
        let at = |millis| clock.second_of(now + Duration::from_millis(millis));
        assert_eq!([at(0), at(599), at(600), at(1_599), at(1_600)], [7, 7, 8, 8, 9]);
        assert_eq!(clock.begin_of(8), now + Duration::from_millis(600));
        assert_eq!(clock.second_of(clock.begin_of(8)), 8);
    }
}
