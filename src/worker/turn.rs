//! Decides when a program has answered whose answers do not show which question they are for.
//!
//! Such a program is asked one question at a time. A *turn* begins when a question is handed over
//! and ends when the program waits for its input again. What it writes in between, and nothing
//! else, belongs to that question.
//!
//! Pure: looks and times come in, and when to look next comes out.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::look::Look;
use crate::config::{Framing, StreamEnd, WireSettings};

/// How many looks follow an answer without a pause at least, because the program is about to read
/// again.
const LOOKS_AT_ONCE: u32 = 4;
/// For how long looks follow an answer without a pause. Most programs read again within this time,
/// and the timer for a look that comes later takes a millisecond.
const AT_ONCE: Duration = Duration::from_micros(100);
/// The first pause between two looks after an answer.
const ANSWERED_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause between two looks after an answer.
const ANSWERED_PAUSE_MAX: Duration = Duration::from_millis(50);
/// When a program that has written nothing is looked at first, and the first pause after that.
const SILENT_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between two looks at a program that has written nothing.
const SILENT_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long a running thread beside the reader delays the end of an answered turn, because it may
/// be the thread that writes the answers.
const RUNNING_GRACE: Duration = Duration::from_millis(20);
/// How long a program that may wait for its input must be still before its answer ends, if only
/// the turn ends answers.
const STILL: Duration = Duration::from_millis(5);
/// How much CPU time a new worker uses until it is asked although a thread runs beside the one that
/// reads: that thread may be about to write a banner. What waits for a processor uses none.
const START_GRACE: Duration = Duration::from_millis(20);
/// How long a new worker that may wait for its input must be still before it is asked.
const START_STILL: Duration = Duration::from_millis(100);
/// How long a new worker whose input does not block must use hardly any CPU before it is asked.
const CALM: Duration = Duration::from_millis(500);

/// One turn of one worker.
#[derive(Clone, Debug)]
pub struct Turn {
    begun: Instant,
    /// When anything was written first, and last.
    written: Option<(Instant, Instant)>,
    /// Whole messages were written, not only bytes.
    is_answered: bool,
    shape: TurnShape,
    looks: u32,
    looked: Instant,
    /// Since when every look found that it may wait, and nothing was written.
    may_wait_since: Option<Instant>,
}

/// What a program writes in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnShape {
    /// An answer that shows where it ends, in one piece or in parts.
    Whole,
    /// Messages; only the end of the turn shows which one was the last.
    Parts,
    /// Bytes that end with the turn and with nothing else.
    All,
}

impl TurnShape {
    /// The shape of the turns of these programs.
    pub fn of(wire: &WireSettings) -> Self {
        if wire.framing.reply == Framing::Turn {
            Self::All
        } else if wire.stream.as_ref().is_some_and(|stream| stream.end == StreamEnd::Turn) {
            Self::Parts
        } else {
            Self::Whole
        }
    }
}

/// How sure it is that a turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The program waits for its input: whatever it writes now is no answer to this question.
    Certain,
    /// It only may wait for its input, so something of this turn may follow.
    Uncertain,
}

/// When to look at a worker next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextLook {
    /// Now, after others had their chance to run.
    Soon,
    /// At this time.
    At(Instant),
}

impl Turn {
    /// A turn that begins now.
    pub fn new(now: Instant, shape: TurnShape) -> Self {
        Self {
            begun: now,
            written: None,
            is_answered: false,
            shape,
            looks: 0,
            looked: now,
            may_wait_since: None,
        }
    }

    /// Returns true if nothing was written yet.
    pub fn is_silent(&self) -> bool {
        self.written.is_none()
    }

    /// The program has written something; `whole`: at least one whole message.
    pub fn wrote(&mut self, now: Instant, whole: bool) {
        let first = self.written.map_or(now, |(first, _)| first);
        self.written = Some((first, now));
        self.is_answered |= whole;
        self.looks = 0;
        self.may_wait_since = None;
    }

    /// Returns how long the turn had lasted at the last look.
    pub fn lasted(&self) -> Duration {
        self.looked.saturating_duration_since(self.begun)
    }

