//! A caller may shorten its own call.

use std::time::Duration;

use crate::support::Server;

#[test]
fn a_caller_with_little_time_is_answered_in_time() {
    let server = Server::with("workers = 1").start();
    let worker = server.workers();
    let answer = server.client().request("POST", "/", &["X-Timeout: 100ms"], "sleep 600 a");
    assert_eq!((answer.status, answer.code().as_str()), (504, "timeout"));
    assert!(answer.is_within(Duration::from_millis(500)), "{answer:?}");
    assert_eq!(server.answers("next").body, "next");
    assert_eq!(server.workers(), worker, "no caller can end workers at will");
}

#[test]
fn a_call_that_has_no_time_left_leaves_the_queue() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    let running = server.client().post_later("/", "sleep 600 running");
    server.wait_until("one runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let answer = server.client().request("POST", "/", &["X-Timeout: 100ms"], "late");
    assert!(matches!(answer.status, 503 | 504), "{answer:?}");
    assert_eq!(running.answer().status, 200);
    assert_eq!(server.answers("next").body, "next");
    assert_eq!(server.seen(), ["sleep 600 running", "next"]);
}

#[test]
fn a_caller_cannot_lengthen_its_call() {
    let server = Server::with("workers = 1\ntimeout = \"100ms\"\nstop_grace = \"50ms\"").start();
    let answer = server.client().request("POST", "/", &["X-Timeout: 10s"], "sleep 2000 a");
    assert_eq!(answer.code(), "timeout");
    assert!(answer.is_within(Duration::from_secs(1)), "{answer:?}");
}

#[test]
fn a_time_that_cannot_be_read_is_refused() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    for bad in ["soon", "10", "-1s", ""] {
        let header = format!("X-Timeout: {bad}");
        let answer = server.client().request("POST", "/", &[&header], "a");
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{bad:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_call_whose_deadline_has_passed_is_not_run() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    for number in 0..20 {
        let question = format!("late {number}");
        let answer = server.client().request("POST", "/", &["X-Timeout: 1us"], &question);
        assert_eq!((answer.status, answer.code().as_str()), (504, "timeout"), "{answer:?}");
    }
    assert_eq!(server.answers("next").body, "next");
    assert_eq!(server.seen(), ["next"]);
}
