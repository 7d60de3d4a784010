//! Workers are replaced after calls, age or memory, without a failed call or a wait.

use std::time::Duration;

use crate::support::{Server, Stopwatch, pause};

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

/// How long a new worker needs until it is ready.
const START: Duration = Duration::from_millis(700);

/// Asks this question often until that many workers were replaced. All calls must be answered
/// without waiting for a start: the old worker serves until the new one is ready.
fn replaced_under_load(recycle: &str, question: &str, times: f64) {
    let server = Server::with(&format!(
        "workers = 1\nretries = 0\nprobe = {{ send = \"1\" }}\nrecycle = {{ {recycle} }}"
    ))
    .worker("demo-worker --slow-start 700ms")
    .start();
    let (descriptors, began) = (server.descriptors(), Stopwatch::start());
    let replaced = || server.metric("httpipe_worker_exits_total{reason=\"recycled\"}");
    let mut caller = server.client().connect();
    for round in 0.. {
        if round % 10 == 0 && replaced() >= times {
            break;
        }
        let text = format!("{question} {round}");
        let answer = caller.post("/", &text);
        assert_eq!((answer.status, answer.body.as_str()), (200, text.as_str()), "{answer:?}");
        assert!(answer.is_within(START / 2), "as if there was no worker: {answer:?}");
        assert!(began.took().is_below(Duration::from_secs(20)), "{} were replaced", replaced());
        pause(Duration::from_millis(5), "a caller asks often, and not without end");
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), replaced(), "no other reason");
    server.wait_until("nothing is left", |s| {
        s.workers().len() == 1 && s.zombies() == 0 && s.descriptors() <= descriptors + 1
    });
}

#[test]
fn nobody_waits_while_a_worker_is_replaced_for_its_calls() {
    replaced_under_load("calls = 60", "a", 2.0);
}

#[test]
fn nobody_waits_while_a_worker_is_replaced_for_its_age() {
    replaced_under_load("age = \"1s\"", "a", 2.0);
}

#[test]
fn nobody_waits_while_a_worker_is_replaced_for_its_memory() {
    replaced_under_load("memory = \"60MiB\"", "leak 1MiB", 2.0);
}
