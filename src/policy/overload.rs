//! When a queue stands, so that the newest call should be served first.
//!
//! Pure: time comes in as an argument.
//!
//! The rule of `CoDel` (Nichols and Jacobson 2012): a burst makes a queue long, overload makes it
//! *stand*. A queue stands when its oldest call has waited longer than a target at every moment
//! of a whole interval. To serve the oldest first would then give each worker a call whose caller
//! is about to give up, and make every call wait for almost `queue.wait`. To serve the newest
//! first answers new calls within one service time; the calls that wait in vain are the surplus,
//! which could not be served in any order. As soon as no call has waited longer than the target,
//! the oldest is served first again.
//!
//! The target is a tenth of `queue.wait`, because a call that waits no longer is well served. The
//! interval is half of `queue.wait`: a burst that drains faster is served in its order, and a
//! queue that stands is turned round before its first call runs out of time (at 6/10).

use std::time::{Duration, Instant};

/// The shortest target: the time that a busy scheduler takes to wake a process is no overload.
const TARGET_LEAST: Duration = Duration::from_millis(5);

/// Whether one queue stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overload {
    /// Since when the oldest call has waited longer than the target.
    above_since: Option<Instant>,
    is_on: bool,
}

impl Overload {
    /// Looks at the queue after every change. `oldest` is when its oldest call was accepted, `None`
    /// if no call waits; `wait` is `queue.wait`.
    pub fn look(&mut self, now: Instant, oldest: Option<Instant>, wait: Duration) {
        let target = (wait / 10).max(TARGET_LEAST);
        let Some(above) = oldest.map(|accepted| accepted + target).filter(|above| *above <= now)
        else {
            *self = Self::default();
            return;
        };
        // This call was in the queue since then, so the wait was above the target all the time.
        let since = *self.above_since.get_or_insert(above);
        self.is_on |= now >= since + wait / 2;
    }

    /// Returns true if the queue stands.
    pub fn is_on(&self) -> bool {
        self.is_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_queue_that_stood_above_its_target_for_an_interval_is_overloaded() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(2_999), Some(start), WAIT);
        assert!(!overload.is_on());
        overload.look(start + millis(3_000), Some(start), WAIT);
        assert!(overload.is_on(), "half a second of target, two and a half of interval");
    }

    #[test]
    fn one_moment_below_the_target_begins_anew() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(2_000), Some(start), WAIT);
        overload.look(start + millis(2_000), Some(start + millis(1_600)), WAIT);
        overload.look(start + millis(4_000), Some(start + millis(1_600)), WAIT);
        assert!(!overload.is_on());
        overload.look(start + millis(4_600), Some(start + millis(1_600)), WAIT);
        assert!(overload.is_on());
        overload.look(start + millis(4_600), None, WAIT);
        assert!(!overload.is_on());
    }

    #[test]
    fn it_is_over_when_the_head_waits_less_than_the_target_and_not_before() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(3_000), Some(start), WAIT);
        overload.look(start + millis(3_500), Some(start + millis(3_000)), WAIT);
        assert!(overload.is_on(), "not yet below it");
        overload.look(start + millis(3_500), Some(start + millis(3_001)), WAIT);
        assert!(!overload.is_on());
    }

    #[test]
    fn a_call_that_may_hardly_wait_is_not_overload_by_itself() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(4), Some(start), Duration::ZERO);
        assert!(!overload.is_on());
    }
}
