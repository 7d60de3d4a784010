//! What one connection is doing, since when, and when that takes too long.
//!
//! Pure: time is an argument. A request sets and cancels no timer: a transition writes a `Cell`,
//! and the connection's only timer looks at it from time to time.
//! [`Flow`] holds for any protocol; [`Watch`] adds the phases of HTTP/1, where a connection is
//! at one request at a time.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal::Refusal;
use super::seats::Seat;
use crate::config::LimitSettings;

/// How long each phase of a connection may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a head to its last. Also for a connection that has sent nothing.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// While the caller reads nothing of what is written.
    pub(super) write: Duration,
}

impl Patience {
    pub(super) fn of(limits: &LimitSettings) -> Self {
        Self { head: limits.header_timeout, idle: limits.idle_timeout, write: limits.write_timeout }
    }

    /// Returns the shortest of them: no phase that begins now ends sooner.
    fn least(self) -> Duration {
        self.head.min(self.idle).min(self.write)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// Nothing was received yet.
    New(Instant),
    /// All requests are answered.
    Idle(Instant),
    /// A head has begun.
    Head(Instant),
    /// The service works on a request, or its response is still being made.
    Working,
    /// The response is complete, but not yet all written.
    Answered,
}

/// Which time limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A head took too long.
    Head,
    /// No request came.
    Idle,
    /// The caller does not read what is written.
    Write,
}

/// What the timer must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerAction {
    /// End the connection.
    End(Overdue),
    /// Look again at this time; nothing can be overdue before it.
    Look(Instant),
}

/// Whether bytes flow, whatever they mean.
#[derive(Debug, Default)]
struct Flow {
    /// Since when the caller has read nothing of what is to be written.
    blocked: Cell<Option<Instant>>,
    /// The caller closed its side.
    ended: Cell<bool>,
}

/// The state of one connection that speaks HTTP/1.
#[derive(Debug)]
pub(super) struct Watch {
    flow: Flow,
    phase: Cell<ConnectionPhase>,
    /// When the phase began or the head last grew. Once the head is complete, that is its end, or a
    /// later moment at which the clock was read.
    last: Cell<Instant>,
    /// Nothing was waited for since then, so no time worth measuring has passed.
    is_at_once: Cell<bool>,
    /// Only the end of the connection ends the response that is being sent.
    ends_by_close: Cell<bool>,
    /// The connection may give back what memory it can.
    rests: Cell<bool>,
    /// hyper refused a head; its words were withheld.
    withheld: Cell<Option<Refusal>>,
    /// Shows since when the connection is idle to new ones that want its place.
    seat: Arc<Seat>,
}

impl Watch {
    pub(super) fn new(now: Instant, seat: Arc<Seat>) -> Self {
        Self {
            flow: Flow::default(),
            phase: Cell::new(ConnectionPhase::New(now)),
            last: Cell::new(now),
            is_at_once: Cell::new(false),
            ends_by_close: Cell::new(false),
            rests: Cell::new(false),
            withheld: Cell::new(None),
            seat,
        }
    }

    /// Notes that bytes came. The clock is read only where the time matters.
    pub(super) fn received(&self, now: impl FnOnce() -> Instant) {
        match self.phase.get() {
            ConnectionPhase::New(_) | ConnectionPhase::Idle(_) => {
                let now = now();
                self.phase.set(ConnectionPhase::Head(now));
                self.last.set(now);
            }
            ConnectionPhase::Head(_) => self.last.set(now()),
            // This is a body, or the next head, read ahead. The time of that head begins when
            // the service is free for it; if only a part came, `idle` limits it until more comes.
            ConnectionPhase::Working | ConnectionPhase::Answered => {}
        }
    }

    /// Notes that the caller closed its side.
    pub(super) fn received_end(&self) {
        self.flow.ended.set(true);
    }

