//! Callers who share one run, and leave it: the run ends early only when the last one has left.

use std::time::Duration;

use crate::support::{Pending, Plan, Server, pause};

const ABANDONED: &str = "httpipe_calls_total{outcome=\"abandoned\"}";

/// A plan with one worker, which is ended 100 ms after its call was abandoned.
fn shared() -> Plan {
    Server::with("workers = 1\nretries = 0\nabandoned = \"100ms\"\nstop_grace = \"50ms\"")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
}

fn is_busy(server: &Server) -> bool {
    server.metric("httpipe_workers{state=\"busy\"}") == 1.0
}

fn leader(server: &Server, target: &str, headers: &[&str]) -> Pending {
    let leader = server.client().later("GET", target, headers, "");
    server.wait_until("the run has begun", is_busy);
    leader
}

fn follower(server: &Server, target: &str) -> Pending {
    let follower = server.client().get_later(target);
    pause(Duration::from_millis(200), "nothing shows from outside that the follower has joined");
    follower
}

#[test]
fn a_run_whose_only_caller_left_is_abandoned() {
    let server = shared().start();
    leader(&server, "/?input=hang", &[]).leave();
    server.wait_until("the run is abandoned", |s| s.metric(ABANDONED) == 1.0);
    assert_eq!(server.client().get("/?input=next").body, "next");
}

#[test]
fn a_run_is_abandoned_when_the_caller_that_followed_leaves_last() {
    let server = shared().start();
    let old = server.workers();
    let leader = leader(&server, "/?input=hang", &[]);
    let follower = follower(&server, "/?input=hang");
    leader.leave();
    pause(Duration::from_millis(300), "a run that goes on shows nothing");
    assert!(server.is_alive(old[0]), "the follower still waits");
    follower.leave();
    server.wait_until("the run is abandoned", |s| s.metric(ABANDONED) == 1.0);
    assert_eq!(server.seen(), ["hang"]);
}

#[test]
fn the_deadline_of_the_caller_that_began_a_run_is_not_that_of_others() {
    let server = shared().start();
    let leader = leader(&server, "/?input=sleep+900+a", &["X-Timeout: 400ms"]);
    let follower = follower(&server, "/?input=sleep+900+a");
    assert_eq!(leader.answer().code(), "timeout");
    let answer = follower.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "sleep 900 a"), "{answer:?}");
    assert_eq!(server.seen().len(), 1);
}

/// An answer that its program says is for one caller is not for a caller that followed, whose
/// question then waits for a run of its own.
#[test]
fn a_caller_that_followed_in_vain_keeps_its_deadline() {
    let server = Server::with("workers = 1\nretries = 0\nreply = \"http\"")
        .worker("demo-worker --sleep 1000 --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let target = "/?input=%7B%22body%22:%22a%22,%22headers%22:%7B%22Vary%22:%22a%22%7D%7D";
    let leader = leader(&server, target, &[]);
    let hangs = server.client().get_later("/?input=hang");
    server.wait_until("it waits", |s| s.metric("httpipe_queue_length") == 1.0);
    let follower = server.client().later("GET", target, &["X-Timeout: 2s"], "");
    assert_eq!(leader.answer().status, 200);
    assert_eq!(follower.answer().code(), "timeout");
    assert_eq!(server.seen().len(), 2, "the leader's question, and the one that hangs");
    hangs.leave();
}

/// Connections are spread over the threads, and the pools live on one of them.
#[test]
fn callers_who_leave_are_noticed_on_every_thread() {
    let server = Server::with("workers = 8\nabandoned = \"100ms\"\nstop_grace = \"50ms\"")
        .top("threads = 4")
        .start();
    let callers: Vec<_> = (0..8).map(|_| server.client().post_later("/", "hang")).collect();
    server.wait_until("all run", |s| s.metric("httpipe_workers{state=\"busy\"}") == 8.0);
    callers.into_iter().for_each(Pending::leave);
    server.wait_until("all are abandoned", |s| s.metric(ABANDONED) == 8.0);
}