    /// Returns when the next look is due.
    pub fn next_look(&self) -> NextLook {
        let Some((first, last)) = self.written else {
            let pause = self.looked.duration_since(self.begun) / 4;
            return NextLook::At(self.looked + pause.clamp(SILENT_PAUSE, SILENT_PAUSE_MAX));
        };
        // A program that has begun its answer mostly writes on. One that waits instead has a fault, and is seen later.
        let is_unfinished = self.shape == TurnShape::Whole && !self.is_answered;
        let is_fresh = self.looked.saturating_duration_since(last) < AT_ONCE;
        if !is_unfinished && (is_fresh || self.looks < LOOKS_AT_ONCE) {
            return NextLook::Soon;
        }
        let pause = self.looked.saturating_duration_since(first) / 16;
        NextLook::At(self.looked.max(last) + pause.clamp(ANSWERED_PAUSE, ANSWERED_PAUSE_MAX))
    }

    /// The program was looked at, with nothing of its output left to read. Returns how sure it is
    /// that the turn is over, or `None` while it goes on.
    pub fn looked(&mut self, now: Instant, look: Look) -> Option<Over> {
        self.looks += 1;
        self.looked = now;
        let may_wait = matches!(look, Look::MayWait { .. });
        let since = may_wait.then(|| self.may_wait_since.unwrap_or(now));
        self.may_wait_since = since;
        let still = now.saturating_duration_since(since.unwrap_or(now));
        let is_over = match look {
            Look::Waits => return Some(Over::Certain),
            Look::Works => false,
            Look::MayWait { runs: true, .. } => self.is_answered && still >= RUNNING_GRACE,
            // Without any sign of an answer, only a program that certainly waits has none.
            Look::MayWait { .. } if self.shape == TurnShape::All => {
                self.written.is_some() && still >= STILL
            }
            Look::MayWait { .. } | Look::Hidden => self.is_answered,
        };
        is_over.then_some(Over::Uncertain)
    }
}

/// What a program has written in one turn, without an incomplete message at the end.
#[derive(Debug, Default)]
pub struct Written {
    /// The first two messages; with a second one, none is an answer.
    first: Vec<Bytes>,
    count: u64,
}

/// Why the output of one turn is no answer.
#[derive(Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// What is wrong with it, in words that may be shown to callers.
    pub detail: String,
    /// What was written, in order. Only operators may see it.
    pub written: Vec<Bytes>,
    /// The program may wait for the rest of the question.
    pub is_open: bool,
}

impl Written {
    /// Adds a whole message.
    pub fn add(&mut self, message: Bytes) {
        if self.first.len() < 2 {
            self.first.push(message);
        }
        self.count += 1;
    }

    /// Returns true if no whole message was written.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns true if exactly one whole message was written.
    pub fn is_one(&self) -> bool {
        self.count == 1
    }

    /// Returns the answer of a turn that ended with `rest` after the last whole message.
    /// `ends_answer`: the answer is all that was written in the turn.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`] unless exactly one message was written.
    pub fn answer(mut self, rest: Bytes, ends_answer: bool) -> Result<Bytes, NoAnswer> {
        if ends_answer {
            return Ok(without_line_end(rest));
        }
        let has_rest = !rest.is_empty();
        if self.count == 1 && !has_rest {
            return Ok(self.first.remove(0));
        }
        let detail = match (self.count, has_rest) {
            (0, false) => "the program read the question and wrote nothing".to_owned(),
            (0, true) => "the program wrote an answer without its end".to_owned(),
            (count, false) => format!("the program wrote {count} messages for one question"),
            (count, true) => {
                format!("the program wrote {count} messages and part of another for one question")
            }
        };
        let mut written = self.first;
        written.extend(has_rest.then_some(rest));
        let is_open = has_rest || written.is_empty();
        Err(NoAnswer { detail, written, is_open })
    }
}

/// Removes the line end that programs write last.
fn without_line_end(mut answer: Bytes) -> Bytes {
    if answer.ends_with(b"\n") {
        let end = if answer.ends_with(b"\r\n") { 2 } else { 1 };
        answer.truncate(answer.len() - end);
    }
    answer
}

