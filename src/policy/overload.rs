//! When a queue stands instead of moving, and serving the oldest first helps nobody.
//!
//! Pure: time comes in as an argument.
//!
//! The rule of `CoDel` (Nichols and Jacobson 2012): a burst makes a queue long, overload makes it
//! *stand*. A queue stands when the wait at its head has been above a target at every moment of
//! a whole interval. Oldest first would then give each worker a call whose caller is about to
//! give up, and make everybody wait for almost `queue.wait`; newest first answers those who
//! come within one service time, and those who cannot be served anyway are the ones that wait
//! in vain. As soon as no call waits longer than the target, the oldest is the first again.
//!
//! The target is a tenth of `queue.wait`: a call that needs no more of what it is allowed is
//! well served. The interval is half of it: a burst that drains faster is served in its order,
//! and a queue found standing turns round before its first call runs out (after 6/10 of it).

use std::time::{Duration, Instant};

/// No target is below this, nor is one measured in it: a wake-up of the scheduler is no overload.
const TARGET_LEAST: Duration = Duration::from_millis(5);

/// Whether one queue stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overload {
    /// The wait at the head has been above the target since then.
    above_since: Option<Instant>,
    is_on: bool,
}

impl Overload {
    /// Must be told after every change when the call that waits longest was accepted, `None`
    /// where none waits; `wait` is `queue.wait`.
    pub fn look(&mut self, now: Instant, oldest: Option<Instant>, wait: Duration) {
        let target = (wait / 10).max(TARGET_LEAST);
        let Some(above) = oldest.map(|accepted| accepted + target).filter(|above| *above <= now)
        else {
            *self = Self::default();
            return;
        };
        // It stood above the target all the time since, for this call was in it all that time.
        let since = *self.above_since.get_or_insert(above);
        self.is_on |= now >= since + wait / 2;
    }

    /// Does the queue stand?
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
