//! The system refuses processes, descriptors, memory or disk space. The server goes on, reports it,
//! and recovers by itself.

use std::time::Duration;

use crate::support::{Server, can_inject, pause};

/// The thread that does nearly everything, the one that makes processes, and the one that writes the log.
const MAIN: &str = "httpipe";
const STARTER: &str = "starter";
const LOG: &str = "httpipe-log";

/// Short waits, so that a pool without workers says so soon.
const KEYS: &str = "workers = 1\nretries = 0\nqueue = { wait = \"300ms\" }";

const KEYS_HASTY: &str = "workers = 1\nretries = 0\ntimeout = \"500ms\"\nstop_grace = \"50ms\"";

fn no_process_can_be_made(error: &str) {
    if !can_inject() {
        return;
    }
    let server = Server::with(KEYS).start();
    assert_eq!(server.answers("before").body, "before");
    let fault = server.inject(STARTER, &format!("clone,clone3,vfork,fork:error={error}"));
    assert_eq!(server.answers("crash").code(), "worker_lost");
    server.wait_until("callers are told that there is no worker", |s| {
        let answer = s.answers("meanwhile");
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        answer.status == 503 && !answer.header("retry-after").is_empty()
    });
    assert_eq!(server.admin().get("/live").status, 200);
    assert_eq!(server.admin().get("/ready").status, 503);
    fault.end();
    server.wait_until("it has recovered", |s| s.answers("after").body == "after");
    assert_eq!(server.zombies(), 0);
}

#[test]
fn no_more_processes() {
    no_process_can_be_made("EAGAIN");
}

#[test]
fn no_memory_for_a_process() {
    no_process_can_be_made("ENOMEM");
}

/// Two pools, each with a worker.
const TWO: &str = r#"
[pool.one]
command = ["$httpipe", "demo-worker"]
workers = 1

[pool.two]
command = ["$httpipe", "demo-worker"]
workers = 1

[[route]]
match = "POST /one"
pool = "one"

[[route]]
match = "POST /two"
pool = "two"
"#;

#[test]
fn a_process_that_takes_long_to_make_holds_up_no_caller_of_another_pool() {
    if !can_inject() {
        return;
    }
    let server = Server::config(TWO).start();
    let ready = |pool: &str| format!("httpipe_workers{{pool=\"{pool}\",state=\"ready\"}}");
    assert_eq!(server.client().post("/one", "hello").body, "hello");
    let slow = server.inject(STARTER, "clone:delay_enter=30000000");
    assert_eq!(server.client().post("/one", "crash").code(), "worker_lost");
    server.wait_until("the process is being made", |s| s.makes_process(STARTER));
    for _ in 0..20 {
        assert_eq!(server.client().post("/two", "hello").body, "hello");
    }
    // Its end takes the lock under which workers are put on the list.
    assert_eq!(server.client().post("/two", "crash").code(), "worker_lost");
    assert_eq!(server.admin().get("/live").status, 200);
    assert_eq!(server.metric(&ready("one")), 0.0, "all that was while the process was made");
    slow.end();
    server.wait_until("it is made", |s| s.client().post("/one", "hello").body == "hello");
}

#[test]
fn no_pipe_for_a_worker() {
    if !can_inject() {
        return;
    }
    let server = Server::with(KEYS).start();
    let descriptors = server.descriptors();
    let fault = server.inject(MAIN, "pipe2,socketpair:error=EMFILE");
    assert_eq!(server.answers("crash").code(), "worker_lost");
    server.wait_until("there is no worker", |s| s.answers("meanwhile").status == 503);
    fault.end();
    server.wait_until("it has recovered", |s| s.answers("after").body == "after");
    server.wait_until("nothing is left", |s| s.descriptors() <= descriptors + 2);
}

#[test]
fn no_descriptor_for_a_connection() {
    if !can_inject() {
        return;
    }
    let server = Server::with(KEYS).start();
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "before").body, "before");
    let fault = server.inject(MAIN, "accept4:error=EMFILE");
    let waiting = server.client().post_later("/", "waiting");
    server.wait_for_log("cannot accept connections for now");
    let used = server.processor_time();
    pause(Duration::from_millis(500), "its processor time is measured meanwhile");
    let spent = server.processor_time().saturating_sub(used);
    assert!(spent < Duration::from_millis(250), "it spins while it waits: {spent:?}");
    assert_eq!(kept.post("/", "others").body, "others", "who is connected is served");
    fault.end();
    assert_eq!(waiting.answer().body, "waiting");
    server.wait_for_log("accepting connections again");
}

