//! Looks at real programs through the kernel's files: do they wait for their input?

use std::io::Write as _;
use std::time::{Duration, Instant};

use httpipe::testing::worker::look::{Look, Watcher};
use httpipe::testing::worker::process::Process;
use httpipe::testing::worker::spawn::{Streams, spawn};
use httpipe::testing::worker::turn::{Over, Start, Turn, TurnShape};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{guard, moment, shell, state, wait_until};

/// Starts a program, and somebody who looks at it.
async fn started(script: &str) -> (Process, Streams, Watcher) {
    let (process, streams) = spawn(&shell(script), &guard()).await.expect("the shim starts");
    let (stdin, stdout) = (streams.stdin.get_ref(), streams.stdout.get_ref());
    let watcher = Watcher::new(process.id(), stdin, stdout);
    (process, streams, watcher)
}

/// One program, asked turn by turn.
struct Asked {
    _process: Process,
    streams: Streams,
    watcher: Watcher,
}

impl Asked {
    async fn start(script: &str) -> Self {
        let (process, streams, watcher) = started(script).await;
        let mut asked = Self { _process: process, streams, watcher };
        let mut start = Start::new(Instant::now(), Duration::from_secs(20));
        loop {
            let look = asked.watcher.look();
            asked.read_all(&mut Vec::new());
            if start.looked(Instant::now(), look, Duration::ZERO).is_some() {
                return asked;
            }
            moment().await;
        }
    }

