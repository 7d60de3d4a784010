//! Looks at real programs through the kernel's files: do they wait for their input?

use std::time::{Duration, Instant};

use httpipe::testing::worker::look::{Look, Watcher};
use httpipe::testing::worker::process::Process;
use httpipe::testing::worker::spawn::{Streams, spawn};
use httpipe::testing::worker::turn::{Over, Turn};

use crate::support::{guard, moment, shell};

/// One program, asked turn by turn.
struct Asked {
    _process: Process,
    streams: Streams,
    watcher: Watcher,
}

impl Asked {
    async fn start(script: &str) -> Self {
        let (process, streams) = spawn(&shell(script), &guard()).expect("the shim starts");
        let watcher = Watcher::new(process.id(), streams.stdin.get_ref());
        let mut asked = Self { _process: process, streams, watcher };
        asked.until_over(Turn::new(Instant::now(), true)).await;
        asked
    }

    /// Asks a question. Returns what the program writes in this turn, and how sure its end is.
    async fn ask(&mut self, question: &str) -> (String, Over) {
        let turn = Turn::new(Instant::now(), true);
        rustix::io::write(self.streams.stdin.get_ref(), question.as_bytes()).expect("it reads");
        self.until_over(turn).await
    }

    async fn until_over(&mut self, mut turn: Turn) -> (String, Over) {
        let mut all = Vec::new();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let has_question = self.has_question();
            let mut look = self.watcher.look();
            if look == Look::Waits && has_question {
                // It was woken a moment ago and has not run yet.
                look = Look::Works;
            }
            let before = all.len();
            self.read_all(&mut all);
            if all.len() > before {
                turn.wrote(Instant::now(), false);
            }
            if let Some(over) = turn.looked(Instant::now(), look) {
                return (String::from_utf8_lossy(&all).into_owned(), over);
            }
            assert!(Instant::now() < end, "{look:?} for twenty seconds");
            moment().await;
        }
    }

    /// Returns true if a question is in the pipe.
    fn has_question(&self) -> bool {
        rustix::io::ioctl_fionread(self.streams.stdin.get_ref()).expect("a pipe") > 0
    }

    fn read_all(&self, all: &mut Vec<u8>) {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = rustix::io::read(self.streams.stdout.get_ref(), &mut part) {
            all.extend_from_slice(&part[..count]);
        }
    }
}

/// A program, a question, and its answer.
type Example = (&'static str, &'static str, &'static str);

/// Reads its input in an event loop in which nothing else happens, as Node does.
const POLLS: &str = "exec python3 -uc '
import select, sys, os
poll = select.poll(); poll.register(0, 1)
while poll.poll(): sys.stdout.write(os.read(0, 99).decode())'";

#[tokio::test]
async fn programs_that_read_are_seen_to_wait_and_nothing_is_missing_then() {
    let examples: &[Example] = &[
        ("cat", "1\n", "1\n"),
        ("exec sed -u s/1/2/", "1\n", "2\n"),
        ("exec sed s/1/2/", "1\n", ""),
        ("exec grep --line-buffered x", "x\n", "x\n"),
        ("exec grep --line-buffered x", "y\n", ""),
        ("while read l; do echo $l; seq 2; done", "x\n", "x\n1\n2\n"),
        ("while read l; do echo $l; sleep 0.02; echo b; done | cat | cat", "x\n", "x\nb\n"),
        ("exec python3 -iq 2>/dev/null", "1+1\n", "2\n"),
        ("python3 -uc 'while True: print(input()); print(2)'", "1\n", "1\n2\n"),
        (POLLS, "1\n", "1\n"),
    ];
    for (program, question, answer) in examples {
        let mut asked = Asked::start(program).await;
        for _ in 0..50 {
            let got = asked.ask(question).await;
            assert_eq!(got, ((*answer).to_owned(), Over::Certain), "{program}");
        }
    }
}

#[tokio::test]
async fn a_program_that_works_or_sleeps_is_not_seen_to_wait() {
    for program in [
        "exec sleep 9",
        "while :; do :; done",
        "sleep 9 | cat",
        "exec cat <&-",
        "cat /dev/null; sleep 9",
    ] {
        let (process, streams) = spawn(&shell(program), &guard()).expect("the shim starts");
        let mut watcher = Watcher::new(process.id(), streams.stdin.get_ref());
        for _ in 0..200 {
            let look = watcher.look();
            assert!(!matches!(look, Look::Waits | Look::MayWait { .. }), "{program}: {look:?}");
            moment().await;
        }
    }
}

#[tokio::test]
async fn threads_and_connections_make_the_wait_uncertain() {
    let clock = "exec python3 -uc '
import threading, time
threading.Thread(target=lambda: time.sleep(99), daemon=True).start()
while True: print(input())'";
    let connection = "exec python3 -uc '
import select, socket, sys, os
a, b = socket.socketpair()
poll = select.poll(); poll.register(0, 1); poll.register(a, 1)
while poll.poll(): sys.stdout.write(os.read(0, 99).decode())'";
    for (program, reads) in [(clock, true), (connection, false)] {
        let mut asked = Asked::start(program).await;
        for _ in 0..20 {
            assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Uncertain), "{program}");
        }
        assert_eq!(asked.watcher.look(), Look::MayWait { reads, runs: false });
    }
}

