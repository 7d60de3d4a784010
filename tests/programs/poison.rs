//! Input that ends a program, or after which it waits for more. Only its own caller is affected.

use crate::serve::{encoded, serve_with, start};
use crate::support::Server;

/// Sends the texts of callers to jq unchecked. The example for jq does not do that.
const BARE_JQ: &str = r#"
[pool.jq]
command = ["jq", "--unbuffered", "-c", ".a"]
workers = 1
timeout = "500ms"

[[route]]
match = "POST /"
"#;

/// Waits until the worker has the question, or is over with it: it may take a moment only.
fn wait_until_asked(server: &Server) {
    server.wait_until("the question was asked", |server| {
        server.metric("httpipe_workers{state=\"busy\"}") == 1.0
            || server.metric("httpipe_worker_exits_total{reason=\"bad_answer\"}") == 1.0
    });
}

#[test]
fn a_document_that_ends_jq_is_a_502_and_the_next_caller_sees_nothing_of_it() {
    let Some(server) = start(Server::config(BARE_JQ), &["jq"]) else { return };
    assert_eq!(server.answers(r#"{"a":[1,2]}"#).body, "[1,2]");
    assert_eq!(server.answers("{bad").code(), "worker_lost");
    assert_eq!(server.answers(r#"{"a":3}"#).body, "3");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
}

#[test]
fn an_unfinished_document_is_a_502_and_swallows_no_other_question() {
    let Some(server) = start(Server::config(BARE_JQ), &["jq"]) else { return };
    let poison = server.client().post_later("/", r#"{"a":"#);
    wait_until_asked(&server);
    // This one waits, and would be the value of the unfinished `a`.
    let behind = server.client().post_later("/", r#"{"a":4}"#);
    assert_eq!(poison.answer().code(), "bad_answer");
    let answer = behind.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "4"));
    server.wait_for_count("httpipe_worker_exits_total{reason=\"bad_answer\"}", 1.0);
}

#[test]
fn an_unfinished_quote_in_sql_is_a_502_and_swallows_no_other_question() {
    let options = ["--workers", "1"];
    let Some(server) = serve_with("sqlite3", &["sqlite3"], &options) else { return };
    let client = server.client();
    let ask = |query: &str| {
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        client.later("POST", "/sql", &form, &format!("query={}", encoded(query)))
    };
    let poison = ask("select 'abc");
    wait_until_asked(&server);
    let behind = ask("select 'behind' as x");
    assert_eq!(poison.answer().code(), "bad_answer");
    let answer = behind.answer();
    assert_eq!((answer.status, answer.body.trim_end()), (200, r#"[{"x":"behind"}]"#));
    server.wait_for_count("httpipe_worker_exits_total{reason=\"bad_answer\"}", 1.0);
}
