//! What callers see when a worker dies, and what happens next.

use std::time::Duration;

use crate::support::Server;

/// A worker that dies takes only its own call with it: that caller is told so at once, callers
/// in the queue notice nothing, and a new worker starts.
#[test]
fn a_crash_fails_one_call_and_no_other() {
    let server = Server::with("workers = 1\nretries = 0")
        .worker("demo-worker --sleep 50ms --crash-on boom")
        .start();
    let client = server.client();

    let doomed = client.post_later("/", "boom");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let queued = client.post_later("/", "hello");

    let doomed = doomed.answer();
    assert_eq!(doomed.status, 502);
    assert_eq!(doomed.code(), "worker_lost");
    assert!(doomed.detail().contains("101"), "the exit code is in the detail: {doomed:?}");
    assert_eq!(queued.answer().body, "hello");

    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
    server.wait_until("a new worker is ready", |s| {
        s.metric("httpipe_workers{state=\"ready\"}") == 1.0
    });
}

#[test]
fn half_an_answer_is_never_an_answer() {
    let server = Server::with("workers = 1\nretries = 0").start();
    let answer = server.answers("crash-during abcdef");
    assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"));
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn an_answer_given_before_death_counts_and_the_dead_are_asked_nothing() {
    let server = Server::with("workers = 1\nretries = 1").start();
    for round in 0..200 {
        let last = format!("crash-after {round}");
        let answer = server.answers(&last);
        assert_eq!((answer.status, &answer.body), (200, &last), "{answer:?}");
        // Between its answer and its end it may be given another question. It never reads that
        // one, but this cannot be proven, so only a call that may run twice is sure to survive.
        let next = server.client().get(&format!("/?input=next+{round}"));
        assert_eq!((next.status, next.body), (200, format!("next {round}")));
    }
}

#[test]
fn a_signal_is_named_as_the_cause() {
    let server = Server::with("workers = 1\nretries = 0").start();
    let answer = server.answers("kill-self now");
    assert_eq!(answer.code(), "worker_lost");
    assert!(answer.detail().contains("signal 9"), "{answer:?}");
}

#[test]
fn a_worker_that_closes_its_stdout_is_as_good_as_dead() {
    let server = Server::with("workers = 1\nretries = 0\nstop_grace = \"100ms\"").start();
    let answer = server.answers("close-stdout now");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.is_within(Duration::from_secs(5)), "{answer:?}");
    assert_eq!(server.answers("next").body, "next");
}

/// A grandchild that holds the pipes must not hide the death of its parent.
#[test]
fn a_death_is_seen_although_a_grandchild_holds_the_pipes() {
    let server = Server::with("workers = 1\nretries = 0").start();
    let before = server.offspring().len();
    assert_eq!(server.answers("grandchild a").body, "grandchild a");
    let answer = server.answers("crash b");
    assert_eq!(answer.code(), "worker_lost");
    assert!(answer.is_within(Duration::from_secs(3)), "{answer:?}");
    server.wait_until("the grandchild went too", |s| s.offspring().len() == before);
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn deaths_leave_no_descriptor_and_no_zombie() {
    let server = Server::with("workers = 2\nretries = 0").start();
    assert_eq!(server.answers("warm").status, 200);
    let (workers, descriptors) = (server.workers().len(), server.descriptors());
    for round in 0..10 {
        assert_eq!(server.answers(&format!("good {round}")).status, 200);
        // Another question each time: the same one would soon be refused.
        assert_eq!(server.answers(&format!("crash {round}")).status, 502);
    }
    server.wait_until("all is as before", |s| {
        s.workers().len() == workers && s.zombies() == 0 && s.descriptors() <= descriptors + 2
    });
}

/// The worker gets two questions from the queue at once and is found to have ended before it reads
/// the first.
#[test]
fn questions_for_a_worker_that_has_ended_go_to_the_next() {
    let program = r#"
import os, sys, time
if os.path.exists("asked"):
    for line in sys.stdin:
        print(line, end="", flush=True)
lines = [sys.stdin.readline(), sys.stdin.readline()]
open("asked", "w").close()
while not os.path.exists("go"):
    time.sleep(0.003)
os.write(1, "".join(lines).encode())
"#;
    let server = Server::with("workers = 1\nretries = 0\nin_flight = 2\nreply = \"{input}\"")
        .worker("python3 twice.py")
        .file("twice.py", program)
        .start();
    let client = server.client();
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let caller = client.post_later("/", &number.to_string());
            server.wait_until("it is accepted", |s| {
                let pool = &s.status()["pools"][0];
                let waiting = pool["queue"]["length"].as_u64();
                let held = pool["workers"][0]["in_flight"].as_u64();
                waiting.zip(held).map(|(waiting, held)| waiting + held) == Some(number + 1)
            });
            caller
        })
        .collect();
    server.wait_until("it was asked", |s| s.has("asked"));
    server.signal("STOP");
    server.put("go");
    server.wait_until("it has ended", |s| s.zombies() == 1);
    server.signal("CONT");
    for (number, caller) in callers.into_iter().enumerate() {
        let answer = caller.answer();
        assert_eq!((answer.status, answer.body.trim()), (200, &*number.to_string()), "{answer:?}");
    }
}
