//! Tests of turns, with real pipes and with programs that do as little as can be looked at.

use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::base::WorkerId;
use crate::config::{PoolSettings, StreamSettings};
use crate::pool::links::Links;
use crate::worker::pipes::fixture::{PlayedProgram, flush};

const MILLISECOND: Duration = Duration::from_millis(1);
/// No process has this id.
const NOBODY: u32 = u32::MAX;

fn wire() -> WireSettings {
    PoolSettings::for_tests().program.wire
}

/// A worker that takes turns.
struct Worker {
    turns: Turns,
    pipes: Pipes,
    program: PlayedProgram,
    child: Option<Child>,
    /// The call that it was asked last.
    call: u64,
}

impl Worker {
    /// A worker without a process: no look shows what it does.
    fn unseen(wire: &WireSettings) -> Self {
        let (pipes, program) = PlayedProgram::with_pipes(wire);
        let [stdin, stdout] = pipes.ends();
        let turns = Turns::new(Watcher::new(NOBODY, stdin, stdout), wire, None);
        Self { turns, pipes, program, child: None, call: 0 }
    }

    /// A worker whose process runs a line of shell. `uncertain` is the last look at its start.
    #[expect(clippy::disallowed_methods, reason = "a process to be looked at, without a shim")]
    fn runs(script: &str, uncertain: Option<Look>) -> Self {
        let (pipes, program) = PlayedProgram::with_pipes(&wire());
        rustix::io::ioctl_fionbio(&program.stdin, false).expect("it is a pipe");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.stdin(program.stdin.try_clone().expect("a descriptor"));
        command.stdout(program.stdout.try_clone().expect("a descriptor"));
        let child = command.spawn().expect("there is a shell");
        let [stdin, stdout] = pipes.ends();
        let watcher = Watcher::new(child.id(), stdin, stdout);
        Self {
            turns: Turns::new(watcher, &wire(), uncertain),
            pipes,
            program,
            child: Some(child),
            call: 0,
        }
    }

    fn is_asked(&mut self, now: Instant) {
        self.call += 1;
        let question = Question::plain(format!("q{}", self.call));
        let asked = self.turns.ask(now, &mut self.pipes, CallId(self.call), &question);
        asked.expect("it can be sent");
    }

    /// The program writes this, which the pool reads.
    fn writes(&mut self, now: Instant, text: &str) {
        self.program.writes(text);
        self.pipes.read_rest();
        self.turns.take_in(now, &mut self.pipes, None).expect("it was asked");
    }

    /// Notes looks that showed it working, until looks no longer follow each other at once.
    fn was_looked_at(&mut self, since: Instant) {
        for later in 1..=4 {
            assert!(self.turns.looked(since + later * MILLISECOND, Look::Works).is_none());
        }
    }

    fn sees(&mut self) -> Look {
        self.turns.look_at(&mut self.pipes).0
    }

