//! Answers that are refused: what the log says about each, so that nobody needs to run it again.

use crate::support::{Plan, Server};

/// A pool whose program answers each question by this expression of Python over `q`.
fn answering(expression: &str, keys: &str) -> Plan {
    let script = format!(
        "import sys\nfor line in sys.stdin:\n    q = line.strip()\n    print({expression}, flush=True)\n"
    );
    Server::with(&format!("workers = 1\nretries = 0\n{keys}"))
        .worker("python3 worker.py")
        .file("worker.py", &script)
}

/// The fields `why` and `said` of the first line with this message.
fn told(server: &Server, message: &str) -> String {
    let line = server.wait_for_log(&format!("\"{message}\""));
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
    format!(
        "{} / {}",
        line["why"].as_str().unwrap_or_default(),
        line["said"].as_str().unwrap_or_default()
    )
}

#[test]
fn an_answer_that_may_belong_to_another_call_is_shown_with_the_pattern() {
    let server = answering("'nonsense ' + 'x' * 300", "reply = \"{input}|{result:int}\"").start();
    assert_eq!(server.client().post("/", "17").status, 502);
    let said = told(&server, "worker lost");
    let shown = format!("\"nonsense {}\" ...", "x".repeat(191));
    assert!(said.contains(&shown), "the first 200 bytes: {said}");
    assert!(said.contains("`reply` is `{input}|{result:int}`"), "{said}");
    assert!(said.contains("the question has 2 bytes"), "{said}");
}

#[test]
fn an_answer_of_the_wrong_shape_is_shown_with_the_pattern() {
    let server = answering("q + '|seven\\x1b'", "reply = \"{input}|{result:int}\"").start();
    assert_eq!(server.client().post("/", "17").status, 502);
    let said = told(&server, "bad answer");
    assert!(said.contains("\"17|seven\\x1b\""), "{said}");
    assert!(said.contains("`reply` is `{input}|{result:int}`"), "{said}");
    assert_eq!(server.client().post("/", "18").status, 502, "the worker stays");
}

#[test]
fn an_answer_that_repeats_no_question_is_shown() {
    let keys = "matching = \"echo\"\nin_flight = 2\nreply = \"{input}|{result:int}\"";
    let server = answering("'other|1'", keys).start();
    assert_eq!(server.client().post("/", "17").status, 502);
    let said = told(&server, "worker lost");
    assert!(said.contains("\"other|1\""), "{said}");
}

#[test]
fn two_messages_for_one_question_are_both_shown() {
    let server = answering("'first\\nsecond'", "").start();
    assert_eq!(server.client().post("/", "17").status, 502);
    assert!(told(&server, "bad answer").ends_with("/ \"first\", then \"second\""));
}
