//! Callers who leave: a call that waits is dropped, a call that runs may go on for a while.

use crate::support::Server;

fn busy(server: &Server) -> bool {
    server.metric("httpipe_workers{state=\"busy\"}") == 1.0
}

#[test]
fn a_call_whose_caller_leaves_the_queue_is_never_run() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    let running = server.client().post_later("/", "sleep 400 running");
    server.wait_until("one runs", busy);
    let leaving = server.client().post_later("/", "gone");
    server.wait_until("one waits", |s| s.metric("httpipe_queue_length") == 1.0);
    leaving.leave();
    server.wait_until("nobody waits", |s| s.metric("httpipe_queue_length") == 0.0);
    assert_eq!(running.answer().status, 200);
    assert_eq!(server.answers("next").body, "next");
    assert_eq!(server.seen(), ["sleep 400 running", "next"]);
}

#[test]
fn a_call_without_a_caller_is_ended_after_abandoned() {
    let server = Server::with("workers = 1\nabandoned = \"100ms\"\nstop_grace = \"50ms\"").start();
    let old = server.workers();
    let leaving = server.client().post_later("/", "hang");
    server.wait_until("it runs", busy);
    leaving.leave();
    server.wait_until("its worker has gone", |s| !s.is_alive(old[0]));
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"abandoned\"}"), 1.0);
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn an_abandoned_answer_of_a_cached_route_is_kept() {
    let server = Server::with("workers = 1")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let leaving = server.client().get_later("/?input=sleep+100+a");
    server.wait_until("it runs", busy);
    leaving.leave();
    server.wait_until("it is through", |s| !busy(s));
    let answer = server.client().get("/?input=sleep+100+a");
    assert!(answer.header("cache-status").contains("hit"), "{answer:?}");
    assert_eq!(server.seen().len(), 1);
}
