//! How long to wait before the next start after a start that came to nothing.
//!
//! Pure. The delay doubles from 100 ms to 30 s; each is lengthened by up to a quarter, drawn
//! from a seed, so that pools that failed together do not start together.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Failures after which a pool without workers refuses calls instead of letting them wait.
const TRIPPED_AFTER: u32 = 3;

/// The back-off of one pool.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
    seed: u64,
}

impl Backoff {
    /// No failures yet; `seed` decides the jitter.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, until: None, seed }
    }

    /// A worker died before it had given a good answer. Failures inside one delay count once:
    /// eight workers that die of the same cause are one piece of news.
    pub fn failed(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let delay = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        self.until = Some(now + delay + self.jitter(delay / 4));
    }

    /// A worker gave a good answer: all is forgotten.
    pub fn forget(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// When the next start is allowed; `None`: now.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Did the last starts fail, and no good answer come since?
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Have so many starts failed that waiting for the next is no use to a caller?
    pub fn is_tripped(&self) -> bool {
        self.failures >= TRIPPED_AFTER
    }

    fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(unit(&mut self.seed))
    }
}

/// The next number from 0 to 1 of a seed (splitmix64, Steele, Lea and Flood 2014).
pub fn unit(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(seed: u64, count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(seed);
        let mut now = Instant::now();
        (0..count)
            .map(|_| {
                backoff.failed(now);
                let until = backoff.blocked_until(now).expect("just failed");
                let delay = until - now;
                now = until;
                delay
            })
            .collect()
    }

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let delays = delays(7, 40);
        for (step, delay) in delays.iter().enumerate() {
            let least = FIRST.saturating_mul(1 << step.min(16)).min(LONGEST);
            assert!(*delay >= least && *delay <= least + least / 4, "step {step}: {delay:?}");
        }
        assert!(delays[39] >= LONGEST);
    }

    #[test]
    fn seeds_part_pools_that_failed_together() {
        assert_ne!(delays(1, 3), delays(2, 3));
        assert_eq!(delays(1, 3), delays(1, 3));
    }

    #[test]
    fn failures_inside_one_delay_count_once() {
        let now = Instant::now();
        let mut backoff = Backoff::new(1);
        for _ in 0..8 {
            backoff.failed(now);
        }
        assert!(!backoff.is_tripped());
        assert!(backoff.blocked_until(now).expect("failed") < now + Duration::from_millis(130));
    }

    #[test]
    fn a_good_answer_forgets_everything() {
        let now = Instant::now();
        let mut backoff = Backoff::new(1);
        backoff.failed(now);
        backoff.forget();
        assert!(!backoff.is_failing());
        assert_eq!(backoff.blocked_until(now), None);
    }
}