#[tokio::test]
async fn a_pipe_of_somebody_else_is_not_taken_for_the_questions() {
    // It reads descriptor 0, but that is another pipe, which nobody will ever write to.
    let program = "exec python3 -uc '
import os
read, write = os.pipe(); os.dup2(read, 0); os.read(0, 1)'";
    let (process, streams) = spawn(&shell(program), &guard()).expect("the shim starts");
    let mut watcher = Watcher::new(process.id(), streams.stdin.get_ref());
    for _ in 0..300 {
        assert_eq!(watcher.look(), Look::Works);
        moment().await;
    }
}

/// The call is the same, with the same arguments, from the same place.
#[tokio::test]
async fn a_descriptor_that_is_no_longer_the_questions_is_noticed() {
    let program = "exec python3 -uc '
import os
read, write = os.pipe(); byte = bytearray(1)
while True:
    os.readv(0, [byte])
    if byte == b\"x\": os.dup2(read, 0)'";
    let (process, streams) = spawn(&shell(program), &guard()).expect("the shim starts");
    let mut watcher = Watcher::new(process.id(), streams.stdin.get_ref());
    for question in ["a", "b", "c", "x"] {
        while watcher.look() != Look::Waits {
            moment().await;
        }
        rustix::io::write(streams.stdin.get_ref(), question.as_bytes()).expect("it reads");
        for _ in 0..100 {
            moment().await;
        }
    }
    assert_eq!(watcher.look(), Look::Works);
}

/// The token is always with one of two threads, but each is blocked most of the time.
#[tokio::test]
async fn threads_that_wake_each_other_are_not_all_blocked_at_once() {
    let program = "exec python3 -uc '
import os, sys, threading
a, b = os.pipe(), os.pipe()
def pass_on(take, give):
    while True: os.write(give[1], os.read(take[0], 1))
threading.Thread(target=pass_on, args=(a, b), daemon=True).start()
threading.Thread(target=pass_on, args=(b, a), daemon=True).start()
os.write(a[1], b\"x\"); print(\"begun\"); sys.stdin.read()'";
    let (process, streams) = spawn(&shell(program), &guard()).expect("the shim starts");
    let mut watcher = Watcher::new(process.id(), streams.stdin.get_ref());
    let mut begun = [0; 16];
    while rustix::io::read(streams.stdout.get_ref(), &mut begun).is_err() {
        moment().await;
    }
    for _ in 0..20_000 {
        assert_ne!(watcher.look(), Look::Waits, "one of them has the token");
    }
}

#[tokio::test]
async fn a_thread_reads_for_a_process_whose_first_thread_has_ended() {
    let program = "exec python3 -uc '
import ctypes, threading
def serve():
    while True: print(input())
threading.Thread(target=serve).start()
ctypes.CDLL(None).syscall(60, 0)'";
    if cfg!(target_arch = "x86_64") {
        let mut asked = Asked::start(program).await;
        for _ in 0..20 {
            assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Certain));
        }
    }
}

#[tokio::test]
async fn a_process_that_is_not_ours_to_see_is_hidden() {
    let (_, ours) = spawn(&shell("exec sleep 9"), &guard()).expect("the shim starts");
    // The kernel shows nothing of its own threads, as it shows nothing of another user's.
    let mut watcher = Watcher::new(u32::MAX, ours.stdin.get_ref());
    assert_eq!(watcher.look(), Look::Hidden);
}
