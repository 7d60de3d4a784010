//! The system says no: no process, no descriptor, no memory, no room. The server lives, says so,
//! and recovers by itself.

use std::time::Duration;

use crate::support::{Server, pause};

/// The thread that does everything, and the one that writes the log.
const MAIN: &str = "httpipe";
const LOG: &str = "httpipe-log";

/// Short waits, so that a pool without workers says so soon.
const KEYS: &str = "workers = 1\nretries = 0\nqueue = { wait = \"300ms\" }";

fn no_process_can_be_made(error: &str) {
    let server = Server::with(KEYS).start();
    assert_eq!(server.answers("before").body, "before");
    let fault = server.inject(MAIN, &format!("clone,clone3,vfork,fork:error={error}"));
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

#[test]
fn no_pipe_for_a_worker() {
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
    let server = Server::with(KEYS).start();
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "before").body, "before");
    let fault = server.inject(MAIN, "accept4:error=EMFILE");
    let waiting = server.client().post_later("/", "waiting");
    server.wait_for_log("cannot accept connections for now");
    let used = server.processor_time();
    pause(Duration::from_millis(500));
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

/// The kernel may take less than it was given; the rest must follow, once.
#[test]
fn writes_that_take_only_a_part() {
    let server = Server::with("workers = 1").start();
    let text = "abcdefgh".repeat(4096);
    let fault = server.inject(MAIN, "write,writev:error=EINTR:when=1+3");
    for round in 0..5 {
        let question = format!("{text}{round}");
        assert!(server.answers(&question).body == question, "round {round}");
    }
    fault.end();
    assert_eq!(server.answers("after").body, "after");
}

#[test]
fn a_workers_stdin_that_breaks() {
    let server = Server::with("workers = 1\nretries = 0").start();
    assert_eq!(server.answers("before").body, "before");
    // The worker lives, and yet what is written to it fails: the answer to a caller goes by
    // another call.
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "kept").body, "kept");
    let old = server.workers();
    server.signal_worker(old[0], "STOP");
    let running = server.client().post_later("/", &"x".repeat(1 << 20));
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.signal_worker(old[0], "KILL");
    let lost = running.answer();
    assert_eq!((lost.status, lost.code().as_str()), (502, "worker_lost"));
    assert_eq!(server.answers("after").body, "after");
}

fn a_log_that_cannot_be_written(error: &str) {
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
