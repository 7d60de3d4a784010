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
//! While workers are being added, the newest is served first much sooner: after a tenth of a second, and until
//! the oldest has waited for a second. The calls that wait get a worker each, one after the other, and
//! nobody knows how long they take. A call that comes now may be a short one, which would wait until
//! all these workers have started.
//!
//! The target is a tenth of `queue.wait`, because a call that waits no longer is well served. The
//! interval is half of `queue.wait`: a burst that drains faster is served in its order, and a
//! queue that stands is turned round before its first call runs out of time (at 6/10).

use std::time::{Duration, Instant};

/// The shortest target: the time that a busy scheduler takes to wake a process is no overload.
const TARGET_LEAST: Duration = Duration::from_millis(5);
/// How long the oldest call has waited when the newest goes first because workers are being added:
/// some starts of an interpreter, ...
const OUTGROWN: Duration = Duration::from_millis(100);
/// ... and until when at most, so that no call is passed over for long, or until it is too late for it.
const OUTGROWN_MOST: Duration = Duration::from_secs(1);

/// Whether one queue stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overload {
    /// Since when the oldest call has waited longer than the target.
    above_since: Option<Instant>,
    is_on: bool,
    /// Workers are being added, and the oldest call has waited for some starts.
    is_outgrown: bool,
}

impl Overload {
    /// Looks at the queue after every change. `oldest` is when its oldest call was accepted, `None`
    /// if no call waits; `wait` is `queue.wait`, and `grows` says whether workers are being added.
    pub fn look(&mut self, now: Instant, oldest: Option<Instant>, wait: Duration, grows: bool) {
        let waited = oldest.map(|accepted| now.saturating_duration_since(accepted));
        let outgrown = OUTGROWN..OUTGROWN_MOST.min(wait / 2);
        let is_outgrown = grows && waited.is_some_and(|waited| outgrown.contains(&waited));
        let target = (wait / 10).max(TARGET_LEAST);
        let Some(above) = oldest.map(|accepted| accepted + target).filter(|above| *above <= now)
        else {
            *self = Self { is_outgrown, ..Self::default() };
            return;
        };
        self.is_outgrown = is_outgrown;
        // This call was in the queue since then, so the wait was above the target all the time.
        let since = *self.above_since.get_or_insert(above);
        self.is_on |= now >= since + wait / 2;
    }

    /// Returns true if the queue stands.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns true if the newest call goes first.
    pub fn newest_first(&self) -> bool {
        self.is_on || self.is_outgrown
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
        overload.look(start + millis(2_999), Some(start), WAIT, false);
        assert!(!overload.is_on());
        overload.look(start + millis(3_000), Some(start), WAIT, false);
        assert!(overload.is_on(), "half a second of target, two and a half of interval");
    }

    #[test]
    fn one_moment_below_the_target_begins_anew() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(2_000), Some(start), WAIT, false);
        overload.look(start + millis(2_000), Some(start + millis(1_600)), WAIT, false);
        overload.look(start + millis(4_000), Some(start + millis(1_600)), WAIT, false);
        assert!(!overload.is_on());
        overload.look(start + millis(4_600), Some(start + millis(1_600)), WAIT, false);
        assert!(overload.is_on());
        overload.look(start + millis(4_600), None, WAIT, false);
        assert!(!overload.is_on());
    }

    #[test]
    fn it_is_over_when_the_head_waits_less_than_the_target_and_not_before() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(3_000), Some(start), WAIT, false);
        overload.look(start + millis(3_500), Some(start + millis(3_000)), WAIT, false);
        assert!(overload.is_on(), "not yet below it");
        overload.look(start + millis(3_500), Some(start + millis(3_001)), WAIT, false);
        assert!(!overload.is_on());
    }

    #[test]
    fn while_workers_are_added_the_newest_goes_first_soon_and_not_for_long() {
        let start = Instant::now();
        let mut overload = Overload::default();
        let mut after = |passed, grows| {
            overload.look(start + millis(passed), Some(start), WAIT, grows);
            (overload.newest_first(), overload.is_on())
        };
        assert_eq!(after(99, true), (false, false), "one start or two");
        assert_eq!(after(100, true), (true, false));
        assert_eq!(after(600, true), (true, false), "above the target, and not for long");
        assert_eq!(after(700, false), (false, false), "the last one has started");
        assert_eq!(after(999, true), (true, false));
        assert_eq!(after(1_000, true), (false, false), "the oldest has waited long enough");
        assert_eq!(after(3_200, true), (true, true));
    }

    #[test]
    fn a_call_that_may_hardly_wait_is_not_overload_by_itself() {
        let start = Instant::now();
        let mut overload = Overload::default();
        overload.look(start + millis(4), Some(start), Duration::ZERO, false);
        assert!(!overload.is_on());
    }
}
