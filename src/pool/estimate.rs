//! What a call costs a worker, as measured, and how far ahead that lets the pool send.
//!
//! Pure. The wake-up of an idle process costs tens of microseconds; a call that itself costs
//! less than that is best handed over while its worker is still awake. The further ahead, the
//! longer a call may stand behind one that turns out long, so the window is what fits into a
//! budget of time, and what stands behind a head that runs over is rescued.

use std::time::Duration;

/// Time that calls sent ahead may together be expected to take in one worker.
const BUDGET: Duration = Duration::from_micros(500);
/// Most calls in one worker, however short they are.
const WINDOW_MOST: u32 = 32;
/// A head is overdue after this many times its expected time ...
const OVERDUE_FACTOR: u32 = 16;
/// ... but not before this: a timer knows no less.
const OVERDUE_LEAST: Duration = Duration::from_millis(1);
/// How much of the average one new time is.
const WEIGHT: f64 = 1.0 / 16.0;

/// The running average of the time a worker takes for a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    seconds: Option<f64>,
}

impl Estimate {
    /// A call took this long at the head of its worker.
    pub(super) fn took(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.seconds = Some(match self.seconds {
            None => seconds,
            Some(average) => average + (seconds - average) * WEIGHT,
        });
    }

    /// The average; `None` before the first call.
    pub(super) fn service(self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs_f64)
    }

    /// How many calls one worker may hold at once. One until something was measured.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and cut to its most next"
    )]
    pub(super) fn window(self) -> u32 {
        let Some(seconds) = self.seconds else { return 1 };
        let fits = BUDGET.as_secs_f64() / seconds.max(1e-9);
        (fits as u32).clamp(1, WINDOW_MOST)
    }

    /// When a head that has run this long is called overdue.
    pub(super) fn overdue_after(self) -> Duration {
        let expected = self.service().unwrap_or_default();
        (expected * OVERDUE_FACTOR).max(OVERDUE_LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(micros: u64, calls: u32) -> Estimate {
        let mut estimate = Estimate::default();
        (0..calls).for_each(|_| estimate.took(Duration::from_micros(micros)));
        estimate
    }

    #[test]
    fn nothing_is_sent_ahead_before_something_was_measured() {
        assert_eq!(Estimate::default().window(), 1);
    }

    #[test]
    fn short_calls_open_the_window_and_long_ones_close_it() {
        assert_eq!(after(5, 10).window(), 32);
        assert_eq!(after(100, 10).window(), 5);
        assert_eq!(after(300, 10).window(), 1);
    }

    #[test]
    fn one_long_call_among_short_ones_closes_it_for_a_while() {
        let mut estimate = after(5, 100);
        estimate.took(Duration::from_millis(600));
        assert_eq!(estimate.window(), 1);
        (0..300).for_each(|_| estimate.took(Duration::from_micros(5)));
        assert_eq!(estimate.window(), 32);
    }
}
