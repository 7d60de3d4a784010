//! Answers that are the program's own errors, and output that is no answer.

use crate::support::Server;

const PAIR: &str = "workers = 1\nretries = 0\nreply = \"{input}|{result}\"\n\
                    error = \"e|{input}|{message}\"";

#[test]
fn an_answer_of_the_error_shape_is_the_programs_own_error() {
    let server = Server::with(PAIR).worker("demo-worker --pair").start();
    let answer = server.answers("error abc");
    assert_eq!((answer.status, answer.code().as_str()), (422, "program_error"));
    assert_eq!(answer.detail(), "it cannot be done");
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn the_status_of_the_programs_own_errors_is_the_operators_choice() {
    let keys = format!("{PAIR}\nerror_status = 409");
    let server = Server::with(&keys).worker("demo-worker --pair").start();
    assert_eq!(server.answers("error abc").status, 409);
}

#[test]
fn the_answer_to_another_question_reaches_no_call() {
    let server = Server::with(PAIR).worker("demo-worker --pair").start();
    let answer = server.answers("wrong abc");
    assert_eq!(answer.status, 502, "{answer:?}");
    server.wait_until("the worker was replaced", |s| s.metric("httpipe_worker_exits_total") == 1.0);
    assert_eq!(server.answers("fine").json()["result"], "fine");
}

#[test]
fn a_result_that_is_no_text_is_a_bad_answer_and_the_worker_stays() {
    let server = Server::with(PAIR).worker("demo-worker --pair").start();
    let worker = server.workers();
    let answer = server.answers("invalid-utf8 abc");
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"));
    assert_eq!(server.answers("fine").json()["result"], "fine");
    assert_eq!(server.workers(), worker);
}

#[test]
fn garbage_is_never_passed_on_where_a_shape_was_agreed() {
    let server = Server::with(PAIR).worker("demo-worker --pair").start();
    let answer = server.answers("garbage abc");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(!answer.body.contains("garbage abc\\u0001"), "{answer:?}");
    assert_eq!(server.answers("fine").json()["result"], "fine");
}

#[test]
fn an_empty_answer_is_an_answer() {
    let server = Server::with("workers = 1").start();
    let answer = server.answers("empty");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}
