//! How often somebody may ask: GCRA, which needs one number for each of them.
//!
//! Pure: the time is an argument, in nanoseconds since the server's start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::Rate;

/// A rate as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: Rate,
    /// The time that one request takes up, in nanoseconds.
    each: u64,
    /// How far the requests may be ahead of the time, in nanoseconds.
    most: u64,
}

/// What somebody has used of their rate: the time at which all of it is free again.
#[derive(Debug, Default)]
pub struct UsedRate(AtomicU64);

/// The rate is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// The rate.
    pub rate: Rate,
    /// When there is enough of it again.
    pub retry_after: Duration,
}

/// What is left of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLeft {
    /// The rate.
    pub rate: Rate,
    /// How many requests are let through at once now.
    pub count: u64,
    /// When all of it is free again.
    pub whole_in: Duration,
}

impl Pace {
    /// How this rate is counted.
    pub fn new(rate: Rate) -> Self {
        let period = u64::try_from(rate.period.as_nanos()).unwrap_or(u64::MAX);
        let each = period / u64::from(rate.count.get());
        Self { rate, each, most: each.saturating_mul(rate.count.get().into()) }
    }

    /// Returns the time that is free again after the requests before, and `count` more; or what is
    /// used up.
    fn after(&self, free_at: u64, now: u64, count: u32) -> Result<u64, UsedUp> {
        // More at once than the rate ever allows are let through when all of it is free.
        let cost = self.each.saturating_mul(count.into()).min(self.most);
        let next = free_at.max(now).saturating_add(cost);
        let over = next.saturating_sub(now.saturating_add(self.most));
        if over == 0 {
            return Ok(next);
        }
        Err(UsedUp { rate: self.rate, retry_after: Duration::from_nanos(over) })
    }
}

impl UsedRate {
    /// Takes `count` requests out of what is left.
    ///
    /// # Errors
    ///
    /// There are not so many left, and none was taken.
    pub fn take(&self, pace: &Pace, now: u64, count: u32) -> Result<(), UsedUp> {
        let mut free_at = self.0.load(Ordering::Relaxed);
        loop {
            let next = pace.after(free_at, now, count)?;
            let swapped =
                self.0.compare_exchange_weak(free_at, next, Ordering::AcqRel, Ordering::Relaxed);
            match swapped {
                Ok(_) => return Ok(()),
                Err(other) => free_at = other,
            }
        }
    }

    /// Checks whether one request is left, and takes none.
    ///
    /// # Errors
    ///
    /// There is none left.
    pub fn look(&self, pace: &Pace, now: u64) -> Result<(), UsedUp> {
        pace.after(self.0.load(Ordering::Relaxed), now, 1).map(drop)
    }

    /// Returns what is left.
    pub fn left(&self, pace: &Pace, now: u64) -> RateLeft {
        let used = self.0.load(Ordering::Relaxed).saturating_sub(now).min(pace.most);
        let count = (pace.most - used) / pace.each.max(1);
        RateLeft { rate: pace.rate, count, whole_in: Duration::from_nanos(used) }
    }

    /// Returns true if nothing of the rate is used.
    pub fn is_whole(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(text: &str) -> Pace {
        Pace::new(text.parse().expect("a rate"))
    }

    #[test]
    fn all_of_a_rate_may_be_used_at_once_and_comes_back_piece_by_piece() {
        let (pace, allowance) = (pace("3/6s"), UsedRate::default());
        let now = 7 * SECOND;
        for _ in 0..3 {
            assert_eq!(allowance.take(&pace, now, 1), Ok(()));
        }
        let used_up = allowance.take(&pace, now, 1).expect_err("the fourth");
        assert_eq!(used_up.retry_after, Duration::from_secs(2));
        assert_eq!(used_up.rate.to_string(), "3/6s");
        assert_eq!(allowance.look(&pace, now + 2 * SECOND - 1).map_err(drop), Err(()));
        assert_eq!(allowance.take(&pace, now + 2 * SECOND, 1), Ok(()));
        assert!(allowance.take(&pace, now + 2 * SECOND, 1).is_err());
        let left = |now| (allowance.left(&pace, now).count, allowance.left(&pace, now).whole_in);
        assert_eq!(left(now + 2 * SECOND), (0, Duration::from_secs(6)));
        assert_eq!(left(now + 4 * SECOND - 1), (0, Duration::from_nanos(4 * SECOND + 1)));
        assert_eq!(left(now + 4 * SECOND), (1, Duration::from_secs(4)));
        assert_eq!(left(now + 9 * SECOND), (3, Duration::ZERO));
        assert!(!allowance.is_whole(now + 8 * SECOND - 1));
        assert!(allowance.is_whole(now + 8 * SECOND));
    }

    #[test]
    fn several_at_once_cost_as_many_and_never_more_than_there_is() {
        let (pace, allowance) = (pace("10/10s"), UsedRate::default());
        assert_eq!(allowance.take(&pace, 0, 8), Ok(()));
        let used_up = allowance.take(&pace, 0, 4).expect_err("two are left");
        assert_eq!(used_up.retry_after, Duration::from_secs(2));
        assert_eq!(allowance.take(&pace, 0, 2), Ok(()), "what was refused costs nothing");
        assert_eq!(allowance.take(&pace, 10 * SECOND, 100), Ok(()), "all there is");
        assert!(allowance.take(&pace, 10 * SECOND, 1).is_err());
    }

    proptest! {
        /// Whatever the times: within any stretch no more pass than the rate allows at once and in
        /// that time; and who comes when told is let in.
        #[test]
        fn no_more_pass_than_the_rate_allows(steps in proptest::collection::vec(0_u64..3 * SECOND, 1..200)) {
            let (pace, allowance) = (pace("5/3s"), UsedRate::default());
            let (mut now, mut passed) = (0, Vec::new());
            for step in steps {
                now += step;
                let left = allowance.left(&pace, now).count;
                prop_assert_eq!(allowance.look(&pace, now).is_ok(), left > 0);
                match allowance.take(&pace, now, 1) {
                    Ok(()) => passed.push(now),
                    Err(used_up) => {
                        let then = now + used_up.retry_after.as_nanos() as u64;
                        prop_assert!(allowance.look(&pace, then - 1).is_err());
                        prop_assert!(allowance.look(&pace, then).is_ok());
                    }
                }
            }
            for (at, first) in passed.iter().enumerate() {
                for (count, last) in passed[at..].iter().enumerate() {
                    let most = 5 + (last - first) / pace.each;
                    prop_assert!((count as u64) < most, "{count} within {}", last - first);
                }
            }
        }
    }
}
