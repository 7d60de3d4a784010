//! What one connection is doing and since when, and when that takes too long.
//!
//! Pure: time is an argument. Nothing here is armed or cancelled for a request: transitions
//! write a `Cell`, and one timer a connection looks at it from time to time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::config::LimitSettings;

/// How long each phase of a connection may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a head's first byte to its last. Also for a connection that has sent nothing yet.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// While the caller takes nothing of what is written.
    pub(super) write: Duration,
}

impl Patience {
    pub(super) fn of(limits: &LimitSettings) -> Self {
        Self { head: limits.header_timeout, idle: limits.idle_timeout, write: limits.write_timeout }
    }

    /// No phase that begins after now ends before this has passed.
    fn least(self) -> Duration {
        self.head.min(self.idle).min(self.write)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was ever received.
    New(Instant),
    /// All requests are answered.
    Idle(Instant),
    /// A head has begun.
    Head(Instant),
    /// The service works on a request, or its response is still being made.
    Working,
    /// The response is complete, but not yet written.
    Answered,
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A head took too long.
    Head,
    /// No request came.
    Idle,
    /// The caller does not read.
    Write,
}

/// What the timer is told when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// End the connection.
    End(Overdue),
    /// Nothing can be too late before this; look again then.
    Look(Instant),
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    phase: Cell<Phase>,
    /// When the phase began or the head grew last: the end of the head, once it is complete.
    last: Cell<Instant>,
    blocked: Cell<Option<Instant>>,
    /// Was anything written since the last request was answered?
    wrote: Cell<bool>,
    ended: Cell<bool>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Cell::new(Phase::New(now)),
            last: Cell::new(now),
            blocked: Cell::new(None),
            wrote: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    /// Bytes came. The clock is asked only where the answer matters.
    pub(super) fn received(&self, now: impl FnOnce() -> Instant) {
        match self.phase.get() {
            Phase::New(_) | Phase::Idle(_) => {
                let now = now();
                self.phase.set(Phase::Head(now));
                self.last.set(now);
            }
            Phase::Head(_) => self.last.set(now()),
            // A body, or the next head read ahead: that one's time begins when the service
            // is free for it. If only a part of it came, `idle` limits it until more comes.
            Phase::Working | Phase::Answered => {}
        }
    }

    /// The caller closed its side.
    pub(super) fn received_end(&self) {
        self.ended.set(true);
    }

    /// A head is complete; returns since when.
    pub(super) fn called(&self, now: impl FnOnce() -> Instant) -> Instant {
        let since = match self.phase.get() {
            Phase::New(_) | Phase::Idle(_) | Phase::Head(_) => self.last.get(),
            Phase::Working | Phase::Answered => now(),
        };
        self.phase.set(Phase::Working);
        since
    }

    /// The response is complete, but for its writing.
    pub(super) fn answered(&self) {
        self.phase.set(Phase::Answered);
    }

    /// All that was to be written is with the kernel.
    pub(super) fn flushed(&self, now: impl FnOnce() -> Instant) {
        if self.phase.get() == Phase::Answered {
            let now = now();
            self.phase.set(Phase::Idle(now));
            self.last.set(now);
            self.wrote.set(false);
        }
    }

    /// The caller took bytes.
    pub(super) fn wrote(&self) {
        self.wrote.set(true);
        self.blocked.set(None);
    }

    /// The caller takes nothing now.
    pub(super) fn blocked(&self, now: impl FnOnce() -> Instant) {
        if self.blocked.get().is_none() {
            self.blocked.set(Some(now()));
        }
    }

    /// Is a head begun to which nothing was said yet?
    pub(super) fn owes_a_word(&self) -> bool {
        matches!(self.phase.get(), Phase::Head(_)) && !self.wrote.get()
    }

