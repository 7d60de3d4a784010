//! Any line program served by one command, without a configuration file.

use crate::keys::with_keys;
use crate::support::{Server, shell};

#[test]
fn a_line_program_is_served_by_one_command() {
    let server = Server::args(&["--", "sed", "-u", "s/a/X/"]).start();
    let posted = server.client().post("/", "a b");
    assert_eq!((posted.status, posted.body.trim_end()), (200, "X b"), "{posted:?}");
    let got = server.client().get("/?input=a%20c");
    assert_eq!((got.status, got.body.trim_end()), (200, "X c"), "{got:?}");
}

#[test]
fn the_curl_line_it_prints_works() {
    let server = Server::args(&["--", "sed", "-u", "s/a/X/"]).start();
    let line = server.wait_for_log("curl ");
    let line: serde_json::Value = serde_json::from_str(&line).expect("the log is JSON here");
    let command = texts(&line)
        .into_iter()
        .find_map(|text| text.find("curl ").map(|start| text[start..].to_owned()))
        .expect("some field has the line");
    assert!(command.contains(&server.url()), "{command}");
    let (code, output) = shell(&command);
    assert_eq!(code, 0, "{command}: {output}");
    server.wait_until("that was an answered call", |s| {
        s.metric("httpipe_calls_total{outcome=\"ok\"}") == 1.0
    });
}

#[test]
fn route_and_reply_can_be_given_on_the_command_line() {
    let server = Server::args(&[
        "--route",
        "GET /fib?num={num:int}",
        "--reply",
        "{input}|{result}",
        "--",
        "$httpipe",
        "demo-worker",
        "--pair",
    ])
    .start();
    let answer = server.client().get("/fib?num=10");
    assert_eq!(answer.json()["result"], "10");
}

/// Returns every string in a JSON value.
fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn init_writes_the_file_that_run_with_the_same_words_stands_for() {
    let line = "--route 'GET /fib?num={num:int}' --reply '{input}|{result}' --workers 1..2 \
                --retries 3 --cache 1h --params '{ num = { max = 90 } }' --limits-body 1KiB \
                -- $httpipe demo-worker --pair";
    let words: Vec<String> = shell(&format!("printf '%s\\n' {}", line.replace('$', "\\$")))
        .1
        .lines()
        .map(str::to_owned)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let binary = env!("CARGO_BIN_EXE_httpipe");
    let init = format!("{binary} init {}", line.replace("$httpipe", binary));
    let by_words = Server::args(&words).start();
    let by_file = Server::args(&[]).prepare_with(&init).start();
    for path in ["/fib?num=10", "/fib?num=91", "/fib?num=ten", "/fib", "/"] {
        let (first, second) = (by_words.client().get(path), by_file.client().get(path));
        let shown = |answer: &crate::support::Answer| (answer.status, answer.body.clone());
        assert_eq!(first.status, second.status, "{path}");
        if first.status == 200 {
            assert_eq!(shown(&first), shown(&second), "{path}");
        }
    }
    assert_eq!(by_file.client().get("/fib?num=10").json()["result"], "10");
    assert_eq!(by_file.client().get("/fib?num=91").status, 400);
    assert!(by_file.client().get("/fib?num=10").header("cache-status").contains("hit"));
}

#[test]
fn the_line_to_try_shows_where_the_key_belongs() {
    let server = with_keys("workers = 1", &["alice"]).start();
    let line = server.wait_for_log("try it");
    assert!(line.contains(" -H 'Authorization: Bearer KEY'"), "{line}");
    let open = with_keys("workers = 1", &["alice"]).top("anonymous = { calls = 1 }").start();
    let line = open.wait_for_log("try it");
    assert!(!line.contains("Bearer"), "{line}");
}
