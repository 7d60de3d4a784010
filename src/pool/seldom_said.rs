//! A line of the log that may not be written too often.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

/// When such a line was last written.
#[derive(Debug)]
pub(super) struct SeldomSaid {
    /// The least time between two lines.
    pause: Duration,
    last: Option<Instant>,
    unsaid: u64,
}

impl SeldomSaid {
    /// A line that is written at most once in this time.
    pub(super) fn every(pause: Duration) -> Self {
        Self { pause, last: None, unsaid: 0 }
    }

    /// This many things happened. Returns how many did since the last line, if one may be written.
    pub(super) fn may_say(&mut self, now: Instant, count: u64) -> Option<u64> {
        self.unsaid += count;
        if self.last.is_some_and(|last| now < last + self.pause) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_a_minute_and_says_how_much_happened() {
        let (mut said, start) = (SeldomSaid::every(Duration::from_mins(1)), Instant::now());
        let said: Vec<_> = [0, 1, 59, 60, 61, 120]
            .map(|second| said.may_say(start + Duration::from_secs(second), 2))
            .into();
        assert_eq!(said, [Some(2), None, None, Some(6), None, Some(4)]);
    }
}
