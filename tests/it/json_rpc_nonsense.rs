//! Nonsense from one caller, or from a program, does not affect others: messages that are no
//! questions, questions without an answer, and lines that are no answers.

use serde_json::{Value, json};

use crate::support::{Plan, Server};

/// Answers everything that has a `method` and an id, but `never`. `late` is answered when `free`
/// comes. `chat` makes it write lines that are no answers first.
const PICKY: &str = r#"
import json, sys
def say(message):
    print(json.dumps(message), flush=True)
kept = []
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params")
    with open("noted", "a") as file:
        file.write(line)
    if method == "chat":
        for said in params:
            print(said, flush=True)
    if method == "late":
        kept.append(id)
    if method == "free":
        for other in kept:
            say({"jsonrpc": "2.0", "id": other, "result": "late"})
        kept = []
    if method in ("echo", "chat", "free") and id is not None:
        say({"jsonrpc": "2.0", "id": id, "result": params})
"#;

fn picky(keys: &str) -> Plan {
    let keys = format!("workers = 1\nretries = 0\nmatching = \"json-id\"\n{keys}");
    Server::with(&keys).worker("python3 picky.py").file("picky.py", PICKY)
}

fn call(id: &Value, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn echo(server: &Server, what: &str) {
    let answer = server.answers(&call(&json!("e"), "echo", &json!(what)));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "id": "e", "result": what }));
}

