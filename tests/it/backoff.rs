//! Programs that cannot start cost neither the machine nor the server.

use std::time::Duration;

use crate::support::{Server, pause};

#[test]
fn a_program_that_dies_at_once_is_started_ever_more_rarely() {
    let server = Server::with("workers = 2").worker("demo-worker --exit-at-once 3").start_unready();
    server.wait_until("it was tried again", |s| s.metric("httpipe_worker_starts_total") >= 4.0);
    pause(Duration::from_millis(1500), "the starts within this time are counted");
    let starts = server.metric("httpipe_worker_starts_total");
    assert!(starts <= 14.0, "{starts} starts in about two seconds are a storm");
    assert!(server.workers().len() <= 2);
}

#[test]
fn meanwhile_callers_are_told_when_to_come_back_and_operators_why() {
    // The probe makes sure that no call is given to a worker that is about to end.
    let server = Server::with("workers = 1\nprobe = { send = \"1\" }")
        .worker("demo-worker --exit-at-once 3")
        .start_unready();
    server.wait_until("it was tried", |s| s.metric("httpipe_worker_exits_total") >= 1.0);
    let answer = server.answers("hello");
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_worker"));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(server.admin().get("/ready").status, 503);
    assert_eq!(server.admin().get("/live").status, 200);
    server.wait_for_log("told to exit at once");
    assert!(!answer.body.contains("told to exit"), "stderr is never shown to callers");
}

#[test]
fn a_program_that_was_mended_comes_back_by_itself() {
    let server = Server::with("workers = 1")
        .worker("sh program")
        .file("program", "if mkdir first 2>&-; then exit 1; fi; exec cat")
        .start();
    assert_eq!(server.answers("hello").body, "hello");
    assert!(server.metric("httpipe_worker_starts_total") >= 2.0);
}

/// The circuit breaker of a pool: calls are refused at once, and starts are tried now and then.
#[test]
fn a_pool_whose_starts_all_fail_refuses_at_once_says_why_and_comes_back() {
    let server = Server::with("workers = 2\nprobe = { send = \"1\" }\nqueue = { wait = \"5s\" }")
        .worker("sh program")
        .file("program", "if [ -e mended ]; then exec cat; fi; echo broken >&2; exit 7")
        .start_unready();
    server.wait_until("it was tried in vain", |s| s.answers("early").status == 503);
    let mut prompt = 0;
    for round in 0..20 {
        let answer = server.answers(&format!("hello {round}"));
        assert_eq!((answer.status, answer.code().as_str()), (503, "no_worker"));
        assert!(answer.is_within(Duration::from_secs(2)), "nobody waits in the queue: {answer:?}");
        prompt += u32::from(answer.is_within(Duration::from_millis(100)));
        assert!(answer.detail().contains("exit code 7"), "why: {answer:?}");
        assert!(!answer.body.contains("broken"), "stderr is never shown to callers");
        let retry_after: u32 = answer.header("retry-after").parse().expect("whole seconds");
        assert!((1..=38).contains(&retry_after), "{answer:?}");
    }
    assert!(prompt > 15, "at once: {prompt} of 20");
    assert_eq!(server.status()["pools"][0]["tripped"], true);
    let starts = server.metric("httpipe_worker_starts_total");
    server.wait_until("it is tried again", |s| s.metric("httpipe_worker_starts_total") > starts);
    server.wait_for_log("\"said\":\"broken\"");
    assert_eq!(server.admin().get("/ready").status, 503);

    server.put("mended");
    server.wait_until("it has come back", |s| s.answers("well").status == 200);
    server.wait_until("it is whole again", |s| {
        s.metric("httpipe_workers{state=\"ready\"}") == 2.0 && s.zombies() == 0
    });
    assert_eq!(server.answers("hello").body, "hello");
    assert_eq!(server.status()["pools"][0]["tripped"], false);
}
