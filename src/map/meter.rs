//! How far a run is, in one line for people.
//!
//! Pure.

use std::time::Duration;

/// What is known at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many items have been answered, those of earlier runs included.
    pub done: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many this run has answered.
    pub done_now: u64,
    /// How many bytes of the input have been answered by this run, and how many it began with.
    pub bytes: Option<(u64, u64)>,
    /// How many workers serve.
    pub workers: usize,
    /// How long the run has gone on.
    pub took: Duration,
}

impl Standing {
    /// Returns the line: `61,342 done  61 %  8,412/s  4 s left  3 failed  2 workers`.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{} done", grouped(self.done))];
        let seconds = self.took.as_secs_f64();
        if let Some((done, all)) = self.bytes {
            let share = if all == 0 { 100 } else { u128::from(done) * 100 / u128::from(all) };
            parts.push(format!("{share} %"));
        }
        if seconds > 0.0 {
            parts.push(format!("{}/s", grouped(rate(self.done_now, seconds))));
        }
        if let Some((done, all)) = self.bytes
            && done > 0
            && done < all
        {
            let left = self.took.as_millis() * u128::from(all - done) / u128::from(done);
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
            parts.push(format!("{} left", in_words(left)));
        }
        parts.push(format!("{} failed", grouped(self.failed)));
        parts.push(match self.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        });
        parts.join("  ")
    }

    /// Returns what is said at the end: `100,000 items in 3.2 s, 31,250/s, 3 failed`.
    pub fn summary(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let rate = grouped(rate(self.done_now, seconds.max(0.001)));
        let items = if self.done_now == 1 { "item" } else { "items" };
        let done = grouped(self.done_now);
        format!("{done} {items} in {seconds:.1} s, {rate}/s, {} failed", grouped(self.failed))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people, which is never negative"
)]
fn rate(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds) as u64
}

/// Writes a number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a time as people say it.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{} s", seconds.max(1)),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_how_long_it_takes() {
        let standing = Standing {
            done: 61_342,
            failed: 3,
            done_now: 61_342,
            bytes: Some((610, 1000)),
            workers: 2,
            took: Duration::from_secs(10),
        };
        let line = "61,342 done  61 %  6,134/s  6 s left  3 failed  2 workers";
        assert_eq!(standing.line(), line);
        let unknown = Standing { bytes: None, workers: 1, ..standing };
        assert_eq!(unknown.line(), "61,342 done  6,134/s  3 failed  1 worker");
        assert_eq!(standing.summary(), "61,342 items in 10.0 s, 6,134/s, 3 failed");
    }

    #[test]
    fn the_first_and_the_last_moment_have_lines_too() {
        let begin = Standing { bytes: Some((0, 0)), ..Standing::default() };
        assert_eq!(begin.line(), "0 done  100 %  0 failed  0 workers");
        let times = [0, 59, 60, 61, 7_260].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(times, ["1 s", "59 s", "1 min", "2 min", "2 h 1 min"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