#[test]
fn what_is_no_question_is_refused_before_a_worker_sees_it() {
    let server = picky("in_flight = 4").start();
    for body in [
        r#"{"id":1}"#,
        "{}",
        r#"{"jsonrpc":"2.0","id":1,"result":5}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
        r#"{"jsonrpc":"2.0","params":{"method":"echo"},"id":1}"#,
    ] {
        let answer = server.answers(body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{body}");
        assert!(answer.detail().contains("`method`"), "{answer:?}");
    }
    let batch = server.answers(&format!("[{{}},{}]", call(&json!(1), "echo", &json!(2)))).json();
    assert_eq!((&batch[0]["error"]["code"], &batch[1]["result"]), (&json!(-32600), &json!(2)));
    assert_eq!(server.read("noted").lines().count(), 1, "the worker saw the one good call");
}

#[test]
fn questions_without_a_method_pass_where_the_operator_says_so() {
    let worker = r#"
import json, sys
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "ok": 1}), flush=True)
"#;
    let server = Server::with("workers = 1\nmatching = \"json-id\"\njsonrpc = false")
        .worker("python3 bare.py")
        .file("bare.py", worker)
        .start();
    assert_eq!(server.answers(r#"{"id":"x"}"#).json(), json!({ "id": "x", "ok": 1 }));
    assert_eq!(server.answers("{}").json(), json!({ "ok": 1 }));
}

#[test]
fn a_question_that_is_never_answered_gives_up_alone() {
    let server = picky("in_flight = 4\ntimeout = \"600ms\"").start();
    let (worker, client) = (server.workers(), server.client());
    let never = client.post_later("/", &call(&json!(1), "never", &json!(0)));
    server.wait_until("it is in the worker", |server| server.read("noted").contains("never"));
    echo(&server, "beside it");
    let beside = client.post_later("/", &call(&json!(2), "late", &json!(0)));
    let answer = never.answer();
    assert_eq!((answer.status, answer.code().as_str()), (504, "timeout"), "{answer:?}");
    server.answers(&call(&json!(3), "free", &json!("free")));
    let answer = beside.answer();
    assert!(answer.status == 200 || answer.code() == "timeout", "never worker_lost: {answer:?}");
    echo(&server, "after it");
    assert_eq!(server.workers(), worker, "the worker stays");
}

#[test]
fn the_late_answer_of_a_call_that_was_given_up_reaches_nobody() {
    for (keys, ask, answer) in [
        ("matching = \"tag\"", "q", "q"),
        ("matching = \"echo\"\nreply = \"{input}|{r}\"", "q", r#"{"r":"q"}"#),
    ] {
        let worker = r#"
import sys, threading, os, time
def later(line):
    while not os.path.exists("go"):
        time.sleep(0.003)
    print(line + "|" + line, flush=True)
for line in sys.stdin:
    line = line.rstrip("\n")
    if line.endswith("slow"):
        threading.Thread(target=later, args=(line,)).start()
    else:
        print(line + "|q" if "|" not in line and not line[0].isdigit() else line, flush=True)
"#;
        let keys = format!("workers = 1\nin_flight = 4\ntimeout = \"600ms\"\n{keys}");
        let server = Server::with(&keys).worker("python3 slow.py").file("slow.py", worker).start();
        let worker = server.workers();
        let late = server.client().post_later("/", "slow");
        let beside = server.answers(ask);
        assert_eq!((beside.status, beside.body.as_str()), (200, answer), "{beside:?}");
        let late = late.answer();
        assert_eq!((late.status, late.code().as_str()), (504, "timeout"), "{late:?}");
        server.put("go");
        server.wait_until("the late answer was dropped", |server| {
            server.metric("httpipe_messages_dropped_total{reason=\"late\"}") == 1.0
        });
        assert_eq!(server.answers(ask).body, answer);
        assert_eq!(server.workers(), worker);
    }
}

#[test]
fn a_worker_that_answers_nobody_any_more_is_stopped() {
    let server = picky("in_flight = 4\ntimeout = \"300ms\"").start();
    let worker = server.workers();
    let answer = server.answers(&call(&json!(1), "never", &json!(0)));
    assert_eq!(answer.code(), "timeout");
    assert_eq!(server.workers(), worker, "one is not all");
    server.wait_until("silent for another `timeout`, it is replaced", |server| {
        server.metric("httpipe_worker_exits_total{reason=\"timeout\"}") == 1.0
    });
    server.wait_until_ready();
    echo(&server, "by another");
}

#[test]
fn a_worker_full_of_lost_calls_is_stopped() {
    let server = picky("in_flight = 2\ntimeout = \"400ms\"").start();
    let client = server.client();
    let lost: Vec<_> =
        (0..2).map(|id| client.post_later("/", &call(&json!(id), "never", &json!(0)))).collect();
    for call in lost {
        assert_eq!(call.answer().code(), "timeout");
    }
    server.wait_until("it has no room", |server| {
        server.metric("httpipe_worker_exits_total{reason=\"timeout\"}") == 1.0
    });
    echo(&server, "by another");
}

#[test]
fn a_line_that_is_no_json_object_is_dropped_and_costs_nobody() {
    let server = picky("in_flight = 4").start();
    let worker = server.workers();
    let said = json!(["Loading model...", "", "[1,2]", "7", "{\"id\":", "\u{1b}[1mdone"]);
    let answer = server.answers(&call(&json!(5), "chat", &said));
    assert_eq!((answer.status, &answer.json()["result"]), (200, &said), "{answer:?}");
    assert_eq!(server.metric("httpipe_messages_dropped_total{reason=\"stray\"}"), 6.0);
    echo(&server, "after it");
    assert_eq!(server.workers(), worker);
    server.wait_for_log("Loading model...");
    let logged = server.log_lines().iter().filter(|line| line.contains("no answer")).count();
    assert_eq!(logged, 1, "the log says it once, not for each line");
}

#[test]
fn under_tag_and_echo_a_stray_line_is_dropped_only_where_the_operator_says_so() {
    let worker = r#"
import sys
for line in sys.stdin:
    print("debug: got it", flush=True)
    line = line.rstrip("\n")
    print(line if line[0].isdigit() else line + "|" + line, flush=True)
    print("debug: done", flush=True)
"#;
    for keys in ["matching = \"tag\"", "matching = \"echo\"\nreply = \"{input}|{r}\""] {
        let keys = format!("workers = 1\nin_flight = 4\nretries = 0\n{keys}");
        let start = |keys: &str| {
            Server::with(keys).worker("python3 talks.py").file("talks.py", worker).start()
        };
        let strict = start(&keys);
        let answer = strict.answers("q");
        assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{keys}");
        let lenient = start(&format!("{keys}\nstray = \"drop\""));
        for _ in 0..3 {
            assert_eq!(lenient.answers("q").status, 200, "{keys}");
        }
        assert!(lenient.metric("httpipe_messages_dropped_total{reason=\"stray\"}") >= 5.0);
        assert_eq!(lenient.metric("httpipe_worker_starts_total"), 1.0);
    }
}