    /// Did the caller close its side?
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Is anything too late, and if not, when could it be at the earliest?
    pub(super) fn verdict(&self, now: Instant, patience: Patience) -> Verdict {
        let phase = match self.phase.get() {
            Phase::New(since) | Phase::Head(since) => Some((since + patience.head, Overdue::Head)),
            Phase::Idle(since) => Some((since + patience.idle, Overdue::Idle)),
            Phase::Working | Phase::Answered => None,
        };
        let write = self.blocked.get().map(|since| (since + patience.write, Overdue::Write));
        let mut next = now + patience.least();
        for (end, overdue) in [phase, write].into_iter().flatten() {
            if end <= now {
                return Verdict::End(overdue);
            }
            next = next.min(end);
        }
        Verdict::Look(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    fn new() -> (Clock, Watch) {
        let clock = Clock(Instant::now());
        let watch = Watch::new(clock.0);
        (clock, watch)
    }

    #[test]
    fn a_silent_connection_ends_after_the_time_for_a_head() {
        let (clock, watch) = new();
        assert_eq!(watch.verdict(clock.at(9), PATIENCE), Verdict::Look(clock.at(10)));
        assert_eq!(watch.verdict(clock.at(10), PATIENCE), Verdict::End(Overdue::Head));
        assert!(!watch.owes_a_word());
    }

    #[test]
    fn a_trickle_of_bytes_does_not_extend_the_time_for_a_head() {
        let (clock, watch) = new();
        for second in 3..13 {
            watch.received(|| clock.at(second));
            assert_eq!(watch.verdict(clock.at(second), PATIENCE), Verdict::Look(clock.at(13)));
        }
        assert_eq!(watch.verdict(clock.at(13), PATIENCE), Verdict::End(Overdue::Head));
        assert!(watch.owes_a_word());
    }

    #[test]
    fn a_call_may_take_as_long_as_it_likes() {
        let (clock, watch) = new();
        watch.received(|| clock.at(1));
        watch.called(|| unreachable!("the end of the head is known"));
        assert_eq!(watch.verdict(clock.at(9000), PATIENCE), Verdict::Look(clock.at(9010)));
    }

    #[test]
    fn a_request_begins_with_the_last_byte_of_its_head() {
        let (clock, watch) = new();
        watch.received(|| clock.at(1));
        watch.received(|| clock.at(4));
        assert_eq!(watch.called(|| clock.at(9)), clock.at(4));
    }

    #[test]
    fn a_pipelined_request_begins_when_the_one_before_it_is_answered() {
        let (clock, watch) = new();
        watch.received(|| clock.at(1));
        watch.called(|| clock.at(1));
        watch.received(|| unreachable!("nobody needs the time of read-ahead"));
        watch.answered();
        watch.flushed(|| clock.at(5));
        assert_eq!(watch.called(|| clock.at(9)), clock.at(5));
    }

    #[test]
    fn between_requests_the_idle_limit_counts_from_the_last_written_byte() {
        let (clock, watch) = new();
        watch.received(|| clock.at(1));
        watch.called(|| clock.at(1));
        watch.flushed(|| unreachable!("a flush in the middle is no end"));
        watch.answered();
        watch.flushed(|| clock.at(20));
        assert_eq!(watch.verdict(clock.at(21), PATIENCE), Verdict::Look(clock.at(31)));
        assert_eq!(watch.verdict(clock.at(90), PATIENCE), Verdict::Look(clock.at(95)));
        assert_eq!(watch.verdict(clock.at(95), PATIENCE), Verdict::End(Overdue::Idle));
    }

    #[test]
    fn a_reader_without_progress_is_too_late_and_progress_begins_anew() {
        let (clock, watch) = new();
        watch.received(|| clock.at(0));
        watch.called(|| clock.at(0));
        watch.blocked(|| clock.at(5));
        watch.blocked(|| clock.at(20));
        assert_eq!(watch.verdict(clock.at(34), PATIENCE), Verdict::Look(clock.at(35)));
        watch.wrote();
        watch.blocked(|| clock.at(34));
        assert_eq!(watch.verdict(clock.at(63), PATIENCE), Verdict::Look(clock.at(64)));
        assert_eq!(watch.verdict(clock.at(64), PATIENCE), Verdict::End(Overdue::Write));
    }
}
