//! Programs that do not start as they should, beside a pool that works: what the callers of both
//! see, what operators see, and that the server does not grow.

use std::time::Duration;

use crate::support::{Server, pause};

/// A way of not starting.
struct BadStart {
    /// The flags of the demo worker, as TOML.
    flags: &'static str,
    /// The codes that callers may see.
    sees: &'static [&'static str],
    /// The reason its exits are counted under.
    exit: &'static str,
    /// What the log says.
    log: &'static str,
}

const TWO: &str = r#"
[pool.good]
command = ["$httpipe", "demo-worker"]
workers = 1

[pool.bad]
command = ["$httpipe", "demo-worker", FLAGS]
workers = 2
probe = { send = "1", reply = "1" }
start_timeout = "200ms"
stop_grace = "50ms"
queue = { wait = "400ms" }

[[route]]
match = "POST /good"
pool = "good"

[[route]]
match = "POST /bad"
pool = "bad"
"#;

fn does_not_start(bad: &BadStart) {
    let server = Server::config(&TWO.replace("FLAGS", bad.flags)).start_unready();
    let exits = format!("httpipe_worker_exits_total{{pool=\"bad\",reason=\"{}\"}}", bad.exit);
    server.wait_until("the bad pool was tried", |s| s.metric(&exits) >= 2.0);
    let (descriptors, memory) = (server.descriptors(), server.memory());
    let mut prompt = 0;
    for round in 0..8 {
        let answer = server.client().post("/bad", &format!("hello {round}"));
        assert!(bad.sees.contains(&answer.code().as_str()), "{}: {answer:?}", bad.flags);
        assert!(answer.is_within(Duration::from_secs(2)), "{}: {answer:?}", bad.flags);
        assert!(!answer.body.contains("Welcome"), "{}: {answer:?}", bad.flags);
        if answer.status == 503 {
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        }
        let other = server.client().post("/good", &format!("other {round}"));
        assert_eq!((other.status, &other.body), (200, &format!("other {round}")));
        assert!(other.is_within(Duration::from_secs(2)), "others notice nothing: {:?}", other.took);
        prompt += usize::from(other.is_within(Duration::from_millis(200)));
        pause(Duration::from_millis(50), "questions come while the program is tried again");
    }
    assert!(prompt >= 6, "others notice nothing: {prompt} of 8");
    server.wait_for_log(bad.log);
    assert_eq!(server.admin().get("/ready").status, 503);
    assert_eq!(server.admin().get("/live").status, 200);
    let starts = server.metric("httpipe_worker_starts_total{pool=\"bad\"}");
    assert!(starts <= 14.0, "{starts} starts are a storm");
    assert_eq!(server.metric("httpipe_worker_exits_total{pool=\"good\"}"), 0.0);
    // Two that may be starting now have three pipes each, and a descriptor of the process.
    server.wait_until("nothing piles up", |s| {
        s.descriptors() <= descriptors + 8 && s.zombies() == 0 && s.workers().len() <= 3
    });
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn programs_that_end_at_once() {
    does_not_start(&BadStart {
        flags: r#""--exit-at-once", "3""#,
        sees: &["no_worker", "queue_timeout"],
        exit: "start_failed",
        log: "exit code 3",
    });
}

#[test]
fn programs_that_never_read() {
    does_not_start(&BadStart {
        flags: r#""--never-reads""#,
        sees: &["no_worker", "queue_timeout"],
        exit: "start_failed",
        log: "it was not ready within `start_timeout`",
    });
}

#[test]
fn programs_that_are_too_slow_to_start() {
    does_not_start(&BadStart {
        flags: r#""--slow-start", "5s""#,
        sees: &["no_worker", "queue_timeout"],
        exit: "start_failed",
        log: "it was not ready within `start_timeout`",
    });
}

#[test]
fn programs_that_answer_the_probe_with_something_else() {
    does_not_start(&BadStart {
        flags: r#""--pair""#,
        sees: &["no_worker", "queue_timeout"],
        exit: "start_failed",
        log: "the probe was answered with",
    });
}

#[test]
fn programs_that_cannot_be_stopped_either() {
    does_not_start(&BadStart {
        flags: r#""--ignore-term", "--ignore-eof", "--never-reads""#,
        sees: &["no_worker", "queue_timeout"],
        exit: "start_failed",
        log: "\"exit\":\"signal 9\"",
    });
}
