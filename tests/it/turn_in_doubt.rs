//! Programs that answer in ways that no look at their reading thread shows: input that never blocks,
//! timers, processes that left the group, threads.

use std::time::Duration;

use crate::support::{Plan, Server};

const TURN: &str = "framing = { send = \"line\", reply = \"turn\" }";

/// Asks again and again whether there is a question.
const POLLER: &str = "import os, time
os.set_blocking(0, False)
read = b''
while True:
    time.sleep(0.002)
    try: read += os.read(0, 999)
    except BlockingIOError: continue
    while b'\\n' in read:
        line, read = read.split(b'\\n', 1)
        print('answer', line.decode(), flush=True)
";

/// Lets a signal tell that there is a question.
const SIGNALLED: &str = "import fcntl, os, signal
os.set_blocking(0, False)
def reads(*_):
    for line in os.read(0, 999).decode().split(): print('answer', line, flush=True)
signal.signal(signal.SIGIO, reads)
fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
while True: signal.pause()
";

/// Answers while it waits for the next question.
const TIMER: &str = "import signal, sys
open_questions = []
def answers(*_):
    while open_questions: print('answer', open_questions.pop(0), flush=True)
signal.signal(signal.SIGALRM, answers)
for line in sys.stdin:
    open_questions.append(line.strip())
    signal.setitimer(signal.ITIMER_REAL, 0.03)
";

/// The answer comes from a process that has neither the parent nor the group of the worker.
const DAEMON: &str = "import os, sys, time
for line in sys.stdin:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.03); os.write(1, ('answer ' + line).encode())
        os._exit(0)
    os.wait()
";

/// The thread that reads waits for the next question while another one works.
const THREADS: &str = "import sys, time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
def answers(line):
    time.sleep(0.03)
    print('answer', line, flush=True)
for line in sys.stdin: pool.submit(answers, line.strip())
";

/// Asks again and again whether there is a question, in messages that begin with their length. It takes
/// its time for one question.
const LENGTHS: &str = "import os, time
os.set_blocking(0, False)
read = b''
while True:
    time.sleep(0.002)
    try: read += os.read(0, 99999)
    except BlockingIOError: continue
    end = 2 + int.from_bytes(read[:2], 'big')
    if len(read) < max(2, end): continue
    question, read = read[2:end], read[end:]
    if question == b'slow': time.sleep(0.2)
    os.write(1, len(question).to_bytes(2, 'big') + question)
";

fn serves(script: &str, keys: &str) -> Plan {
    let keys = format!("workers = 1\n{keys}");
    Server::with(&keys).file("worker.py", script).worker("python3 worker.py")
}

/// Asks a few questions at once, again and again, and checks each answer.
fn answers_each(server: &Server, what: &str) {
    std::thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || {
                for call in 0..5 {
                    let question = format!("{caller}-{call}");
                    let got = server.answers(&question);
                    let wanted = (200, format!("answer {question}"));
                    assert_eq!((got.status, got.body.clone()), wanted, "{what}: {got:?}");
                    assert!(got.is_within(Duration::from_secs(9)), "{what}: {got:?}");
                }
            });
        }
    });
}

/// It is never still, and never seen to wait: neither keeps it from being ready, nor its answers
/// from their callers.
#[test]
fn a_program_whose_input_never_blocks_is_served() {
    for (what, script) in [("poller", POLLER), ("signalled", SIGNALLED)] {
        for keys in
            ["", "ready = \"begin\"", "reply = \"answer {input}\"", "probe = { send = \"7\" }"]
        {
            let banner =
                if keys.starts_with("ready") { "print('begin', flush=True)\n" } else { "" };
            let server = serves(&format!("{banner}{script}"), keys).start();
            std::thread::scope(|scope| {
                let asked: Vec<_> = (0..4)
                    .map(|n| {
                        scope.spawn({
                            let server = &server;
                            move || server.answers(&n.to_string())
                        })
                    })
                    .collect();
                for (n, answer) in asked.into_iter().enumerate() {
                    let answer = answer.join().expect("it was asked");
                    assert_eq!(answer.status, 200, "{what} {keys}: {answer:?}");
                    assert!(answer.body.contains(&n.to_string()), "{what} {keys}: {answer:?}");
                }
            });
        }
        let server = serves(script, TURN).start_unready();
        server.wait_for_log("use another framing than `turn`");
    }
}

#[test]
fn an_answer_from_the_handler_of_a_timer_reaches_its_caller() {
    for keys in ["", TURN] {
        answers_each(&serves(TIMER, keys).start(), keys);
    }
}

#[test]
fn an_answer_from_a_process_that_left_the_group_reaches_its_caller() {
    for keys in ["", TURN] {
        answers_each(&serves(DAEMON, keys).start(), keys);
    }
}

/// Beside a thread that works, a thread that waits is no empty answer.
#[test]
fn an_answer_from_another_thread_reaches_its_caller() {
    for keys in ["", TURN] {
        answers_each(&serves(THREADS, keys).start(), keys);
    }
}

/// After 64 turns whose end was uncertain the worker rests, and the next question waits for the end of its
/// rest. That one is longer than its length can say, as are those that wait behind it.
#[test]
fn a_question_that_cannot_be_sent_after_a_rest_fails_alone() {
    let server = serves(LENGTHS, "framing = \"u16\"").start();
    assert_eq!(server.answers("slow").body, "slow");
    for number in 1..64 {
        assert_eq!(server.answers(&number.to_string()).status, 200);
    }
    let long = "a".repeat(70_000);
    let callers: Vec<_> = (0..4).map(|_| server.client().post_later("/", &long)).collect();
    for caller in callers {
        let answer = caller.answer();
        assert_eq!((answer.status, &*answer.code()), (413, "body_too_large"), "{answer:?}");
    }
    assert_eq!(server.answers("short").body, "short");
}
