//! A question that costs one worker after the other is refused for a while, and no other question.

use std::time::Duration;

use crate::support::{Server, pause};

/// Asks a harmless question. A worker that has answered well is replaced without back-off.
fn answers_well(server: &Server, text: &str) {
    let answer = server.answers(text);
    assert_eq!((answer.status, answer.body.as_str()), (200, text), "{answer:?}");
}

fn costs_a_worker(server: &Server, text: &str, code: &str) {
    answers_well(server, "well");
    assert_eq!(server.answers(text).code(), code);
}

fn poisonous(server: &Server) -> serde_json::Value {
    server.status()["pools"][0]["poisonous"].clone()
}

fn forgive(server: &Server) -> serde_json::Value {
    let answer = server.admin().request("DELETE", "/poisonous", &["Httpipe-Admin: 1"], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["forgiven"].clone()
}

#[test]
fn a_question_that_crashed_two_workers_is_refused_until_it_is_forgiven() {
    let server =
        Server::with("workers = 1\nretries = 0").worker("demo-worker --journal seen").start();
    costs_a_worker(&server, "crash one", "worker_lost");
    costs_a_worker(&server, "crash two", "worker_lost");
    assert_eq!(poisonous(&server)["count"], 0, "these are two questions");

    costs_a_worker(&server, "crash one", "worker_lost");
    answers_well(&server, "well");
    for _ in 0..3 {
        let refused = server.answers("crash one");
        assert_eq!((refused.status, refused.code().as_str()), (422, "poisonous"));
        assert!(refused.is_within(Duration::from_millis(300)), "{refused:?}");
    }
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"poisonous\"}"), 3.0);
    answers_well(&server, "well");

    let shown = poisonous(&server);
    assert_eq!(shown["count"], 1, "{shown}");
    assert_eq!(shown["fingerprints"].as_array().expect("a list").len(), 1, "{shown}");
    assert!(!server.status().to_string().contains("crash one"), "{}", server.status());
    let is_logged =
        |s: &Server| s.log_lines().iter().any(|line| line.contains("refused for a while"));
    server.wait_until("the operator is told", is_logged);
    let log = server.log_lines();
    assert!(!log.iter().any(|line| line.contains("crash one")), "{log:#?}");

    assert_eq!(forgive(&server), 1);
    assert_eq!(poisonous(&server)["count"], 0);
    costs_a_worker(&server, "crash one", "worker_lost");
    assert_eq!(server.seen().iter().filter(|line| *line == "crash one").count(), 3);
}

#[test]
fn a_call_and_its_retries_count_once() {
    let server = Server::with("workers = 1\nretries = 2").start();
    answers_well(&server, "well");
    assert_eq!(server.client().get("/?input=crash").code(), "worker_lost");
    assert_eq!(poisonous(&server)["count"], 0);
}

#[test]
fn a_question_that_hangs_is_refused_too() {
    let server =
        Server::with("workers = 1\nretries = 0\ntimeout = \"1s\"\nstop_grace = \"50ms\"").start();
    costs_a_worker(&server, "hang", "timeout");
    costs_a_worker(&server, "hang", "timeout");
    assert_eq!(server.answers("hang").code(), "poisonous");
    answers_well(&server, "well");
}

#[test]
fn a_question_answered_out_of_step_is_refused_too() {
    let server = Server::with("workers = 1\nretries = 0").start();
    for _ in 0..2 {
        answers_well(&server, "well");
        assert_eq!(server.answers("silent a").code(), "bad_answer");
    }
    assert_eq!(server.answers("silent a").code(), "poisonous");
    answers_well(&server, "well");
}

#[test]
fn callers_who_share_a_run_count_as_one_call() {
    let server = Server::with("workers = 1\nretries = 0")
        .worker("demo-worker --sleep 100ms --crash-on boom")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let client = server.client();
    let callers: Vec<_> = (0..5).map(|_| client.get_later("/?input=boom")).collect();
    for caller in callers {
        assert_eq!(caller.answer().code(), "worker_lost");
    }
    assert_eq!(poisonous(&server)["count"], 0);
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
}

/// A thousand callers of the same deadly question cost a pool a few workers, not a thousand.
#[test]
fn a_flood_of_one_poisonous_question_does_not_empty_the_pool() {
    let server = Server::with("workers = 4\nretries = 1").start();
    answers_well(&server, "well");
    let client = server.client();
    let mut codes = Vec::new();
    for _ in 0..10 {
        let callers: Vec<_> = (0..100).map(|_| client.get_later("/?input=crash")).collect();
        codes.extend(callers.into_iter().map(|caller| caller.answer().code()));
    }
    let count = |code: &str| codes.iter().filter(|other| *other == code).count();
    assert!(count("poisonous") >= 980, "{codes:?}");
    let lost = server.metric("httpipe_worker_exits_total{reason=\"crash\"}");
    assert!(lost <= 12.0, "{lost} workers");
    server.wait_until("the pool is whole again", |s| {
        s.metric("httpipe_workers{state=\"ready\"}") == 4.0
    });
    answers_well(&server, "well");
}

#[test]
fn a_question_whose_nonce_changes_is_one_question() {
    let server = Server::with(
        "workers = 1\nretries = 0\nframing = { send = \"line\", reply = \"until:{nonce}\\n\" }",
    )
    .worker("sh -c 'while read -r a; do case $a in *boom*) exit 1;; *) echo \"$a\";; esac; done'")
    .route("match = \"POST /\"\nsend = \"{body} {nonce}\"")
    .start();
    for _ in 0..2 {
        assert_eq!(server.answers("fine").status, 200);
        assert_eq!(server.answers("boom").code(), "worker_lost");
        pause(Duration::from_millis(1), "a nonce holds the time");
    }
    assert_eq!(server.answers("boom").code(), "poisonous");
}
