//! Stopping: accepted calls are answered, new ones are refused, and no process is left.

use std::time::Duration;

use crate::support::{Server, Stopwatch};

fn busy(server: &Server) -> bool {
    server.metric("httpipe_workers{state=\"busy\"}") == 1.0
}

#[test]
fn accepted_calls_are_answered_before_the_server_ends() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::with("workers = 1").start();
        let running = server.client().post_later("/", "sleep 300 running");
        server.wait_until("one runs", busy);
        let queued = server.client().post_later("/", "queued");
        server.wait_until("one waits", |s| s.metric("httpipe_queue_length") == 1.0);
        server.signal(signal);
        assert_eq!(running.answer().body, "sleep 300 running");
        assert_eq!(queued.answer().body, "queued");
        assert_eq!(server.exit_code(), 0);
        assert!(server.client().is_refused());
    }
}

#[test]
fn an_idle_server_ends_at_once() {
    let mut server = Server::with("workers = 2").start();
    let kept = server.client().connect();
    let started = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(started.took().is_below(Duration::from_secs(3)), "{:?}", started.took());
    kept.close();
}

#[test]
fn a_new_request_on_a_kept_connection_is_told_that_the_server_stops() {
    let mut server = Server::with("workers = 1").start();
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "before").body, "before");
    let running = server.client().post_later("/", "sleep 800 running");
    server.wait_until("one runs", busy);
    server.signal("TERM");
    server.wait_until("no more connections are taken", |s| s.client().is_refused());
    // An idle connection may also have been closed: no request is lost then.
    let refused = kept.try_post("/", "after");
    if let Some(refused) = refused {
        assert_eq!((refused.status, refused.code().as_str()), (503, "draining"));
        assert_eq!(refused.header("connection"), "close");
    }
    assert_eq!(running.answer().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn calls_left_when_drain_is_over_fail_as_draining() {
    let mut server =
        Server::with("workers = 1\nstop_grace = \"100ms\"").top("drain = \"300ms\"").start();
    let running = server.client().post_later("/", "hang");
    server.wait_until("one runs", busy);
    server.signal("TERM");
    let answer = running.answer();
    assert_eq!((answer.status, answer.code().as_str()), (503, "draining"));
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::with("workers = 1").start();
    let running = server.client().post_later("/", "hang");
    server.wait_until("one runs", busy);
    server.signal("TERM");
    server.wait_until("it stops", |s| s.client().is_refused());
    let started = Stopwatch::start();
    server.signal("TERM");
    server.exit_code();
    assert!(started.took().is_below(Duration::from_secs(4)), "{:?}", started.took());
    running.leave();
}

#[test]
fn it_can_be_stopped_while_its_workers_start() {
    let mut server = Server::with("workers = 1\nprobe = { send = \"1\" }\nstop_grace = \"50ms\"")
        .worker("demo-worker --slow-start 20s")
        .start_unready();
    let started = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    // If the workers ignored the order, the server would wait five seconds for them and then end,
    // which kills them.
    assert!(started.took().is_below(Duration::from_secs(4)), "{:?}", started.took());
    let log = server.log_lines();
    assert!(!log.iter().any(|line| line.contains("left behind")), "{log:?}");
}