    /// Notes that a head is complete, and returns since when.
    pub(super) fn called(&self, now: impl FnOnce() -> Instant) -> Instant {
        let since = match self.phase.get() {
            ConnectionPhase::New(_) | ConnectionPhase::Idle(_) | ConnectionPhase::Head(_) => {
                self.last.get()
            }
            ConnectionPhase::Working | ConnectionPhase::Answered => now(),
        };
        self.last.set(since);
        self.is_at_once.set(true);
        self.phase.set(ConnectionPhase::Working);
        self.seat.works();
        since
    }

    /// Notes that the service, or the body of its response, waits for something.
    pub(super) fn takes_time(&self) {
        self.is_at_once.set(false);
    }

    /// Returns a future that waits for the response of the service, and notes whether that takes time.
    pub(super) fn answering<F: Future>(
        &self,
        mut service: Pin<&mut F>,
    ) -> impl Future<Output = F::Output> {
        poll_fn(move |context| {
            let polled = service.as_mut().poll(context);
            if polled.is_pending() {
                self.takes_time();
            }
            polled
        })
    }

    /// Notes that the response was made at this time, which is now or was just before.
    pub(super) fn made(&self, at: Instant) {
        self.last.set(at);
        self.is_at_once.set(true);
    }

    /// Returns when the head was complete if nothing was waited for since, else the time now. It is the
    /// same moment until something is waited for.
    pub(super) fn moment(&self, now: impl FnOnce() -> Instant) -> Instant {
        if !self.is_at_once.replace(true) {
            self.last.set(now());
        }
        self.last.get()
    }

    /// Notes that only the end of the connection will end the response that begins.
    pub(super) fn ends_by_close(&self) {
        self.ends_by_close.set(true);
    }

    /// Returns true if the end of the connection would now make a part of a response look whole.
    pub(super) fn is_cut_short(&self) -> bool {
        self.ends_by_close.get()
    }

    /// Notes that the response will not be complete.
    pub(super) fn broke_off(&self) {
        if !self.ends_by_close.get() {
            self.answered();
        }
    }

    /// Notes that the response is complete, but for its writing.
    pub(super) fn answered(&self) {
        self.phase.set(ConnectionPhase::Answered);
    }

    /// Notes that everything that was to be written is with the kernel. Returns true if that
    /// makes a response whole that only the end of the connection ends.
    pub(super) fn flushed(&self, now: impl FnOnce() -> Instant) -> bool {
        if self.phase.get() != ConnectionPhase::Answered {
            return false;
        }
        let now = self.moment(now);
        self.phase.set(ConnectionPhase::Idle(now));
        self.last.set(now);
        self.seat.waits(now);
        self.ends_by_close.take()
    }

    /// Notes that the caller took bytes.
    pub(super) fn wrote(&self) {
        if self.flow.blocked.take().is_none() {
            return;
        }
        match self.phase.get() {
            ConnectionPhase::Working | ConnectionPhase::Answered => self.seat.works(),
            // These bytes are of a handshake, or of an answer whose stream has ended.
            ConnectionPhase::New(_) | ConnectionPhase::Idle(_) | ConnectionPhase::Head(_) => {
                self.seat.waits(self.last.get());
            }
        }
    }

    /// Notes that the caller takes nothing now.
    pub(super) fn blocked(&self, now: impl FnOnce() -> Instant) {
        self.takes_time();
        if self.flow.blocked.get().is_none() {
            let now = now();
            self.flow.blocked.set(Some(now));
            self.seat.waits(now);
        }
    }

    /// Returns true if the caller does not read what is written.
    pub(super) fn is_blocked(&self) -> bool {
        self.flow.blocked.get().is_some()
    }

    /// Returns true if the server waits for the caller: to send a request, or to read an answer.
    pub(super) fn waits_for_caller(&self) -> bool {
        match self.phase.get() {
            ConnectionPhase::New(_) | ConnectionPhase::Idle(_) | ConnectionPhase::Head(_) => true,
            ConnectionPhase::Working | ConnectionPhase::Answered => self.is_blocked(),
        }
    }

