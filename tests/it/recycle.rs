//! Workers are replaced in time, and nobody notices.

use crate::support::Server;

#[test]
fn after_so_many_calls_a_worker_is_replaced_without_a_failure() {
    let server = Server::with("workers = 1\nrecycle = { calls = 5 }").start();
    let first = server.workers();
    for round in 0..40 {
        let text = format!("round {round}");
        assert_eq!(server.answers(&text).body, text);
    }
    server.wait_until("it was counted", |s| {
        s.metric("httpipe_worker_exits_total{reason=\"recycled\"}") >= 2.0
    });
    assert_eq!(server.metric("httpipe_worker_exits_total{reason=\"crash\"}"), 0.0);
    assert_ne!(server.workers(), first);
}

#[test]
fn a_worker_that_grows_is_replaced_without_a_failure() {
    let server = Server::with("workers = 1\nrecycle = { memory = \"60MiB\" }").start();
    for round in 0..8 {
        let text = format!("leak 16MiB {round}");
        assert_eq!(server.answers(&text).body, text);
    }
    server.wait_until("it was replaced", |s| {
        s.answers("hello").status == 200
            && s.metric("httpipe_worker_exits_total{reason=\"recycled\"}") >= 1.0
    });
}
