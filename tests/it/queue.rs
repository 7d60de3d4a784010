//! The queue, where calls wait, and its limits.

use std::time::Duration;

use crate::support::Server;

fn busy(server: &Server) -> bool {
    server.metric("httpipe_workers{state=\"busy\"}") == 1.0
}

#[test]
fn a_call_that_finds_the_queue_full_is_refused_at_once() {
    let server = Server::with("workers = 1\nqueue = { length = 1 }").start();
    let client = server.client();
    let running = client.post_later("/", "sleep 600 running");
    server.wait_until("one runs", busy);
    let queued = client.post_later("/", "queued");
    server.wait_until("one waits", |s| s.metric("httpipe_queue_length") == 1.0);

    let refused = client.post("/", "refused");
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_full"));
    let retry_after: u32 = refused.header("retry-after").parse().expect("whole seconds");
    assert!(retry_after >= 1);
    assert!(refused.is_within(Duration::from_millis(300)), "{refused:?}");

    assert_eq!(running.answer().body, "sleep 600 running");
    assert_eq!(queued.answer().body, "queued");
}

#[test]
fn without_a_queue_a_call_is_answered_or_refused_at_once() {
    let server = Server::with("workers = 1\nqueue = { length = 0 }").start();
    let client = server.client();
    assert_eq!(client.post("/", "first").body, "first");
    let running = client.post_later("/", "sleep 600 running");
    server.wait_until("one runs", busy);
    let refused = client.post("/", "refused");
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_full"));
    assert!(refused.is_within(Duration::from_millis(300)), "{refused:?}");
    assert_eq!(running.answer().body, "sleep 600 running");
    assert_eq!(client.post("/", "last").body, "last");
}

#[test]
fn a_call_that_waits_too_long_is_refused_and_never_asked() {
    let server = Server::with("workers = 1\nqueue = { wait = \"50ms\" }")
        .worker("demo-worker --journal seen")
        .start();
    let running = server.client().post_later("/", "sleep 600 running");
    server.wait_until("one runs", busy);
    let refused = server.client().post("/", "refused");
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_timeout"));
    assert!(!refused.header("retry-after").is_empty());
    assert!(refused.is_within(Duration::from_millis(400)), "{refused:?}");
    assert_eq!(running.answer().status, 200);
    assert_eq!(server.answers("next").body, "next");
    assert_eq!(server.seen(), ["sleep 600 running", "next"]);
}

#[test]
fn questions_that_wait_are_bounded_in_bytes_too() {
    let server = Server::with("workers = 1\nqueue = { bytes = \"1KiB\" }").start();
    let running = server.client().post_later("/", "sleep 600 running");
    server.wait_until("one runs", busy);
    let refused = server.client().post("/", &"x".repeat(2048));
    assert_eq!(refused.code(), "queue_full");
    assert_eq!(running.answer().status, 200);
}

#[test]
fn calls_are_answered_oldest_first() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    let mut waiting = vec![server.client().post_later("/", "sleep 300 0")];
    server.wait_until("one runs", busy);
    for number in 1..=5 {
        waiting.push(server.client().post_later("/", &number.to_string()));
        server.wait_until("it waits", |s| s.metric("httpipe_queue_length") == f64::from(number));
    }
    for caller in waiting {
        assert_eq!(caller.answer().status, 200);
    }
    assert_eq!(server.seen(), ["sleep 300 0", "1", "2", "3", "4", "5"]);
}
