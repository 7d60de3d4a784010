//! Each fault of a worker, one after the other in one pool, while another caller goes on asking:
//! what the two callers see, what operators see, and that nothing is left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Over, Server, pause};

/// A question that makes a worker misbehave.
struct Fault {
    question: &'static str,
    /// The codes that its caller may see. If empty, the caller sees its own answer.
    sees: &'static [&'static str],
    /// The reason under which the exit of the worker is counted. If empty, the worker stays.
    exit: &'static str,
    /// A text that the log must contain.
    log: &'static str,
}

const fn fault(
    question: &'static str,
    sees: &'static [&'static str],
    exit: &'static str,
    log: &'static str,
) -> Fault {
    Fault { question, sees, exit, log }
}

/// The `timeout` is far more than a question without a fault needs, even on a busy machine, where a
/// new worker is still starting when it gets one.
const KEYS: &str = "workers = 2\nretries = 1\ntimeout = \"1s\"\nstop_grace = \"50ms\"\n\
                    message_max = \"1MiB\"\nreply = \"{input}|{result}\"\n\
                    error = \"e|{input}|{message}\"";

/// The codes that are right if a worker writes more than one answer.
const EXTRA: &[&str] = &["", "worker_lost", "bad_answer"];

/// What a server holds while nothing happens.
struct Base {
    offspring: usize,
    descriptors: usize,
    memory: u64,
}

fn suffer(faults: &[Fault]) {
    suffer_in("demo-worker --pair", faults);
}

fn suffer_in(worker: &str, faults: &[Fault]) {
    let server = Server::with(KEYS).worker(worker).start();
    for number in 0..4 {
        assert_eq!(server.answers(&format!("warm {number}")).status, 200);
    }
    let base = Base {
        offspring: server.offspring().len(),
        descriptors: server.descriptors(),
        memory: server.memory(),
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| other_caller(&server, &over));
        let until_here = Over(&over);
        for fault in faults {
            one_fault(&server, fault, &base);
        }
        drop(until_here);
        let answered = other.join().expect("the other caller saw only right answers");
        assert!(answered > faults.len(), "{answered} answers for the other caller");
    });
    server.wait_until("all is as before", |s| {
        s.offspring().len() == base.offspring && s.descriptors() <= base.descriptors + 1
    });
    let grown = server.memory().saturating_sub(base.memory);
    assert!(grown < 24 << 20, "{grown} bytes more");
}

/// Asks questions that may run twice until `over`. All answers must be right. Returns how many
/// there were.
fn other_caller(server: &Server, over: &AtomicBool) -> usize {
    let (answered, failed) = unlucky_caller(server, over);
    assert_eq!(failed, 0, "the other caller notices nothing");
    answered
}

/// Asks as `other_caller` does, but allows honest failures. Returns how many answers and how many
/// failures there were.
fn unlucky_caller(server: &Server, over: &AtomicBool) -> (usize, usize) {
    let mut connection = server.client().connect();
    let (mut round, mut failed) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let token = format!("token-{round}");
        let answer = connection.get(&format!("/?input={token}"));
        if answer.status == 200 {
            assert_eq!(
                answer.json()["result"],
                token,
                "the answer to another question: {answer:?}"
            );
        } else {
            assert!(matches!(answer.code().as_str(), "bad_answer" | "worker_lost"), "{answer:?}");
            failed += 1;
        }
        round += 1;
        pause(Duration::from_millis(2), "a caller asks often, and not without end");
    }
    (round - failed, failed)
}

fn one_fault(server: &Server, fault: &Fault, base: &Base) {
    let exits = format!("httpipe_worker_exits_total{{reason=\"{}\"}}", fault.exit);
    let (before, all_before) = (server.metric(&exits), server.metric("httpipe_worker_exits_total"));
    let log_before = server.log_lines().len();
    let answer = server.answers(fault.question);
    let code = answer.code();
    let expected = if fault.sees.is_empty() { &[""] } else { fault.sees };
    assert!(expected.contains(&code.as_str()), "{}: {answer:?}", fault.question);
    if code.is_empty() {
        assert!(answer.body.contains("result"), "{}: {answer:?}", fault.question);
    } else {
        assert!(answer.is_within(Duration::from_secs(3)), "{}: {answer:?}", fault.question);
    }
    if fault.exit.is_empty() {
        let all = server.metric("httpipe_worker_exits_total");
        assert_eq!(all, all_before, "{}: its worker stays", fault.question);
    } else {
        server.wait_until(&format!("`{}` was counted", fault.question), |s| {
            s.metric(&exits) > before
        });
    }
    server.wait_until(&format!("the log tells of `{}`", fault.question), |s| {
        s.log_lines()[log_before..].iter().any(|line| line.contains(fault.log))
    });
    server.wait_until(&format!("the pool is whole after `{}`", fault.question), |s| {
        s.offspring().len() == base.offspring
            && s.zombies() == 0
            && s.metric("httpipe_workers{state=\"starting\"}") == 0.0
            && s.metric("httpipe_workers{state=\"leaving\"}") == 0.0
    });
}