    /// Asks a question. Returns what the program writes in this turn, and how sure its end is.
    async fn ask(&mut self, question: &str) -> (String, Over) {
        let turn = Turn::new(Instant::now(), TurnShape::All);
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

/// Reads its input with one of the rarer calls.
const READS_RARELY: &str = "exec python3 -uc '
import os, sys, ctypes
room, (far, near) = bytearray(99), os.pipe()
libc = ctypes.CDLL(None)
def tee():
    count = libc.tee(0, near, 99, 0)
    os.read(0, count)
    return os.read(far, count)
how = {\"preadv2\": lambda: room[:os.preadv(0, [room], -1)], \"tee\": tee,
       \"splice\": lambda: os.read(far, os.splice(0, near, 99))}[sys.argv[1]]
while line := bytes(how()): os.write(1, line)'";

/// Reads its input through an `io_uring`, whose calls have no names in the C library.
const RING: &str = "exec python3 -uc '
import ctypes, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
parameters = ctypes.create_string_buffer(120)
ring = libc.syscall(425, 4, parameters)
word = lambda at: struct.unpack_from(\"I\", parameters, at)[0]
shared = lambda length, offset: mmap.mmap(ring, length, offset=offset)
sq, cq, entries = shared(8192, 0), shared(8192, 0x8000000), shared(4096, 0x10000000)
get = lambda memory, at: struct.unpack_from(\"I\", memory, at)[0]
room = ctypes.create_string_buffer(99)
while True:
    tail = get(sq, word(44))
    entry = struct.pack(\"BBHiQQII\", 22, 0, 0, 0, 2 ** 64 - 1, ctypes.addressof(room), 99, 0)
    entries[tail % 4 * 64:tail % 4 * 64 + 64] = entry.ljust(64, bytes(1))
    struct.pack_into(\"I\", sq, word(64) + tail % 4 * 4, tail % 4)
    struct.pack_into(\"I\", sq, word(44), tail + 1)
    libc.syscall(426, ring, 1, 1, 1, None, 0)
    head = get(cq, word(80))
    read = struct.unpack_from(\"QiI\", cq, word(100) + head % 8 * 16)[1]
    struct.pack_into(\"I\", cq, word(80), head + 1)
    if read <= 0: break
    os.write(1, room.raw[:read])'";

fn has_rings() -> bool {
    let set_up = "import ctypes, sys
sys.exit(ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120)) < 0)";
    let status = std::process::Command::new("python3").args(["-c", set_up]).status();
    status.expect("there is a Python").success()
}

#[tokio::test]
async fn rare_ways_to_read_are_known() {
    for how in ["preadv2", "tee", "splice"] {
        let mut asked = Asked::start(&format!("{READS_RARELY} {how}")).await;
        for _ in 0..20 {
            assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Certain), "{how}");
        }
    }
    if !has_rings() {
        let skipped = "SKIPPED: rare_ways_to_read_are_known: this kernel lets nobody use io_uring";
        writeln!(std::io::stderr(), "{skipped}").expect("stderr can be written");
        return;
    }
    // What a ring waits for, the kernel does not show: another answer may follow.
    let mut asked = Asked::start(RING).await;
    for _ in 0..20 {
        assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Uncertain));
    }
    assert_eq!(asked.watcher.look(), Look::MayWait { reads: false, runs: false });
}

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
        let (_process, _streams, mut watcher) = started(program).await;
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
    let timed = "exec python3 -uc '
import select, sys, os
while True:
    if select.select([0], [], [], 99)[0]: sys.stdout.write(os.read(0, 99).decode())'";
    for (program, reads) in [(clock, true), (connection, false), (timed, false)] {
        let mut asked = Asked::start(program).await;
        for _ in 0..20 {
            assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Uncertain), "{program}");
        }
        assert_eq!(asked.watcher.look(), Look::MayWait { reads, runs: false });
    }
}

/// Has waited for a lock that other processes of the worker could share, and reads its input then.
#[tokio::test]
async fn a_thread_that_was_locked_is_seen_to_read_later() {
    let go = std::env::temp_dir().join(format!("httpipe_look_{}", std::process::id()));
    let program = format!(
        "exec python3 -uc '
import multiprocessing, os, sys, threading, time
lock = multiprocessing.Lock(); lock.acquire()
def wait():
    while not os.path.exists(\"{}\"): time.sleep(0.005)
    lock.release()
threading.Thread(target=wait).start()
lock.acquire(); sys.stdin.read()'",
        go.display()
    );
    let (_process, _streams, mut watcher) = started(&program).await;
    for _ in 0..400 {
        assert!(!matches!(watcher.look(), Look::Waits | Look::MayWait { .. }));
        moment().await;
    }
    std::fs::write(&go, "").expect("written");
    wait_until("it reads", || watcher.look() == Look::Waits);
    std::fs::remove_file(&go).expect("it is there");
}

#[tokio::test]
async fn a_program_of_many_threads_keeps_no_files_open_between_looks() {
    let program = "exec python3 -uc '
import threading, sys
lock = threading.Lock(); lock.acquire()
for _ in range(100): threading.Thread(target=lock.acquire, daemon=True).start()
sys.stdin.read()'";
    let (process, _streams, mut watcher) = started(program).await;
    wait_until("all of its threads are parked", || watcher.look() == Look::Waits);
    let open = std::fs::read_dir("/proc/self/fd").expect("readable").flatten();
    let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let theirs = format!("/proc/{}/task", process.id());
    let kept: Vec<_> = links.filter(|link| link.starts_with(&theirs)).collect();
    assert!(kept.is_empty(), "open after a look: {kept:?}");
    assert_eq!(watcher.look_closely(), Look::Waits, "and they are opened again");
}

#[tokio::test]
async fn a_pipe_of_somebody_else_is_not_taken_for_the_questions() {
    // It reads descriptor 0, but that is another pipe, which nobody will ever write to.
    let program = "exec python3 -uc '
import os
read, write = os.pipe(); os.dup2(read, 0); os.read(0, 1)'";
    let (_process, _streams, mut watcher) = started(program).await;
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
    let (_process, streams, mut watcher) = started(program).await;
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
    let (_process, streams, mut watcher) = started(program).await;
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
    let (_process, ours, _) = started("exec sleep 9").await;
    // The kernel shows nothing of its own threads, as it shows nothing of another user's.
    let mut watcher = Watcher::new(u32::MAX, ours.stdin.get_ref(), ours.stdout.get_ref());
    assert_eq!(watcher.look(), Look::Hidden);
}

/// Nothing in it seems to go on: the kernel shows timers only by what handles them.
#[tokio::test]
async fn a_timer_that_may_interrupt_the_wait_makes_it_uncertain() {
    let handler = "exec python3 -uc '
import signal
signal.signal(signal.SIGALRM, lambda *_: print(\"late\"))
while True: print(input()); signal.setitimer(signal.ITIMER_REAL, 99)'";
    let timer = "exec python3 -uc '
import ctypes
event = ctypes.create_string_buffer(64); timer = ctypes.c_void_p()
ctypes.memmove(ctypes.addressof(event) + 8, (ctypes.c_int * 2)(40, 0), 8)
assert ctypes.CDLL(None).timer_create(1, event, ctypes.byref(timer)) == 0
while True: print(input())'";
    for program in [handler, timer] {
        let mut asked = Asked::start(program).await;
        for _ in 0..5 {
            assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Uncertain), "{program}");
        }
    }
}

/// Most looks do not ask for timers. One that decides about a silent program does.
#[tokio::test]
async fn a_timer_that_was_set_later_is_noticed() {
    let program = "exec python3 -uc '
import signal
input()
signal.signal(signal.SIGALRM, lambda *_: print(\"late\"))
print(\"set\")
input()'";
    for is_close in [true, false] {
        let mut asked = Asked::start(program).await;
        assert_eq!(asked.watcher.look_closely(), Look::Waits);
        rustix::io::write(asked.streams.stdin.get_ref(), b"1\n").expect("it reads");
        let mut said = Vec::new();
        while said.is_empty() {
            asked.read_all(&mut said);
            moment().await;
        }
        let mut looks = 0;
        loop {
            let watcher = &mut asked.watcher;
            let look = if is_close { watcher.look_closely() } else { watcher.look() };
            match look {
                Look::MayWait { reads: true, runs: false } => break,
                Look::Waits => assert!(!is_close && looks < 16, "{looks} looks"),
                _ => moment().await,
            }
            looks += u32::from(look == Look::Waits);
        }
    }
}

/// Any process may open a lock that has a name, and give it free.
#[tokio::test]
async fn a_lock_with_a_name_makes_the_wait_uncertain_and_others_do_not() {
    let program = |lock: &str| {
        format!(
            "exec python3 -uc '
import _multiprocessing, multiprocessing, os, threading
named = _multiprocessing.SemLock(0, 0, 9, \"/httpipe-%d\" % os.getpid(), False)
nameless = multiprocessing.Semaphore(0)
threading.Thread(target={lock}.acquire, daemon=True).start()
print(input())
line = input()
_multiprocessing.sem_unlink(\"/httpipe-%d\" % os.getpid())
while True: print(line); line = input()'"
        )
    };
    for (lock, over) in [("named", Over::Uncertain), ("nameless", Over::Certain)] {
        let mut asked = Asked::start(&program(lock)).await;
        assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), over), "{lock}");
        let nameless_now = asked.ask("2\n").await;
        assert_eq!(nameless_now, ("2\n".to_owned(), Over::Certain), "{lock}");
    }
}

/// It has neither the parent nor the group of the worker, but it can write answers.
#[tokio::test]
async fn a_process_that_left_the_group_and_can_answer_belongs_to_its_worker() {
    // As the server is.
    assert!(httpipe::testing::worker::reaper::adopt());
    let program = "exec python3 -uc '
import os, sys, time
for line in sys.stdin:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.05); os.write(1, line.encode())
        os._exit(0)
    os.wait()'";
    let mut asked = Asked::start(program).await;
    for _ in 0..20 {
        assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Certain));
    }
}

/// It can write no answers, and may still do something for the worker.
#[tokio::test]
async fn a_process_of_the_group_belongs_to_its_worker_without_its_parent() {
    assert!(httpipe::testing::worker::reaper::adopt());
    let program = "(sleep 99 <&- >&- 2>&- &); exec cat";
    let (_process, _streams, mut watcher) = started(program).await;
    let expected = Look::MayWait { reads: true, runs: false };
    wait_until("it belongs to the worker", || watcher.look() == expected);
}

/// Its first process is seen to run each time, and is not all there is of it.
#[tokio::test]
async fn a_process_without_its_parent_is_found_behind_one_that_never_rests() {
    assert!(httpipe::testing::worker::reaper::adopt());
    let program = "exec 3<&0; exec <&-; i=0; while :; do
    i=$((i + 1)); if [ $i = 100000 ]; then (cat <&3 3<&- &) fi; done";
    let (_process, _streams, mut watcher) = started(program).await;
    let expected = Look::MayWait { reads: true, runs: true };
    wait_until("the reader is found", || watcher.look() == expected);
}

/// What it waits for cannot be read, so it may be anything.
#[tokio::test]
async fn a_thread_that_waits_for_nothing_that_is_seen_makes_the_wait_uncertain() {
    let program = "exec python3 -uc '
import select, threading
threading.Thread(target=select.poll().poll, daemon=True).start()
while True: print(input())'";
    let mut asked = Asked::start(program).await;
    for _ in 0..5 {
        assert_eq!(asked.ask("1\n").await, ("1\n".to_owned(), Over::Uncertain));
    }
}

/// It was stopped in its read, which is all that a quick look shows.
#[tokio::test]
async fn a_process_that_is_stopped_after_its_read_is_not_seen_to_wait() {
    let (process, streams, mut watcher) = started("exec cat").await;
    while watcher.look_closely() != Look::Waits {
        moment().await;
    }
    let id = Pid::from_raw(process.id().cast_signed()).expect("a process");
    kill_process(id, Signal::STOP).expect("it is ours");
    while state(process.id()) != Some('T') {
        moment().await;
    }
    rustix::io::write(streams.stdin.get_ref(), b"1\n").expect("it is there");
    assert_eq!(watcher.look(), Look::Waits, "so it seems");
    assert_eq!(watcher.look_closely(), Look::Works);
}
