//! Workers come with the load.

use crate::support::Server;

#[test]
fn workers_are_added_while_calls_wait_and_never_above_the_most() {
    let server = Server::with("workers = \"1..4\"").start();
    assert_eq!(server.workers().len(), 1);
    let client = server.client();
    let callers: Vec<_> =
        (0..8).map(|number| client.post_later("/", &format!("sleep 400 {number}"))).collect();
    server.wait_until("there are four", |s| {
        assert!(s.workers().len() <= 4);
        s.workers().len() == 4
    });
    for (number, caller) in callers.into_iter().enumerate() {
        assert_eq!(caller.answer().body, format!("sleep 400 {number}"));
    }
}

/// A spare worker starts when the last free one is taken, so that the next call need not wait.
#[test]
fn a_spare_is_started_before_anybody_waits() {
    let server = Server::with("workers = \"1..4\"").start();
    let running = server.client().post_later("/", "sleep 1500 a");
    server.wait_until("there is a spare", |s| s.workers().len() == 2);
    assert_eq!(server.answers("short").body, "short");
    running.leave();
}

#[test]
fn a_fixed_number_stays_fixed() {
    let server = Server::with("workers = 2").start();
    let callers: Vec<_> = (0..6).map(|_| server.client().post_later("/", "sleep 100 a")).collect();
    for caller in callers {
        assert_eq!(caller.answer().status, 200);
        assert_eq!(server.workers().len(), 2);
    }
    assert_eq!(server.metric("httpipe_worker_starts_total"), 2.0);
}
