//! A late answer never reaches another call.

use crate::support::Server;

#[test]
fn an_answer_that_comes_after_its_timeout_reaches_no_other_call() {
    // On a busy machine the timer itself may be late, but not by a second.
    let server = Server::with("workers = 1\ntimeout = \"500ms\"\nstop_grace = \"2s\"")
        .worker("demo-worker --ignore-term --ignore-eof")
        .start();
    for round in 0..5 {
        let late = server.answers(&format!("sleep 1500 late {round}"));
        assert_eq!(late.code(), "timeout");
        let next = server.answers(&format!("next {round}"));
        assert_eq!((next.status, next.body), (200, format!("next {round}")));
    }
}

#[test]
fn an_answer_whose_caller_left_reaches_no_other_call() {
    let server = Server::with("workers = 1").start();
    let worker = server.workers();
    for round in 0..20 {
        server.client().post_later("/", &format!("sleep 20 left {round}")).leave();
        let next = server.answers(&format!("next {round}"));
        assert_eq!((next.status, next.body), (200, format!("next {round}")));
    }
    assert_eq!(server.workers(), worker, "callers who leave cost no worker");
}
