//! A program that does not answer is looked at, and what it does is told: to its caller with the
//! timeout, to operators in the log, the metrics and the status. Calls that are answered soon are
//! never looked at.

use serde_json::{Value, json};

use crate::support::{Plan, Server};

/// Answers `fast` at once. What follows is done with every other question.
const FAST: &str = "import os, sys, time\n\
                    for line in sys.stdin:\n    \
                    line = line.strip()\n    \
                    if line == 'fast':\n        print('fast|done', flush=True)\n        continue\n    ";

/// A program whose answers prove their questions, so it takes no turns, and does this at a question.
fn doing(act: &str) -> Plan {
    let keys = "workers = 1\nreply = \"{input}|{result}\"\ntimeout = \"8s\"\nretries = 0\n\
                env = { PYTHONUNBUFFERED = \"\" }";
    Server::with(keys)
        .worker("python3 worker.py --key secret")
        .file("worker.py", &format!("{FAST}{act}\n"))
}

/// What operators and the caller are told of a worker.
struct Told {
    verdict: &'static str,
    caller: &'static str,
    fix: Option<&'static str>,
}

#[track_caller]
fn is_told(plan: Plan, told: &Told) {
    let Told { verdict, caller, fix } = told;
    let server = plan.start();
    assert!(server.answers("fast").body.contains("done"));
    let question = server.client().post_later("/", "a");
    server.wait_for_count(&format!("httpipe_diagnoses_total{{verdict=\"{verdict}\"}}"), 1.0);
    let status = server.status();
    assert_eq!(status["pools"][0]["workers"][0]["verdict"], *verdict);
    let notices = status["notices"].as_array().expect("a list");
    let is_ours = |notice: &&Value| notice["code"] == *verdict;
    let notice = notices.iter().find(is_ours);
    if *verdict == "works" {
        assert_eq!(notice, None, "work is no news");
    } else {
        let notice = notice.expect("a notice");
        assert_eq!((&notice["worker"], &notice["pool"]), (&json!(1), &json!("main")));
        assert_eq!(notice["fix"].as_str(), *fix, "{notice}");
        let line: Value =
            serde_json::from_str(&server.wait_for_log("a call runs long")).expect("JSON");
        assert_eq!((&line["verdict"], line["hint"].as_str()), (&json!(verdict), *fix), "{line}");
        let whole = format!("{notice} {line}");
        assert!(!whole.contains("secret"), "arguments may be secrets: {whole}");
    }
    let answer = question.answer();
    assert_eq!((answer.status, answer.code().as_str()), (504, "timeout"));
    let detail = format!("the program did not answer within 8s: {caller}");
    assert_eq!(answer.detail(), detail);
    server.wait_until("it is kept as a slow call", |server| {
        server.status()["pools"][0]["slow"][0]["verdict"] == *verdict
    });
}

#[test]
fn a_program_that_holds_its_output_back_is_told_with_the_remedy() {
    is_told(
        doing("print(line + '|done')"),
        &Told {
            verdict: "holds_output",
            caller: "it had read the question, used no CPU and wrote nothing, as programs do that \
                     hold their output back",
            fix: Some("command = [\"python3\", \"-u\", …]"),
        },
    );
}

#[test]
fn a_program_that_writes_half_an_answer_is_told() {
    let caller = "it had written a part of its answer, and then no more";
    let act = "print(line + '|do', end='', flush=True)";
    is_told(doing(act), &Told { verdict: "half_answer", caller, fix: None });
}

#[test]
fn a_program_that_stops_reading_is_told() {
    let act = "print(line + '|done', flush=True)";
    let script = format!("{FAST}{act}\n").replace("continue", "time.sleep(1000)");
    let plan = doing(act).file("worker.py", &script);
    is_told(
        plan,
        &Told { verdict: "not_reading", caller: "it had not read the question", fix: None },
    );
}

#[test]
fn a_program_that_waits_for_something_else_is_told() {
    let caller = "it had read the question, used no CPU and wrote nothing";
    is_told(doing("time.sleep(1000)"), &Told { verdict: "silent", caller, fix: None });
}

#[test]
fn a_program_that_computes_is_seen_to_work_and_is_no_news() {
    let caller = "it was still at work";
    is_told(doing("while True: pass"), &Told { verdict: "works", caller, fix: None });
}

#[test]
fn a_program_of_one_question_that_does_not_end_is_told() {
    let act = "import sys, time\nsys.stdin.read()\nprint('x', flush=True)\ntime.sleep(1000)\n";
    let server = Server::with("workers = 1\nframing = \"eof\"\ntimeout = \"8s\"\nretries = 0")
        .worker("python3 worker.py")
        .file("worker.py", act)
        .start();
    let question = server.client().post_later("/", "a");
    server.wait_for_count("httpipe_diagnoses_total{verdict=\"half_answer\"}", 1.0);
    assert!(server.wait_for_log("a call runs long").contains("does not end"));
    assert_eq!(question.answer().status, 504);
}

#[test]
fn a_worker_that_waits_for_a_slow_reader_is_not_ill() {
    let act = "for _ in range(2000): print('x' * 10000, flush=True)\n    print('END', flush=True)";
    let keys =
        "workers = 1\nretries = 0\nstream = \"until:END\"\ntimeout = \"8s\"\nabandoned = \"1s\"";
    let script = format!("import sys\nfor line in sys.stdin:\n    {act}\n");
    let server = Server::with(keys).worker("python3 w.py").file("w.py", &script).start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "a");
    assert_eq!(caller.head().status, 200);
    // It is cut off because it does not read, and the worker is looked at several times before.
    server.wait_until("the stream ended", |server| {
        server.metric("httpipe_calls_total{outcome=\"ok\"}")
            + server.metric("httpipe_calls_total{outcome=\"abandoned\"}")
            + server.metric("httpipe_calls_total{outcome=\"timeout\"}")
            > 0.0
    });
    for verdict in ["half_answer", "silent", "holds_output", "not_reading"] {
        let metric = format!("httpipe_diagnoses_total{{verdict=\"{verdict}\"}}");
        assert_eq!(server.metric(&metric), 0.0, "{verdict}");
    }
}
