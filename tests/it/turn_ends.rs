//! What the end of a turn means for its call, for its worker and for the next in line.

use std::time::Duration;

use crate::support::{Plan, Server};

/// One worker that runs a script of the shell, whose calls run once.
fn serves(script: &str, keys: &str) -> Plan {
    let keys = format!("workers = 1\nretries = 0\n{keys}");
    Server::with(&keys).file("worker.sh", script).worker("sh worker.sh")
}

const TURN: &str = "framing = { send = \"line\", reply = \"turn\" }";

/// Nobody knows what else it would have written.
#[test]
fn a_worker_that_ends_has_answered_if_it_wrote_one_whole_message() {
    for (keys, script, answer) in [
        ("", "read l; echo whole", Some("whole")),
        ("", "read l; echo one; echo two", None),
        ("", "read l; echo whole; printf half", None),
        ("", "read l; printf half", None),
        (TURN, "read l; echo whole?", None),
    ] {
        let server = serves(script, keys).start();
        let got = server.answers("a");
        match answer {
            Some(answer) => assert_eq!((got.status, got.body.as_str()), (200, answer), "{script}"),
            None => assert_eq!((got.status, got.code().as_str()), (502, "worker_lost"), "{script}"),
        }
    }
}

#[test]
fn the_next_in_line_is_asked_as_soon_as_a_turn_ends() {
    let script = "while read l; do echo \"answer $l\"; done";
    let server = serves(script, "timeout = \"20s\"").start();
    let waiting: Vec<_> = (0..40).map(|_| server.client().post_later("/", "a")).collect();
    for caller in waiting {
        let answer = caller.answer();
        assert_eq!(answer.body, "answer a");
        assert!(answer.is_within(Duration::from_secs(4)), "{answer:?}");
    }
}

/// It may take the next question for the rest of this one.
#[test]
fn a_worker_that_waits_in_the_middle_of_its_answer_is_lost_with_it() {
    let script = "while read l; do echo part; done";
    let keys = "workers = 1\nretries = 1\nstream = \"until:END\"";
    let server = Server::with(keys).file("worker.sh", script).worker("sh worker.sh").start();
    let mut caller = server.client().connect();
    // It may run twice, but its caller has read a part already.
    caller.ask("GET", "/?input=a", &["Accept: text/event-stream"], "");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("data: part\n\n"));
    let event = caller.chunk().expect("the failure is told");
    assert!(event.contains("waits for its input in the middle of its answer"), "{event}");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"bad_answer\"}", 1.0);
}

/// The call ended when its caller was told: as what it was, whatever the probe shows.
#[test]
fn a_call_that_was_followed_by_the_probe_counts_as_its_caller_was_told() {
    let probe = "probe = { send = \"up\", reply = \"ok\" }";
    let script = "while read l; do case $l in silent) ;; *) echo ok;; esac; done";
    let server = serves(script, probe).start();
    assert_eq!(server.answers("silent").code(), "bad_answer");
    assert_eq!(server.answers("a").body, "ok");
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"bad_answer\"}"), 1.0);
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"ok\"}"), 1.0);
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

/// A probe without `reply` takes any answer, but not none.
#[test]
fn a_worker_that_does_not_answer_the_probe_gets_no_other_question() {
    let script = "read l; echo ok; while read l; do :; done";
    let server = serves(script, &format!("{TURN}\nprobe = {{ send = \"up\" }}")).start();
    assert_eq!(server.answers("a").body, "");
    server.wait_until("another has started", |server| {
        server.metric("httpipe_worker_starts_total") == 2.0
    });
}

/// A part of an answer is no silence, which the probe could end.
#[test]
fn a_worker_that_wrote_half_an_answer_is_not_asked_the_probe() {
    let script = "while read l; do case $l in up) echo ok;; *) printf half;; esac; done";
    let server = serves(script, "probe = { send = \"up\", reply = \"ok\" }").start();
    assert_eq!(server.answers("a").code(), "bad_answer");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"bad_answer\"}", 1.0);
}