/// The time from the start of a worker to its first question.
#[derive(Clone, Debug)]
pub struct Start {
    begun: Instant,
    /// Since when it is still: it writes nothing, uses no CPU and waits for none.
    still_since: Instant,
    cpu: Duration,
    /// The CPU time when a thread was seen to run beside the one that reads, in each look since.
    beside: Option<Duration>,
    /// How long a worker may be still before it is asked although it does not wait for input in
    /// any way that can be seen.
    patience: Duration,
    /// Its input does not block, so it asks for input again and again.
    never_blocks: bool,
    /// Since when its CPU time is measured, and what it was then.
    measured: (Instant, Duration),
    /// It used hardly any CPU while it was measured last.
    is_calm: bool,
}

impl Start {
    /// A worker that starts now and is to be ready within `start_timeout`.
    pub fn new(now: Instant, start_timeout: Duration) -> Self {
        Self {
            begun: now,
            still_since: now,
            cpu: Duration::ZERO,
            beside: None,
            patience: start_timeout / 2,
            never_blocks: false,
            measured: (now, Duration::ZERO),
            is_calm: false,
        }
    }

    /// Its input does not block. So it is never seen to wait for it, and is never still.
    pub fn never_blocks(&mut self) {
        self.never_blocks = true;
    }

    /// It has written something, or works although it may have got no CPU.
    pub fn moved(&mut self, now: Instant) {
        self.still_since = now;
    }

    /// Returns when the next look is due.
    pub fn next_look(&self, now: Instant) -> Instant {
        let pause = now.saturating_duration_since(self.begun) / 16;
        now + pause.clamp(Duration::from_millis(1), Duration::from_millis(20))
    }

    /// It was looked at; `cpu` is the time on a CPU that it has used. Returns how sure it is that
    /// it is ready for its first question, or `None` while it starts.
    pub fn looked(&mut self, now: Instant, look: Look, cpu: Duration) -> Option<Over> {
        if cpu > self.cpu {
            self.cpu = cpu;
            self.still_since = now;
        }
        let (since, before) = self.measured;
        let measured = now.saturating_duration_since(since);
        if measured >= CALM {
            self.is_calm = cpu.saturating_sub(before) <= measured / 10;
            self.measured = (now, cpu);
        }
        let still = now.saturating_duration_since(self.still_since);
        let runs_beside = look == Look::MayWait { reads: true, runs: true };
        self.beside = runs_beside.then(|| self.beside.unwrap_or(cpu));
        let is_ready = match look {
            Look::Waits => return Some(Over::Certain),
            Look::MayWait { reads: true, runs: false } => true,
            Look::MayWait { reads: true, runs: true } => {
                let used = cpu.saturating_sub(self.beside.unwrap_or(cpu));
                used >= START_GRACE || still >= self.patience
            }
            Look::MayWait { reads: false, .. } | Look::Hidden => still >= START_STILL,
            Look::Works if self.never_blocks => {
                self.is_calm || now.saturating_duration_since(self.begun) >= self.patience
            }
            Look::Works => still >= self.patience,
        };
        is_ready.then_some(Over::Uncertain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const READS_BESIDE_A_CLOCK: Look = Look::MayWait { reads: true, runs: false };
    const READS_BESIDE_WORK: Look = Look::MayWait { reads: true, runs: true };

    #[test]
    fn a_program_that_waits_has_ended_its_turn_with_or_without_an_answer() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::Whole);
        assert_eq!(turn.looked(now, Look::Works), None);
        assert_eq!(turn.looked(now, Look::Waits), Some(Over::Certain));
        turn.wrote(now, true);
        assert_eq!(turn.looked(now, Look::Works), None);
        assert_eq!(turn.looked(now, Look::Waits), Some(Over::Certain));
    }

    #[test]
    fn a_program_in_the_middle_of_its_answer_is_not_looked_at_at_once() {
        let now = Instant::now();
        let next = |shape, whole| {
            let mut turn = Turn::new(now, shape);
            turn.wrote(now + 3 * MILLISECOND, whole);
            turn.next_look()
        };
        assert_eq!(next(TurnShape::Whole, false), NextLook::At(now + 4 * MILLISECOND));
        assert_eq!(next(TurnShape::Whole, true), NextLook::Soon);
        // Nothing but a look shows the end of these.
        assert_eq!(next(TurnShape::Parts, false), NextLook::Soon);
        assert_eq!(next(TurnShape::All, false), NextLook::Soon);
    }

