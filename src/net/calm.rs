//! Counts the frames of HTTP/2 that cost work and carry nothing.
//!
//! Pure. hyper bounds the memory that such frames take, not how many there are.

use std::time::{Duration, Instant};

/// How many such frames may come at once, and how many in a second after that.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 100;
/// Length of what a connection begins with, and of the head of a frame.
const PREFACE: usize = 24;
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

/// Reads the heads of frames as they come, and counts.
#[derive(Debug)]
pub(super) struct Calm {
    /// Bytes to pass over until the next head.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
    left: u32,
    /// Until when the frames that came before are forgiven.
    since: Instant,
}

impl Calm {
    /// A connection that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { skip: PREFACE, head: [0; HEAD], filled: 0, left: BURST, since: now }
    }

    /// Reads bytes that came at `now`, however they are split. Returns false if it is too much.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        self.forgive(now);
        loop {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            let taken = (HEAD - self.filled).min(bytes.len());
            if taken == 0 {
                return true;
            }
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < HEAD {
                return true;
            }
            self.filled = 0;
            let [high, middle, low, kind, flags, ..] = self.head;
            self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if !carries_something(kind, flags, self.skip) {
                let Some(left) = self.left.checked_sub(1) else { return false };
                self.left = left;
            }
        }
    }

    fn forgive(&mut self, now: Instant) {
        let step = Duration::from_secs(1) / PER_SECOND;
        let passed = now.saturating_duration_since(self.since);
        let count = u32::try_from(passed.as_nanos() / step.as_nanos()).unwrap_or(u32::MAX);
        if count > 0 {
            self.left = self.left.saturating_add(count).min(BURST);
            self.since = now;
        }
    }
}

/// Requests carry something, so do bodies and their ends. Readers of large answers say often how
/// much they have read.
fn carries_something(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        DATA => length > 0 || flags & END_STREAM != 0,
        HEADERS | WINDOW_UPDATE => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn preface(now: Instant) -> Calm {
        let mut calm = Calm::new(now);
        assert!(calm.read(&[b'x'; PREFACE], now));
        calm
    }

    #[test]
    fn frames_that_carry_nothing_are_counted_however_they_are_split() {
        let now = Instant::now();
        for size in [1, 2, 7, 17, 100, 1 << 20] {
            let mut calm = preface(now);
            let most = PING.repeat(BURST as usize);
            assert!(most.chunks(size).all(|bytes| calm.read(bytes, now)), "{size}");
            assert!(!calm.read(&PING, now), "{size}");
            assert!(calm.read(&PING, now + Duration::from_millis(11)), "{size}");
        }
    }

    #[test]
    fn what_carries_something_may_come_as_often_as_it_likes() {
        let now = Instant::now();
        let frames: [&[u8]; 4] = [
            &[0, 0, 1, 0, 0, 0, 0, 0, 1, b'a'],
            &[0, 0, 0, 0, 1, 0, 0, 0, 1],
            &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82],
            &[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 1, 0],
        ];
        let mut calm = preface(now);
        for frame in frames {
            assert!((0..2 * BURST).all(|_| calm.read(frame, now)), "{frame:?}");
        }
        let empty = [0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(!(0..2 * BURST).all(|_| calm.read(&empty, now)));
    }
}