/// A real limit: the connections of one caller use up all descriptors.
#[test]
fn few_descriptors_in_all() {
    let server = Server::with(KEYS).under("prlimit --nofile=64").start();
    assert_eq!(server.answers("before").body, "before");
    let mut first = server.client().connect();
    assert_eq!(first.post("/", "first").body, "first");
    let kept: Vec<_> = (0..80).map(|_| server.client().connect()).collect();
    server.wait_for_log("cannot accept connections for now");
    assert_eq!(first.post("/", "others").body, "others");
    assert_eq!(first.post("/", "crash").status, 502);
    drop(kept);
    server.wait_until("it has recovered", |s| s.answers("after").body == "after");
}

/// A pipe takes only a part of a large question. The rest must follow, complete and once.
#[test]
fn a_full_pipe_takes_a_question_in_parts() {
    let server = Server::with("workers = 1").start();
    let worker = server.workers()[0];
    let text = "abcdefgh".repeat(1 << 17);
    for round in 0..3 {
        server.signal_worker(worker, "STOP");
        let question = format!("{text}{round}");
        let running = server.client().post_later("/", &question);
        server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
        server.signal_worker(worker, "CONT");
        assert!(running.answer().body == question, "round {round}");
    }
}

/// It never read the question, so the call runs elsewhere although it may not run twice.
#[test]
fn a_worker_that_dies_while_it_is_written_to() {
    let server = Server::with("workers = 1\nretries = 0").start();
    assert_eq!(server.answers("before").body, "before");
    let worker = server.workers()[0];
    server.signal_worker(worker, "STOP");
    let question = "x".repeat(1 << 20);
    let running = server.client().post_later("/", &question);
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.signal_worker(worker, "KILL");
    assert!(running.answer().body == question);
    assert_eq!(server.answers("after").body, "after");
}

/// It lives and no longer reads: the next write fails with EPIPE, or the question stays unanswered
/// if another process holds the pipe open.
#[test]
fn a_worker_that_closed_its_stdin() {
    let server = Server::with(KEYS_HASTY)
        .worker("sh -c 'read -r x; echo \"$x\"; exec <&-; sleep 60'")
        .start();
    assert_eq!(server.answers("one").body, "one");
    pause(Duration::from_millis(100), "nothing shows from outside that its stdin is closed");
    let next = server.answers("two");
    assert!(next.is_within(Duration::from_secs(3)), "{next:?}");
    assert!(matches!(next.status, 200 | 502 | 504), "{next:?}");
    assert!(next.status != 200 || next.body == "two", "{next:?}");
    server.wait_until("another worker answers", |s| s.answers("three").body == "three");
}

fn a_log_that_cannot_be_written(error: &str) {
    if !can_inject() {
        return;
    }
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("before").body, "before");
    let fault = server.inject(LOG, &format!("write,writev:error={error}"));
    for round in 0..20 {
        let text = format!("stderr {round}");
        assert_eq!(server.answers(&text).body, text);
    }
    server.wait_until("what was lost is counted", |s| s.metric("httpipe_log_dropped_total") > 0.0);
    fault.end();
    assert_eq!(server.answers("stderr marker").status, 200);
    server.wait_for_log("marker");
}

#[test]
fn no_room_for_the_log() {
    a_log_that_cannot_be_written("ENOSPC");
}

#[test]
fn a_log_that_fails() {
    a_log_that_cannot_be_written("EIO");
}

/// It runs with the rights of another user, or waits forever for a device.
#[test]
fn a_worker_that_cannot_be_killed_does_not_hold_the_server_up() {
    if !can_inject() {
        return;
    }
    let keys = "workers = 1\nstop_grace = \"50ms\"";
    let mut server = Server::with(keys).worker("demo-worker --ignore-term --ignore-eof").start();
    let _fault = server.inject(MAIN, "kill:error=EPERM");
    server.signal("TERM");
    server.wait_for_log("cannot be killed");
    assert_eq!(server.exit_code(), 0);
}