    #[test]
    fn a_program_that_works_holds_its_answer_however_long() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::Whole);
        turn.wrote(now, true);
        assert_eq!(turn.looked(now + 1000 * MILLISECOND, Look::Works), None);
    }

    #[test]
    fn a_clock_beside_the_reader_ends_no_turn_without_an_answer() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::Whole);
        assert_eq!(turn.looked(now + 1000 * MILLISECOND, READS_BESIDE_A_CLOCK), None);
        turn.wrote(now, false);
        assert_eq!(turn.looked(now + 1000 * MILLISECOND, READS_BESIDE_A_CLOCK), None);
        turn.wrote(now, true);
        assert_eq!(turn.looked(now, READS_BESIDE_A_CLOCK), Some(Over::Uncertain));
    }

    #[test]
    fn a_thread_that_runs_beside_the_reader_holds_the_answer_for_a_while() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::Whole);
        turn.wrote(now, true);
        assert_eq!(turn.looked(now + MILLISECOND, READS_BESIDE_WORK), None);
        assert_eq!(turn.looked(now + 20 * MILLISECOND, READS_BESIDE_WORK), None);
        assert_eq!(turn.looked(now + 21 * MILLISECOND, READS_BESIDE_WORK), Some(Over::Uncertain));
    }

    #[test]
    fn an_answer_that_ends_with_its_turn_needs_a_still_program() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::All);
        assert_eq!(turn.looked(now, READS_BESIDE_A_CLOCK), None);
        assert_eq!(turn.looked(now + 4 * MILLISECOND, READS_BESIDE_A_CLOCK), None);
        turn.wrote(now + 4 * MILLISECOND, false);
        assert_eq!(turn.looked(now + 5 * MILLISECOND, READS_BESIDE_A_CLOCK), None);
        assert_eq!(turn.looked(now + 6 * MILLISECOND, Look::Works), None);
        assert_eq!(turn.looked(now + 11 * MILLISECOND, READS_BESIDE_A_CLOCK), None);
        let end = turn.looked(now + 16 * MILLISECOND, READS_BESIDE_A_CLOCK);
        assert_eq!(end, Some(Over::Uncertain));
        assert_eq!(turn.looked(now + 17 * MILLISECOND, Look::Hidden), None, "it never ends");
    }

    #[test]
    fn an_empty_answer_needs_a_program_that_certainly_waits() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::All);
        for seconds in 0..100 {
            let later = now + Duration::from_secs(seconds);
            assert_eq!(turn.looked(later, READS_BESIDE_A_CLOCK), None);
        }
        assert_eq!(turn.looked(now, Look::Waits), Some(Over::Certain));
    }

    #[test]
    fn looks_follow_an_answer_at_once_and_then_ever_more_slowly() {
        let begun = Instant::now();
        let mut turn = Turn::new(begun, TurnShape::Whole);
        assert_eq!(turn.next_look(), NextLook::At(begun + SILENT_PAUSE));
        turn.wrote(begun, true);
        assert_eq!(turn.next_look(), NextLook::Soon, "it is about to read again");
        let mut now = begun;
        let (mut at_once, mut later) = (0, 0);
        while now < begun + Duration::from_secs(10) {
            match turn.next_look() {
                NextLook::Soon => {
                    now += Duration::from_micros(5);
                    at_once += 1;
                }
                NextLook::At(at) => {
                    assert!(at >= now + MILLISECOND, "a pause that a timer can keep");
                    now = at;
                    later += 1;
                }
            }
            assert_eq!(turn.looked(now, Look::Works), None);
        }
        assert_eq!(at_once, 20, "for as long as a program needs to read again");
        assert!((100..400).contains(&later), "{later} looks in ten seconds");
    }

    #[test]
    fn some_looks_follow_an_answer_at_once_however_long_they_take() {
        let begun = Instant::now();
        let mut turn = Turn::new(begun, TurnShape::Whole);
        turn.wrote(begun, true);
        for look in 1..=LOOKS_AT_ONCE {
            assert_eq!(turn.next_look(), NextLook::Soon);
            assert_eq!(turn.looked(begun + look * MILLISECOND, Look::Works), None);
        }
        assert_ne!(turn.next_look(), NextLook::Soon);
    }

    #[test]
    fn looks_follow_each_write_anew_and_the_pauses_grow_from_the_first() {
        let begun = Instant::now();
        let mut turn = Turn::new(begun, TurnShape::Whole);
        turn.wrote(begun, true);
        let again = begun + 320 * MILLISECOND;
        for _ in 0..LOOKS_AT_ONCE {
            assert_eq!(turn.looked(again, Look::Works), None);
        }
        assert_eq!(turn.next_look(), NextLook::At(again + 20 * MILLISECOND));
        turn.wrote(again, true);
        for _ in 0..LOOKS_AT_ONCE {
            assert_eq!(turn.next_look(), NextLook::Soon);
            assert_eq!(turn.looked(again + MILLISECOND, Look::Works), None);
        }
        let NextLook::At(next) = turn.next_look() else { panic!("it had its chance") };
        assert!(next > again + 20 * MILLISECOND, "counted from its first words");
    }

    #[test]
    fn what_follows_a_whole_message_takes_no_answer_back() {
        let now = Instant::now();
        let mut turn = Turn::new(now, TurnShape::Whole);
        turn.wrote(now, true);
        turn.wrote(now, false);
        assert_eq!(turn.looked(now, READS_BESIDE_A_CLOCK), Some(Over::Uncertain));
    }

    #[test]
    fn a_silent_program_is_looked_at_within_a_quarter_of_its_time() {
        let begun = Instant::now();
        let mut turn = Turn::new(begun, TurnShape::Whole);
        for _ in 0..20 {
            let NextLook::At(at) = turn.next_look() else { panic!("nothing was written") };
            let waited = at - begun;
            assert!(at - turn.looked <= (waited / 4).max(SILENT_PAUSE));
            assert_eq!(turn.looked(at, Look::Works), None);
        }
    }

    fn written(messages: &[&'static str]) -> Written {
        let mut written = Written::default();
        for message in messages {
            written.add(Bytes::from_static(message.as_bytes()));
        }
        written
    }

    #[test]
    fn one_message_is_the_answer_and_any_other_number_is_none() {
        let none = Bytes::new();
        let rest = Bytes::from_static(b"ha");
        assert_eq!(written(&["a"]).answer(none.clone(), false), Ok(Bytes::from_static(b"a")));
        for (messages, rest, is_open, detail) in [
            (&[][..], &none, true, "wrote nothing"),
            (&[], &rest, true, "without its end"),
            (&["a", "b"], &none, false, "2 messages for"),
            (&["a", "b", "c"], &none, false, "3 messages for"),
            (&["a"], &rest, true, "1 messages and part of another"),
        ] {
            let no = written(messages).answer(rest.clone(), false).expect_err("no answer");
            assert!(no.detail.contains(detail), "{}", no.detail);
            assert_eq!(no.is_open, is_open, "{detail}");
            assert_eq!(no.written.len(), messages.len().min(2) + usize::from(!rest.is_empty()));
        }
    }

    #[test]
    fn an_answer_that_ends_with_its_turn_loses_one_line_end() {
        for (all, answer) in
            [("", ""), ("a", "a"), ("a\nb\n", "a\nb"), ("a\r\n", "a"), ("a\n\n", "a\n")]
        {
            let all = Bytes::from_static(all.as_bytes());
            assert_eq!(written(&[]).answer(all, true), Ok(Bytes::from_static(answer.as_bytes())));
        }
    }

    #[test]
    fn a_new_worker_is_ready_when_it_waits_or_at_least_is_still() {
        let begun = Instant::now();
        let mut start = Start::new(begun, Duration::from_secs(30));
        let cpu = MILLISECOND;
        assert_eq!(start.looked(begun, Look::Works, cpu), None);
        assert_eq!(start.looked(begun + 5000 * MILLISECOND, Look::Works, cpu), None);
        assert_eq!(start.looked(begun, Look::Waits, cpu), Some(Over::Certain));
        assert_eq!(start.looked(begun, READS_BESIDE_A_CLOCK, cpu), Some(Over::Uncertain));
        let later = begun + 99 * MILLISECOND;
        assert_eq!(start.looked(later, Look::Hidden, cpu), None);
        assert_eq!(start.looked(later + MILLISECOND, Look::Hidden, 2 * cpu), None, "it computes");
        start.moved(later + 50 * MILLISECOND);
        assert_eq!(start.looked(later + 149 * MILLISECOND, Look::Hidden, 2 * cpu), None);
        let ready = start.looked(later + 150 * MILLISECOND, Look::Hidden, 2 * cpu);
        assert_eq!(ready, Some(Over::Uncertain));
    }

    /// It may be about to write a banner, and not have got a processor yet.
    #[test]
    fn a_thread_that_runs_beside_the_reader_delays_the_first_question_until_it_has_run() {
        let begun = Instant::now();
        let mut start = Start::new(begun, Duration::from_secs(30));
        let at = |millis: u32| begun + millis * MILLISECOND;
        let cpu = 40 * MILLISECOND;
        assert_eq!(start.looked(at(1), READS_BESIDE_WORK, cpu), None);
        assert_eq!(start.looked(at(9000), READS_BESIDE_WORK, cpu), None, "the machine is busy");
        assert_eq!(start.looked(at(9010), READS_BESIDE_WORK, cpu + 10 * MILLISECOND), None);
        assert_eq!(start.looked(at(9020), Look::Works, cpu + 20 * MILLISECOND), None, "it wrote");
        assert_eq!(start.looked(at(9030), READS_BESIDE_WORK, cpu + 20 * MILLISECOND), None);
        let ready = start.looked(at(9050), READS_BESIDE_WORK, cpu + 40 * MILLISECOND);
        assert_eq!(ready, Some(Over::Uncertain));
        let mut start = Start::new(begun, Duration::from_secs(30));
        assert_eq!(start.looked(at(14_999), READS_BESIDE_WORK, Duration::ZERO), None);
        let ready = start.looked(at(15_000), READS_BESIDE_WORK, Duration::ZERO);
        assert_eq!(ready, Some(Over::Uncertain), "what it uses cannot be seen");
    }

    #[test]
    fn a_worker_whose_input_does_not_block_is_asked_once_it_is_calm() {
        let begun = Instant::now();
        let at = |millis: u32| (begun + millis * MILLISECOND, millis * MILLISECOND);
        let mut start = Start::new(begun, Duration::from_secs(30));
        // It loads until the 2000th millisecond, and then asks for input every so often.
        for millis in (0..2000).step_by(20) {
            let (now, cpu) = at(millis);
            start.never_blocks();
            assert_eq!(start.looked(now, Look::Works, cpu), None, "{millis}");
        }
        let mut ready = (2000..4000).step_by(20).filter(|millis| {
            let cpu = 2000 * MILLISECOND + (millis - 2000) * MILLISECOND / 20;
            start.looked(at(*millis).0, Look::Works, cpu).is_some()
        });
        assert!(ready.next().is_some_and(|millis| millis <= 3100));
    }

    #[test]
    fn a_worker_that_asks_for_input_without_a_pause_is_asked_at_last() {
        let begun = Instant::now();
        let mut start = Start::new(begun, Duration::from_secs(30));
        start.never_blocks();
        for (seconds, ready) in [(1, None), (14, None), (15, Some(Over::Uncertain))] {
            let age = Duration::from_secs(seconds);
            assert_eq!(start.looked(begun + age, Look::Works, age), ready);
        }
    }

    #[test]
    fn a_worker_that_reads_in_a_way_nobody_sees_is_asked_at_last() {
        let begun = Instant::now();
        let mut start = Start::new(begun, Duration::from_secs(30));
        let half = begun + Duration::from_secs(15);
        let before = begun + Duration::from_millis(14_999);
        assert_eq!(start.looked(before, Look::Works, Duration::ZERO), None);
        assert_eq!(start.looked(half, Look::Works, Duration::ZERO), Some(Over::Uncertain));
    }
}