    /// Looks until a look shows this.
    fn is_seen(&mut self, wanted: Look) {
        let begun = Instant::now();
        loop {
            let look = self.sees();
            if look == wanted {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{look:?} instead of {wanted:?}");
            std::thread::yield_now();
        }
    }

    /// Takes so many turns, each of this length and ended by this look.
    fn takes_turns(&mut self, count: u32, lasts: Duration, look: Look) {
        let begun = Instant::now();
        for _ in 0..count {
            self.is_asked(begun);
            assert!(!self.turns.is_resting());
            self.writes(begun, "answer\n");
            assert!(self.turns.looked(begun + lasts, look).is_some());
            self.pipes.take_rest();
            self.pipes.close_turn();
        }
    }

    /// Returns how long the worker rests before its next question.
    fn rests(&mut self) -> Duration {
        let now = Instant::now();
        self.is_asked(now);
        assert!(self.turns.is_resting());
        let Some(NextLook::At(until)) = self.turns.next_look(&self.pipes) else {
            panic!("nothing ends its rest")
        };
        let (call, _) = self.turns.rested().expect("it rests");
        assert_eq!(call, CallId(self.call), "its question waits");
        until - now
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

#[tokio::test]
async fn a_worker_rests_after_64_turns_whose_end_was_uncertain() {
    let mut worker = Worker::unseen(&wire());
    worker.takes_turns(REST_EVERY, Duration::ZERO, Look::Hidden);
    worker.rests();
    worker.takes_turns(REST_EVERY - 1, Duration::ZERO, Look::Hidden);
    worker.takes_turns(1, Duration::ZERO, Look::Waits);
    worker.takes_turns(REST_EVERY, Duration::ZERO, Look::Hidden);
    worker.rests();
}

#[tokio::test]
async fn a_rest_is_as_long_as_the_longest_turn_since_the_last_one() {
    let mut worker = Worker::unseen(&wire());
    worker.takes_turns(1, 30 * MILLISECOND, Look::Hidden);
    worker.takes_turns(REST_EVERY - 1, 2 * MILLISECOND, Look::Hidden);
    assert_eq!(worker.rests(), 30 * MILLISECOND);
    worker.takes_turns(REST_EVERY, Duration::ZERO, Look::Hidden);
    assert_eq!(worker.rests(), MILLISECOND, "at least");
    worker.takes_turns(REST_EVERY, 1000 * MILLISECOND, Look::Hidden);
    assert_eq!(worker.rests(), 100 * MILLISECOND, "at most");
    worker.takes_turns(1, 30 * MILLISECOND, Look::Hidden);
    worker.takes_turns(1, 30 * MILLISECOND, Look::Waits);
    worker.takes_turns(REST_EVERY, 2 * MILLISECOND, Look::Hidden);
    assert_eq!(worker.rests(), 2 * MILLISECOND, "what was certain needs no rest");
}

/// The call of its rest is its own, and nothing of the question is in its pipe.
#[tokio::test]
async fn a_worker_that_ends_in_its_rest_has_read_nothing() {
    let mut worker = Worker::unseen(&wire());
    worker.takes_turns(REST_EVERY, Duration::ZERO, Look::Hidden);
    worker.is_asked(Instant::now());
    let [stdin, stdout] = worker.pipes.ends();
    let spare = Turns::new(Watcher::new(NOBODY, stdin, stdout), &wire(), None);
    let link = Links::default().add(WorkerId(1));
    link.takes_turns(std::mem::replace(&mut worker.turns, spare));
    assert!(link.turns.get().is_some_and(|turns| turns.cut_short().is_none()));
    assert!(link.unread() > 0, "the question was not read");
}

#[tokio::test]
async fn a_worker_is_looked_at_once_its_question_is_written() {
    let mut worker = Worker::unseen(&wire());
    assert_eq!(worker.turns.next_look(&worker.pipes), None);
    worker.is_asked(Instant::now());
    assert_eq!(worker.turns.next_look(&worker.pipes), None);
    flush(&mut worker.pipes).await;
    assert!(worker.turns.next_look(&worker.pipes).is_some());
}

/// What was not read yet may be answered, whatever else the worker writes.
#[tokio::test]
async fn a_turn_goes_on_as_long_as_its_question_is_not_read() {
    let mut worker = Worker::unseen(&wire());
    worker.is_asked(Instant::now());
    flush(&mut worker.pipes).await;
    assert_eq!(worker.turns.look_at(&mut worker.pipes), (Look::Works, 0));
    assert_eq!(worker.program.reads(), b"q1\n");
    assert_eq!(worker.turns.look_at(&mut worker.pipes), (Look::Hidden, 0));
    worker.program.writes("answer\n");
    assert_eq!(worker.turns.look_at(&mut worker.pipes), (Look::Hidden, 7), "what came meanwhile");
}

#[tokio::test]
async fn a_part_of_a_message_is_no_answer() {
    let mut worker = Worker::unseen(&wire());
    let now = Instant::now();
    worker.is_asked(now);
    worker.writes(now, "half");
    assert!(worker.turns.has_output());
    assert!(worker.turns.looked(now, Look::Hidden).is_none());
    worker.writes(now, " and half\n");
    let ended = worker.turns.looked(now, Look::Hidden).expect("it is whole");
    assert_eq!(ended.call, CallId(1));
    assert!(ended.written.is_one());
}

#[tokio::test]
async fn a_worker_is_seen_to_wait_at_one_moment() {
    let mut worker = Worker::unseen(&wire());
    let now = Instant::now();
    worker.is_asked(now);
    assert!(worker.turns.looked(now, Look::Waits).is_some());
    assert!(worker.turns.is_seen_waiting(now));
    assert!(!worker.turns.is_seen_waiting(now + MILLISECOND), "it may have written since");
}

#[tokio::test]
async fn the_turn_of_a_worker_that_has_ended_is_cut_short_once() {
    let mut worker = Worker::unseen(&wire());
    let now = Instant::now();
    assert!(worker.turns.cut_short().is_none(), "it was not asked");
    worker.is_asked(now);
    worker.writes(now, "answer\n");
    assert!(worker.turns.cut_short().is_some_and(|ended| ended.written.is_one()));
    assert!(worker.turns.cut_short().is_none());
}

#[tokio::test]
async fn what_comes_between_two_turns_is_never_an_answer() {
    let mut worker = Worker::unseen(&wire());
    worker.program.writes("unasked\n");
    worker.pipes.read_rest();
    let out = worker.turns.take_in(Instant::now(), &mut worker.pipes, None);
    assert_eq!(out, Err(OutOfStep::unasked(b"unasked\n")));
}

/// The call ends with its turn; what follows its last part is dropped.
#[tokio::test]
async fn the_last_part_of_an_answer_does_not_end_its_call() {
    for (end, written, expected) in [
        (StreamEnd::Until(".".into()), "a\nb\n.\nc\n.\n", &["a", "b"][..]),
        (StreamEnd::More, "{\"more\":true}\n1\n2\n3\n", &["{\"more\":true}", "1"]),
    ] {
        let stream = Some(StreamSettings { end, buffer: 1024 });
        let mut worker = Worker::unseen(&WireSettings { stream, ..wire() });
        let now = Instant::now();
        worker.is_asked(now);
        worker.program.writes(written);
        worker.pipes.read_rest();
        let mut parts = Vec::new();
        let late = worker.turns.take_in(now, &mut worker.pipes, Some(&mut parts));
        assert_eq!(late, Ok(2));
        assert!(parts.iter().all(|part| part.share == Share::Part));
        let parts: Vec<_> = parts.iter().map(|part| &part.answer[..]).collect();
        assert_eq!(parts, expected.iter().map(|part| part.as_bytes()).collect::<Vec<_>>());
        let ended = worker.turns.looked(now, Look::Waits).expect("it waits");
        assert!(ended.has_all_parts);
    }
}

/// No look ever shows that it waits, so its answer must end in another way.
#[tokio::test]
async fn a_worker_that_answered_and_closed_its_input_waits_no_more() {
    let mut worker = Worker::runs("exec sleep 1000 <&-", None);
    let begun = Instant::now();
    worker.is_asked(begun);
    flush(&mut worker.pipes).await;
    rustix::io::ioctl_fionbio(&worker.program.stdin, true).expect("it is a pipe");
    assert_eq!(worker.program.reads(), b"q1\n");
    worker.is_seen(Look::Works);
    worker.writes(begun, "answer\n");
    worker.was_looked_at(begun);
    assert_eq!(worker.sees(), Look::Works, "we can still read its input");
    worker.program.stdin = rustix::pipe::pipe().expect("a pipe").0;
    // A child that another test just made may still have a copy.
    worker.is_seen(Look::Waits);
    worker.turns.begin(begun, CallId(2), false);
    worker.was_looked_at(begun);
    assert_eq!(worker.sees(), Look::Works, "it may still answer");
    worker.writes(begun, "answer\n");
    assert_eq!(worker.sees(), Look::Works, "it may still go on writing");
    worker.was_looked_at(begun);
    worker.is_seen(Look::Waits);
}

/// It is stopped in its read, and looks as if it had read nothing.
#[tokio::test]
async fn a_worker_that_is_stopped_after_its_read_has_not_ended_its_turn() {
    let mut worker = Worker::runs("exec cat", None);
    worker.is_seen(Look::Waits);
    let child = worker.child.as_ref().expect("it runs");
    kill_process(Pid::from_child(child), Signal::STOP).expect("it is ours");
    let state = format!("/proc/{}/stat", child.id());
    while !std::fs::read_to_string(&state).expect("it runs").contains(") T ") {
        std::thread::yield_now();
    }
    worker.is_asked(Instant::now());
    flush(&mut worker.pipes).await;
    assert_eq!(worker.program.reads(), b"q1\n");
    assert_eq!(worker.sees(), Look::Works);
}

/// A worker whose start showed nothing is taken at its word until a look shows that it waits.
#[tokio::test]
async fn a_worker_that_was_seen_to_wait_is_seen_to_work() {
    let mut unseen = Worker::runs("exec sleep 1000", Some(Look::Works));
    unseen.is_seen(Look::Hidden);
    let mut worker = Worker::runs("read line; exec sleep 1000", Some(Look::Works));
    worker.is_seen(Look::Waits);
    worker.is_asked(Instant::now());
    flush(&mut worker.pipes).await;
    worker.is_seen(Look::Works);
    let name = format!("/proc/{}/comm", worker.child.as_ref().expect("it runs").id());
    while std::fs::read_to_string(&name).expect("it runs") != "sleep\n" {
        std::thread::yield_now();
    }
    assert_eq!(worker.sees(), Look::Works);
}
