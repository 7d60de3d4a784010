//! A lost call is tried again only where running it twice does no harm.

use crate::support::Server;

#[test]
fn an_idempotent_call_survives_the_loss_of_its_worker() {
    let server =
        Server::with("workers = 1\nretries = 1").worker("demo-worker --once first --crash").start();
    let answer = server.client().get("/?input=hello");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "{answer:?}");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
}

#[test]
fn another_call_is_never_run_twice() {
    let server = Server::with("workers = 1\nretries = 5")
        .worker("demo-worker --once first --crash --journal seen")
        .start();
    assert_eq!(server.client().post("/", "hello").code(), "worker_lost");
    assert_eq!(server.seen(), ["hello"]);
}

#[test]
fn a_question_that_kills_every_worker_is_tried_as_often_as_retries_allows() {
    let server =
        Server::with("workers = 2\nretries = 2").worker("demo-worker --journal seen").start();
    assert_eq!(server.answers("good").status, 200);
    let answer = server.client().get("/?input=crash");
    assert!(answer.status >= 422, "{answer:?}");
    assert!((2..=3).contains(&server.seen().iter().filter(|line| *line == "crash").count()));
}

#[test]
fn a_timeout_is_not_tried_again() {
    let server =
        Server::with("workers = 1\nretries = 3\ntimeout = \"100ms\"\nstop_grace = \"50ms\"")
            .worker("demo-worker --journal seen")
            .start();
    assert_eq!(server.client().get("/?input=hang").code(), "timeout");
    assert_eq!(server.seen(), ["hang"]);
}

/// The leader of the group is killed and the group with it. The process that reads the questions
/// has left the group and goes on reading.
#[test]
fn a_question_that_an_escaped_reader_may_still_read_is_not_run_again() {
    let script = "trap '' PIPE; while read -r q; do echo $q >> seen; \
                  if [ $q = hold ]; then while [ ! -e go ]; do sleep 0.02; done; fi; \
                  echo \"$q|done\"; done";
    let server = Server::with("workers = 1\nin_flight = 2\nreply = \"{input}|{result}\"")
        .file("reads.sh", script)
        .worker("setsid --wait sh reads.sh")
        .start();
    let held = server.client().post_later("/", "hold");
    server.wait_until("the first is read", |s| s.seen() == ["hold"]);
    let waiting = server.client().post_later("/", "second");
    server.wait_until("both are with the worker", |s| {
        s.status()["pools"][0]["workers"][0]["in_flight"] == 2
    });
    let leader = server.workers()[0];
    server.signal_worker(leader, "KILL");
    assert_eq!(held.answer().code(), "worker_lost");
    assert_eq!(waiting.answer().code(), "worker_lost");
    server.write("go", "");
    server.wait_until("it is read after all", |s| s.seen().contains(&"second".to_owned()));
    assert_eq!(server.seen().iter().filter(|line| *line == "second").count(), 1);
}
