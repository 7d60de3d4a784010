//! How long a pool waits before it starts the next worker after one that failed.
//!
//! Pure: time comes in as an argument. The delay doubles from 100 ms to 30 s. Each delay is
//! lengthened by up to a quarter, drawn from a seed, so that pools that failed together do not
//! start together.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// After this many failures a pool without workers refuses calls instead of letting them wait.
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

    /// A worker was lost before its first good answer. Failures within one delay count once,
    /// because workers that fail together fail for the same reason.
    pub fn failed(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let delay = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        self.until = Some(now + delay + self.jitter(delay / 4));
    }

    /// A worker gave a good answer: forgets all failures.
    pub fn forget(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// When the next start is allowed; `None` if it is allowed now.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Returns true if a worker failed after the last good answer.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns true if so many starts failed that calls should not wait for the next.
    pub fn is_tripped(&self) -> bool {
        self.failures >= TRIPPED_AFTER
    }

    fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(unit(&mut self.seed))
    }
}

/// Draws the next number from 0 to 1 from a seed (splitmix64, Steele, Lea and Flood 2014).
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
