//! The fibonacci service for which httpipe was first made, used as in the README.

use std::time::Duration;

use crate::support::Server;

fn fib() -> Server {
    Server::args(&["examples/fib/httpipe.toml"]).in_project().start()
}

#[test]
fn it_answers_ten_with_fifty_five() {
    let server = fib();
    let answer = server.client().get("/fib?num=10");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body.trim_end(), r#"{"result":"55"}"#);
    assert_eq!(answer.header("content-type"), "application/json");
}

#[test]
fn the_root_says_ok() {
    let answer = fib().client().get("/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "Ok"));
}

#[test]
fn without_a_number_it_says_what_to_include() {
    let answer = fib().client().get("/fib");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.code(), "bad_parameter");
    assert_eq!(answer.detail(), "include a number with /fib?num=x");
    assert_eq!(answer.json()["parameter"], "num");
}

#[test]
fn a_wrong_number_is_refused_by_name_and_never_reaches_the_program() {
    let server = fib();
    for bad in ["ten", "-1", "1%0A2", "1%0D2", "1%00", "1%7C2", "+10", "%2B10", "1_0", "1.5", ""] {
        let answer = server.client().get(&format!("/fib?num={bad}"));
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert_eq!(answer.json()["parameter"], "num", "{bad}: {answer:?}");
    }
    assert_eq!(server.metric("httpipe_calls_total"), 0.0);
    assert_eq!(server.client().get("/fib?num=10").json()["result"], "55");
}

#[test]
fn a_number_that_would_never_end_is_refused() {
    let answer = fib().client().get("/fib?num=4000000000000000000000");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["parameter"], "num");
}

/// The first version of this service, a single process, failed this: one long question made all
/// others wait.
#[test]
fn a_short_question_does_not_wait_for_a_long_one() {
    let server = fib();
    server.wait_until("two are ready", |s| s.metric("httpipe_workers{state=\"ready\"}") >= 2.0);
    let long = server.client().get_later("/fib?num=45");
    server.wait_until("the long one runs", |s| s.metric("httpipe_workers{state=\"busy\"}") >= 1.0);
    let short = server.client().get("/fib?num=10");
    assert_eq!(short.json()["result"], "55");
    assert!(short.is_within(Duration::from_millis(500)), "{short:?}");
    long.leave();
}

#[test]
fn many_callers_with_one_question_cost_one_run() {
    let server = fib();
    let client = server.client();
    let waiting: Vec<_> = (0..20).map(|_| client.get_later("/fib?num=29")).collect();
    for caller in waiting {
        assert_eq!(caller.answer().json()["result"], "514229");
    }
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"ok\"}"), 1.0);
}

#[test]
fn a_repeated_question_is_not_run_again() {
    let server = fib();
    let client = server.client();
    let first = client.get("/fib?num=12");
    let second = client.get("/fib?num=012");
    assert!(first.header("cache-status").contains("fwd=miss"), "{first:?}");
    assert!(second.header("cache-status").contains("hit"), "{second:?}");
    assert_eq!(first.body, second.body);
}
