//! How long calls take, as measured, and how many calls the pool therefore sends ahead.
//!
//! Pure: times come in as arguments. There are three figures:
//! - The *service* time is how long a worker has one call, on average.
//! - The *pace* is how much of a worker's time passes per call that it finishes. It is shorter
//!   than the service time where a worker has several calls at once, and tells how long a queue
//!   will take.
//! - The *least* time is what a call takes when nothing else delays it. It decides how many calls
//!   are sent ahead: under load an answer is read late, so an average would measure the server
//!   and not the program. It follows shorter times quickly and longer ones slowly, and doubles
//!   when a head is overdue.
//!
//! To wake an idle process costs tens of microseconds. A call that costs less is best sent while
//! its worker is still awake. But the more calls are sent ahead, the more of them may stand behind
//! a long one. So only as many are sent as fit into a budget of time, and the calls behind an
//! overdue head are rescued.

use std::time::Duration;

/// How long the calls in one worker may be expected to take together.
const BUDGET: Duration = Duration::from_micros(500);
/// Most calls in one worker, however short they are.
const WINDOW_MOST: u32 = 32;
/// A head is overdue after this many times its expected time ...
const OVERDUE_FACTOR: u64 = 16;
/// ... but not before this, because timers are no finer.
const OVERDUE_LEAST: Duration = Duration::from_millis(1);
/// The weight of one new time in an average.
const WEIGHT: f64 = 1.0 / 16.0;

/// How far the least time moves towards a shorter one, ...
const FALL: f64 = 1.0 / 4.0;
/// ... and by which part of itself it grows at most for a longer one.
const RISE: f64 = 1.0 / 32.0;
/// A least time below this grows as if it were this long.
const RISE_FROM: f64 = 10e-6;

/// One time counts as at most this many times the average before it, so that one call that hung
/// does not make a whole queue look hopeless. When all calls become slow the average still
/// follows soon: after twenty of them it can be a thousand times as long.
const CLIP: f64 = 8.0;
/// When times are clipped, an average below this counts as this long.
const CLIP_FROM: f64 = 100e-6;

/// The running averages of the time that calls take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    seconds: Option<f64>,
    pace: Option<f64>,
    least: Option<f64>,
    /// The answers that came in the last read: the time of all of them together, and how many.
    read: (f64, u32),
}

impl Estimate {
    /// A worker had one call for this long.
    pub(super) fn served(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.seconds = Some(match self.seconds {
            None => seconds,
            Some(average) => average + (seconds - average) * WEIGHT,
        });
    }

    /// A call took this long at the head of its worker.
    pub(super) fn took(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        // The first answer of a read gets all the time since the read before, the others none.
        if time.is_zero() && self.read.1 > 0 {
            self.read.1 += 1;
            return;
        }
        let (together, calls) = std::mem::replace(&mut self.read, (seconds, 1));
        // The very first read has none before it.
        let shortest = if calls == 0 { seconds } else { together / f64::from(calls) };
        self.least = Some(match self.least {
            None => shortest,
            Some(least) if shortest < least => least - (least - shortest) * FALL,
            Some(least) => shortest.min(least + least.max(RISE_FROM) * RISE),
        });
    }

    /// A head is overdue while other calls stand behind it.
    pub(super) fn ran_over(&mut self) {
        self.least = self.least.map(|least| least.max(RISE_FROM) * 2.0);
    }

    /// A worker finished a call, with whatever result, this long after it finished the one before
    /// or began to work.
    pub(super) fn finished(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.pace = Some(match self.pace {
            None => seconds,
            Some(average) => {
                let counted = seconds.min(average.max(CLIP_FROM) * CLIP);
                average + (counted - average) * WEIGHT
            }
        });
    }

    /// How much of a worker's time passes per call; `None` before the first call.
    pub(super) fn pace(self) -> Option<Duration> {
        self.pace.map(Duration::from_secs_f64)
    }

    /// The average service time; `None` before the first call.
    pub(super) fn service(self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs_f64)
    }

    /// The pace in whole nanoseconds; zero before the first call.
    pub(super) fn pace_nanos(&self) -> u64 {
        nanos(self.pace)
    }

    /// The average service time in whole nanoseconds; zero before the first call.
    pub(super) fn service_nanos(&self) -> u64 {
        nanos(self.seconds)
    }

    /// How many calls one worker may hold at once: one, until something was measured.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and clamped in the next step"
    )]
    pub(super) fn window(self) -> u32 {
        let Some(least) = self.least else { return 1 };
        let fits = BUDGET.as_secs_f64() / least.max(1e-9);
        (fits as u32).clamp(1, WINDOW_MOST)
    }

    /// How long a head may run before it is overdue.
    pub(super) fn overdue_after(self) -> Duration {
        let overdue = nanos(self.least).saturating_mul(OVERDUE_FACTOR);
        Duration::from_nanos(overdue).max(OVERDUE_LEAST)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time is positive, and one that is too long becomes the longest"
)]
fn nanos(seconds: Option<f64>) -> u64 {
    (seconds.unwrap_or_default() * 1e9) as u64
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
    fn one_call_that_hung_hardly_slows_the_pace_and_many_do() {
        let mut estimate = Estimate::default();
        (0..20).for_each(|_| estimate.finished(Duration::from_millis(1)));
        estimate.finished(Duration::from_secs(30));
        assert!(estimate.pace().expect("measured") < Duration::from_millis(2));
        (0..40).for_each(|_| estimate.finished(Duration::from_secs(1)));
        assert!(estimate.pace().expect("measured") > Duration::from_millis(500));
    }

    #[test]
    fn calls_that_become_long_close_the_window() {
        let mut estimate = after(5, 100);
        (0..200).for_each(|_| estimate.took(Duration::from_millis(1)));
        assert_eq!(estimate.window(), 1);
        (0..30).for_each(|_| estimate.took(Duration::from_micros(5)));
        assert_eq!(estimate.window(), 32);
    }

    #[test]
    fn answers_that_are_read_late_do_not_close_the_window() {
        let mut estimate = Estimate::default();
        for round in 0..200 {
            // Other work of the server takes from nothing to 3 ms before it reads again.
            estimate.took(Duration::from_micros(20 + 750 * (round % 5)));
        }
        assert!(estimate.window() > 8, "{}", estimate.window());
    }

    #[test]
    fn answers_of_one_read_share_its_time() {
        let mut estimate = Estimate::default();
        for _ in 0..50 {
            estimate.took(Duration::from_micros(400));
            (0..7).for_each(|_| estimate.took(Duration::ZERO));
        }
        assert!((9..=10).contains(&estimate.window()), "{}", estimate.window());
    }

    #[test]
    fn a_head_that_runs_over_halves_the_window() {
        let mut estimate = after(50, 100);
        let before = estimate.window();
        estimate.ran_over();
        assert_eq!(estimate.window(), before / 2);
    }
}
