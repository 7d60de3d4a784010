//! Workers that write too much are ended before the server's memory is.

use crate::support::{Server, whole_machine};

const KEYS: &str = "workers = 1\nretries = 0\nmessage_max = \"1MiB\"\nstop_grace = \"100ms\"";

fn is_bounded(question: &str) {
    let server = Server::with(KEYS).start();
    assert_eq!(server.answers("warm").status, 200);
    let before = server.memory();
    let answer = server.answers(question);
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{answer:?}");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    server.wait_until("it was counted", |s| {
        s.metric("httpipe_worker_exits_total{reason=\"too_big\"}") == 1.0
    });
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn a_line_without_end_is_cut_off() {
    is_bounded("endless");
}

#[test]
fn a_line_of_a_gibibyte_is_cut_off() {
    let _alone = whole_machine();
    is_bounded("huge 1GiB");
}

#[test]
fn a_question_above_the_limit_is_refused_before_a_worker_sees_it() {
    let server = Server::with(KEYS).worker("demo-worker --journal seen").start();
    let answer = server.answers(&"x".repeat((1 << 20) + 1));
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert!(server.seen().is_empty());
}

#[test]
fn a_long_question_and_its_long_answer_pass_each_other() {
    let server = Server::with("workers = 1").start();
    let text = "abcdefgh".repeat(1 << 18);
    let answer = server.answers(&text);
    assert_eq!(answer.status, 200);
    assert!(answer.body == text, "{} bytes came back of {}", answer.body.len(), text.len());
}