    /// Returns true if these bytes must not be written: between requests, hyper writes nothing
    /// but its own refusal of a head.
    pub(super) fn withholds(&self, bytes: &[u8]) -> bool {
        match self.phase.get() {
            ConnectionPhase::Working | ConnectionPhase::Answered => return false,
            ConnectionPhase::New(_) | ConnectionPhase::Idle(_) | ConnectionPhase::Head(_) => {}
        }
        let Some(status @ [b'4', ..]) =
            bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3))
        else {
            return false;
        };
        self.withheld.set(Some(Refusal::of_status(status)));
        true
    }

    /// Returns the refusal whose words were withheld.
    pub(super) fn withheld(&self) -> Option<Refusal> {
        self.withheld.get()
    }

    /// Returns true if a head has begun and no response to it was sent.
    pub(super) fn owes_a_word(&self) -> bool {
        self.withheld.get().is_some() || matches!(self.phase.get(), ConnectionPhase::Head(_))
    }

    /// Returns true if the caller closed its side.
    pub(super) fn has_ended(&self) -> bool {
        self.flow.ended.get()
    }

    /// Lets the connection rest if it has been idle since the timer last looked.
    pub(super) fn rests_if_idle(&self, now: Instant, patience: Patience) {
        if let ConnectionPhase::Idle(since) = self.phase.get()
            && since + patience.least() <= now
        {
            self.rests.set(true);
        }
    }

    /// Returns true if the connection may rest now, and was not told so before.
    pub(super) fn takes_rest(&self) -> bool {
        self.rests.take() && matches!(self.phase.get(), ConnectionPhase::Idle(_))
    }

    /// Returns what is overdue, or when something could be at the earliest.
    pub(super) fn timer_action(&self, now: Instant, patience: Patience) -> TimerAction {
        let phase = match self.phase.get() {
            ConnectionPhase::New(since) | ConnectionPhase::Head(since) => {
                Some((since + patience.head, Overdue::Head))
            }
            ConnectionPhase::Idle(since) => Some((since + patience.idle, Overdue::Idle)),
            ConnectionPhase::Working | ConnectionPhase::Answered => None,
        };
        let write = self.flow.blocked.get().map(|since| (since + patience.write, Overdue::Write));
        let mut next = now + patience.least();
        for (end, overdue) in [phase, write].into_iter().flatten() {
            if end <= now {
                return TimerAction::End(overdue);
            }
            next = next.min(end);
        }
        TimerAction::Look(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::seats::Seats;

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
        let watch = Watch::new(clock.0, Seats::default().add(clock.0).1);
        (clock, watch)
    }

    #[test]
    fn a_silent_connection_ends_after_the_time_for_a_head() {
        let (clock, watch) = new();
        assert_eq!(watch.timer_action(clock.at(9), PATIENCE), TimerAction::Look(clock.at(10)));
        assert_eq!(watch.timer_action(clock.at(10), PATIENCE), TimerAction::End(Overdue::Head));
        assert!(!watch.owes_a_word());
    }

    #[test]
    fn a_trickle_of_bytes_does_not_extend_the_time_for_a_head() {
        let (clock, watch) = new();
        for second in 3..13 {
            watch.received(|| clock.at(second));
            assert_eq!(
                watch.timer_action(clock.at(second), PATIENCE),
                TimerAction::Look(clock.at(13))
            );
        }
        assert_eq!(watch.timer_action(clock.at(13), PATIENCE), TimerAction::End(Overdue::Head));
        assert!(watch.owes_a_word());
    }

    #[test]
    fn only_a_refusal_between_requests_is_withheld() {
        let (clock, watch) = new();
        let refusal = b"HTTP/1.1 431 Request Header Fields Too Large\r\n";
        watch.received(|| clock.at(1));
        assert!(!watch.withholds(b"HTTP/1.1 200 OK\r\n") && !watch.withholds(b"HTTP/1.1 4"));
        watch.called(|| clock.at(1));
        assert!(!watch.withholds(refusal), "the service may answer so");
        watch.answered();
        assert!(!watch.withholds(refusal) && !watch.owes_a_word());
        watch.flushed(|| clock.at(2));
        assert!(watch.withholds(refusal) && watch.owes_a_word());
        assert_eq!(watch.withheld(), Some(Refusal::HeadTooLarge));
    }

    #[test]
    fn a_call_may_take_as_long_as_it_likes() {
        let (clock, watch) = new();
        watch.received(|| clock.at(1));
        watch.called(|| unreachable!("the end of the head is known"));
        assert_eq!(watch.timer_action(clock.at(9000), PATIENCE), TimerAction::Look(clock.at(9010)));
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
        watch.takes_time();
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
        watch.takes_time();
        watch.flushed(|| unreachable!("a flush in the middle is no end"));
        watch.answered();
        watch.flushed(|| clock.at(20));
        assert_eq!(watch.timer_action(clock.at(21), PATIENCE), TimerAction::Look(clock.at(31)));
        assert_eq!(watch.timer_action(clock.at(90), PATIENCE), TimerAction::Look(clock.at(95)));
        assert_eq!(watch.timer_action(clock.at(95), PATIENCE), TimerAction::End(Overdue::Idle));
    }

    #[test]
    fn what_is_answered_at_once_needs_no_look_at_the_clock() {
        let (clock, watch) = new();
        let ask = |second| {
            watch.received(|| clock.at(second));
            watch.called(|| unreachable!("the end of the head is known"));
        };
        ask(1);
        watch.answered();
        watch.flushed(|| unreachable!("nothing was waited for"));
        assert_eq!(watch.timer_action(clock.at(70), PATIENCE), TimerAction::Look(clock.at(76)));
        ask(71);
        watch.answered();
        watch.blocked(|| clock.at(72));
        watch.flushed(|| clock.at(80));
        watch.wrote();
        assert_eq!(watch.timer_action(clock.at(150), PATIENCE), TimerAction::Look(clock.at(155)));
    }

    #[test]
    fn one_look_at_the_clock_is_enough_until_something_is_waited_for() {
        let (clock, watch) = new();
        watch.received(|| clock.at(1));
        watch.called(|| clock.at(1));
        watch.takes_time();
        assert_eq!(watch.moment(|| clock.at(5)), clock.at(5));
        assert_eq!(watch.moment(|| unreachable!("it was read")), clock.at(5));
        watch.takes_time();
        watch.made(clock.at(7));
        assert_eq!(watch.moment(|| unreachable!("it was told")), clock.at(7));
        watch.takes_time();
        assert_eq!(watch.moment(|| clock.at(9)), clock.at(9));
    }

    #[test]
    fn a_reader_without_progress_is_too_late_and_progress_begins_anew() {
        let (clock, watch) = new();
        watch.received(|| clock.at(0));
        watch.called(|| clock.at(0));
        watch.blocked(|| clock.at(5));
        watch.blocked(|| clock.at(20));
        assert_eq!(watch.timer_action(clock.at(34), PATIENCE), TimerAction::Look(clock.at(35)));
        watch.wrote();
        watch.blocked(|| clock.at(34));
        assert_eq!(watch.timer_action(clock.at(63), PATIENCE), TimerAction::Look(clock.at(64)));
        assert_eq!(watch.timer_action(clock.at(64), PATIENCE), TimerAction::End(Overdue::Write));
    }

    /// Over HTTP/2, the last piece of an answer is written after its stream has ended.
    #[test]
    fn a_caller_that_takes_the_rest_of_an_answer_late_is_still_idle() {
        let (clock, seats) = (Clock(Instant::now()), Seats::default());
        let watch = Watch::new(clock.0, seats.add(clock.0).1);
        watch.received(|| clock.at(1));
        watch.called(|| clock.at(1));
        watch.blocked(|| clock.at(2));
        watch.wrote();
        assert!(!seats.make_room(), "the answer goes on");
        watch.blocked(|| clock.at(3));
        watch.answered();
        watch.flushed(|| clock.at(4));
        watch.wrote();
        assert!(seats.make_room(), "the server waits for the caller");
    }
}