#[test]
fn workers_that_die() {
    suffer(&[
        fault("crash a", &["worker_lost"], "crash", "exit code 101"),
        fault("crash-during abcdef", &["worker_lost"], "crash", "exit code 101"),
        fault("crash-after a", &[], "crash", "exit code 101"),
        fault("exit 0 a", &["worker_lost"], "crash", "exit code 0"),
        fault("kill-self a", &["worker_lost"], "crash", "signal 9"),
        fault("abort a", &["worker_lost"], "crash", "signal 6"),
        fault("close-stdout a", &["worker_lost"], "crash", "worker lost"),
    ]);
}

#[test]
fn workers_that_are_silent_or_late() {
    suffer(&[
        fault("hang a", &["timeout"], "timeout", "\"reason\":\"timeout\""),
        fault("spin a", &["timeout"], "timeout", "\"reason\":\"timeout\""),
        fault("stop-self a", &["timeout"], "timeout", "\"reason\":\"timeout\""),
        fault("half-stall abcdef", &["timeout"], "timeout", "\"reason\":\"timeout\""),
        fault("dribble 60 abcdef", &["timeout"], "timeout", "\"reason\":\"timeout\""),
        fault("sleep 1500 a", &["timeout"], "timeout", "\"reason\":\"timeout\""),
    ]);
}

#[test]
fn workers_that_write_too_much() {
    suffer(&[
        fault("endless a", &["bad_answer"], "too_big", "\"reason\":\"too_big\""),
        fault("huge 1GiB", &["bad_answer"], "too_big", "\"reason\":\"too_big\""),
        fault("twice a", EXTRA, "unasked_output", "\"reason\":\"unasked_output\""),
    ]);
}

#[test]
fn workers_that_write_something_else() {
    suffer(&[
        fault("wrong a", &["bad_answer"], "bad_answer", "\"reason\":\"bad_answer\""),
        fault("garbage a", &["bad_answer"], "bad_answer", "\"reason\":\"bad_answer\""),
        fault("empty", &["bad_answer"], "bad_answer", "\"reason\":\"bad_answer\""),
        fault("invalid-utf8 a", &["bad_answer"], "", "\"code\":\"bad_answer\""),
        fault("error a", &["program_error"], "", "\"code\":\"program_error\""),
    ]);
}

/// The processes that they leave behind stay in the group and are killed with it.
#[test]
fn workers_that_leave_something_behind() {
    suffer(&[
        fault("orphan-and-crash a", &["worker_lost"], "crash", "exit code 101"),
        fault("orphan-and-hang a", &["timeout"], "timeout", "\"reason\":\"timeout\""),
        fault("stderr-flood 256KiB", &[], "", "eeeeeeee"),
    ]);
}

/// A worker that writes more after its answer may do so while it holds the question of another
/// caller. That caller gets its own answer or an honest failure, and never the extra output.
#[test]
fn workers_that_say_more_later() {
    let server = Server::with(KEYS).worker("demo-worker --pair").start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| unlucky_caller(&server, &over));
        let until_here = Over(&over);
        for question in ["again 0 a", "again 2 a", "unasked 0 a", "unasked 2 a"] {
            for _ in 0..3 {
                let answer = server.answers(question);
                assert!(matches!(answer.status, 200 | 502), "{answer:?}");
                server.wait_until("the pool is whole", |s| {
                    s.workers().len() == 2 && s.metric("httpipe_workers{state=\"starting\"}") == 0.0
                });
            }
        }
        drop(until_here);
        let (answered, failed) = other.join().expect("no caller saw the answer of another");
        assert!(answered > failed, "{answered} answers, {failed} failures");
    });
    assert!(server.metric("httpipe_worker_exits_total") >= 4.0);
}

/// They ignore TERM and the end of their input, so the worker and its group are killed.
#[test]
fn workers_that_take_no_notice_of_being_stopped() {
    suffer_in(
        "demo-worker --pair --ignore-term --ignore-eof",
        &[
            fault("hang a", &["timeout"], "timeout", "\"exit\":\"signal 9\""),
            fault("orphan-and-hang a", &["timeout"], "timeout", "\"exit\":\"signal 9\""),
            fault("twice a", EXTRA, "unasked_output", "\"exit\":\"signal 9\""),
        ],
    );
}

/// Their last answer was right, so it only shows when a question stays unanswered. That call times
/// out, and no other does.
#[test]
fn workers_that_read_no_more() {
    let server = Server::with(KEYS).worker("demo-worker --pair").start();
    assert_eq!(server.answers("warm").status, 200);
    let descriptors = server.descriptors();
    for round in 0..3 {
        let exits = || server.metric("httpipe_worker_exits_total{reason=\"timeout\"}");
        assert_eq!(server.answers(&format!("stop-reading {round}")).status, 200);
        // The worker used last is asked first.
        let waits = server.client().post_later("/", &format!("next {round}"));
        server.wait_until("it was given", |s| s.metric("httpipe_workers{state=\"busy\"}") > 0.0);
        for other in 0..10 {
            let token = format!("other {round} {other}");
            let answer = server.answers(&token);
            assert_eq!(answer.json()["result"], token);
            assert!(answer.is_within(Duration::from_millis(300)), "{answer:?}");
        }
        assert_eq!(waits.answer().code(), "timeout");
        server.wait_until("it was counted", |_| exits() == f64::from(round + 1));
        server.wait_until("the pool is whole", |s| {
            s.workers().len() == 2 && s.metric("httpipe_workers{state=\"ready\"}") == 2.0
        });
    }
    server
        .wait_until("all is as before", |s| s.descriptors() <= descriptors + 1 && s.zombies() == 0);
}
