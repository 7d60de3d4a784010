//! What a program says to a caller of JSON-RPC before its answer: progress, and questions to the
//! caller. It reaches the caller whose call it belongs to, and nobody else.

use serde_json::{Value, json};

use crate::support::{Connection, Plan, Server};

/// Holds `work` until `finish`, and tells of progress with each on `advance`. On `ask` it asks its
/// client, and answers with what it is told. Notes what it is told in a file.
const WORKER: &str = r#"
import json, sys
def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
held, asks, said = [], {}, 0
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params")
    with open("noted", "a") as file:
        file.write(line)
    if method == "work":
        held.append((id, (params.get("_meta") or {}).get("progressToken")))
    if method == "advance":
        for other, token in held:
            say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
            if params == "much":
                for _ in range(40):
                    say({"method": "notifications/progress", "params": {"progressToken": token, "message": "x" * 100000}})
    if method == "log":
        say({"method": "notifications/message", "params": {"data": "hello"}})
    if method == "finish":
        for other, token in held:
            say({"id": other, "result": {"done": token is not None}})
        held = []
    if method == "ask":
        asks[said] = id
        say({"id": said, "method": "sampling/createMessage", "params": {"_meta": {"progressToken": said}}})
        said += 1
    if method == "die":
        sys.exit(3)
    if method is None:
        asked = asks.pop(id)
        say({"id": asked, "result": {"told": message.get("result"), "error": message.get("error")}})
    if id is not None and method == "advance":
        say({"id": id, "result": None})
"#;

const EVENTS: &str = "Accept: application/json, text/event-stream";

fn working(keys: &str) -> Plan {
    let keys = format!("workers = 1\nretries = 0\nmatching = \"json-id\"\nin_flight = 50\n{keys}");
    Server::with(&keys).worker("python3 worker.py").file("worker.py", WORKER)
}

fn message(id: &Value, method: &str, token: &Value) -> String {
    let params = json!({ "_meta": { "progressToken": token } });
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn note(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string()
}

fn progress(token: &Value) -> Value {
    let params = json!({ "progressToken": token, "progress": 1 });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

/// Sends a question, and waits until the worker has it.
fn begin(server: &Server, headers: &[&str], body: &str) -> Connection {
    let before = server.read("noted").lines().count();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", headers, body);
    server.wait_until("the worker has it", |server| server.read("noted").lines().count() > before);
    caller
}

/// The next event; `None` at the good end of the stream.
fn event(caller: &mut Connection) -> Option<Value> {
    let chunk = caller.chunk().expect("the stream goes on, or ends well");
    if chunk.is_empty() {
        return None;
    }
    let data = chunk.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n"));
    let data = data.unwrap_or_else(|| panic!("no message as an event: {chunk}"));
    Some(serde_json::from_str(data).expect("JSON"))
}

fn dropped(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("httpipe_messages_dropped_total{{reason=\"{reason}\"}}"))
}

#[test]
fn progress_reaches_the_caller_whose_call_it_belongs_to_and_nobody_else() {
    for threads in ["threads = 1", "threads = 2"] {
        let server = working("").top(threads).start();
        // The same ids and tokens, and one who wants no stream.
        let question = message(&json!(1), "work", &json!(7));
        let mut a = begin(&server, &[EVENTS], &question);
        let mut b = begin(&server, &[EVENTS], &question);
        let mut plain = begin(&server, &[], &question);
        server.answers(&note("advance", &json!(null)));
        for caller in [&mut a, &mut b] {
            let head = caller.head();
            assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
            assert_eq!(event(caller), Some(progress(&json!(7))));
        }
        server.answers(&note("finish", &json!(null)));
        let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "done": true } });
        for caller in [&mut a, &mut b] {
            assert_eq!(event(caller), Some(answer.clone()));
            assert_eq!(event(caller), None, "the answer is the last event");
        }
        let plain = plain.answer();
        assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(plain.json(), answer);
        assert_eq!(dropped(&server, "notification"), 1.0, "that of the caller without a stream");
        server.wait_until("each was counted as one call", |server| {
            server.metric("httpipe_calls_total{outcome=\"ok\"}") == 3.0
        });
    }
}

#[test]
fn a_caller_who_may_have_a_stream_and_needs_none_gets_plain_json() {
    let server = working("reply = \"json\"").start();
    let mut caller = begin(&server, &[EVENTS], &message(&json!("x"), "work", &json!(1)));
    server.answers(&note("finish", &json!(null)));
    let answer = caller.answer();
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json()["id"], "x");
}

/// It guesses the token under which the worker knows the other's call.
#[test]
fn nobody_gets_the_progress_of_another_by_choosing_a_token() {
    let server = working("").start();
    let mut a = begin(&server, &[EVENTS], &message(&json!(1), "work", &json!("mine")));
    let sent: Value = serde_json::from_str(server.read("noted").trim()).expect("JSON");
    let guessed = sent["params"]["_meta"]["progressToken"].clone();
    assert_ne!(guessed, json!("mine"));
    let mut b = begin(&server, &[EVENTS], &message(&json!(1), "work", &guessed));
    server.answers(&note("advance", &json!(null)));
    assert_eq!((a.head().status, event(&mut a)), (200, Some(progress(&json!("mine")))));
    assert_eq!((b.head().status, event(&mut b)), (200, Some(progress(&guessed))));
    server.answers(&note("finish", &json!(null)));
    for caller in [&mut a, &mut b] {
        assert_eq!(event(caller).expect("an answer")["result"]["done"], true);
    }
}

#[test]
fn a_worker_asks_the_caller_it_works_for_and_gets_the_answer() {
    for threads in ["threads = 1", "threads = 2"] {
        // Each of both workers counts its questions from 0.
        let keys = "workers = 2\nretries = 0\nmatching = \"json-id\"";
        let plan = Server::with(keys).worker("python3 worker.py").file("worker.py", WORKER);
        let server = plan.top(threads).start();
        let mut callers = Vec::new();
        for n in 0..2 {
            let mut caller = begin(&server, &[EVENTS], &message(&json!(n), "ask", &json!(null)));
            assert_eq!(caller.head().status, 200);
            let question = event(&mut caller).expect("a question");
            assert_eq!(question["method"], "sampling/createMessage");
            assert_eq!(question["params"]["_meta"]["progressToken"], question["id"]);
            callers.push((n, caller, question["id"].clone()));
        }
        assert_ne!(callers[0].2, callers[1].2);
        for (n, mut caller, id) in callers {
            let goes_on = json!({ "progressToken": id, "progress": 5 });
            assert_eq!(server.answers(&note("notifications/progress", &goes_on)).status, 202);
            let told = json!({ "jsonrpc": "2.0", "id": id, "result": format!("told {n}") });
            assert_eq!(server.answers(&told.to_string()).status, 202);
            let answer = event(&mut caller).expect("an answer");
            assert_eq!(
                (&answer["id"], &answer["result"]["told"]),
                (&json!(n), &json!(format!("told {n}")))
            );
            assert_eq!(event(&mut caller), None);
            let again = server.answers(&told.to_string());
            assert_eq!((again.status, again.code().as_str()), (400, "bad_request"), "{again:?}");
        }
        let progressed = server.read("noted");
        let progressed = progressed.lines().filter(|line| line.contains("\"progress\":5"));
        for line in progressed {
            let said: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(said["params"]["progressToken"], 0, "as the worker wrote it");
        }
        assert_eq!(dropped(&server, "question"), 0.0);
    }
}

#[test]
fn a_question_that_could_be_for_two_callers_is_for_nobody_and_the_worker_does_not_hang() {
    let server = working("").start();
    let mut a = begin(&server, &[EVENTS], &message(&json!(1), "work", &json!(1)));
    let mut b = begin(&server, &[EVENTS], &message(&json!(2), "ask", &json!(2)));
    let answer = b.answer().json();
    assert_eq!((&answer["id"], &answer["result"]["error"]["code"]), (&json!(2), &json!(-32601)));
    assert_eq!(dropped(&server, "question"), 1.0);
    server.answers(&note("finish", &json!(null)));
    assert_eq!(a.answer().json()["result"]["done"], true, "it was told nothing of it");
}

#[test]
fn a_message_that_names_no_call_is_for_the_only_caller_or_for_nobody() {
    let server = working("").start();
    let mut a = begin(&server, &[EVENTS], &message(&json!(1), "work", &json!(1)));
    server.answers(&note("log", &json!(null)));
    assert_eq!(a.head().status, 200);
    assert_eq!(event(&mut a).expect("an event")["method"], "notifications/message");
    let b = begin(&server, &[EVENTS], &message(&json!(2), "work", &json!(1)));
    server.answers(&note("log", &json!(null)));
    server.wait_until("it was dropped", |server| dropped(server, "notification") == 1.0);
    drop(b);
}

#[test]
fn a_worker_whose_caller_left_is_told_that_nobody_will_answer() {
    let server = working("").start();
    let mut caller = begin(&server, &[EVENTS], &message(&json!(1), "ask", &json!(1)));
    caller.head();
    let id = event(&mut caller).expect("a question")["id"].clone();
    caller.close();
    server.wait_until("it was told so", |server| server.read("noted").contains("-32000"));
    let late = json!({ "jsonrpc": "2.0", "id": id, "result": "late" }).to_string();
    assert_eq!(server.answers(&late).status, 400);
    server.wait_until("and went on", |server| {
        server.metric("httpipe_calls_total{outcome=\"abandoned\"}") == 1.0
    });
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
}

#[test]
fn a_caller_that_never_answers_costs_no_more_than_its_call() {
    let server = working("timeout = \"500ms\"").start();
    let mut caller = begin(&server, &[EVENTS], &message(&json!("q"), "ask", &json!(1)));
    caller.head();
    event(&mut caller).expect("a question");
    let failed = event(&mut caller).expect("a failure as an answer");
    assert_eq!((&failed["id"], &failed["error"]["data"]["code"]), (&json!("q"), &json!("timeout")));
    assert_eq!(event(&mut caller), None);
    server.wait_until("the worker was told", |server| server.read("noted").contains("-32000"));
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
}

#[test]
fn a_call_that_fails_after_it_has_begun_ends_with_an_error_of_json_rpc() {
    let server = working("").start();
    let mut caller = begin(&server, &[EVENTS], &message(&json!(5), "work", &json!(1)));
    server.answers(&note("advance", &json!(null)));
    caller.head();
    event(&mut caller).expect("progress");
    server.answers(&note("die", &json!(null)));
    let failed = event(&mut caller).expect("a failure as an answer");
    assert_eq!(failed["error"]["data"]["code"], "worker_lost", "{failed}");
    assert_eq!((&failed["id"], event(&mut caller)), (&json!(5), None));
    assert_eq!(server.read("noted").matches("\"work\"").count(), 1, "it was not run again");
}

/// An answer from somebody who was not asked.
#[test]
fn nobody_else_can_answer_a_question() {
    let server = working("").start();
    let mut caller = begin(&server, &[EVENTS], &message(&json!(1), "ask", &json!(1)));
    caller.head();
    let id = event(&mut caller).expect("a question")["id"].clone();
    let name = id.as_str().expect("a text");
    assert!(name.len() > 32, "{name} cannot be guessed");
    for other in [json!(0), json!("0"), json!(name.replace("-0", "-1")), json!(&name[1..])] {
        let answer = json!({ "jsonrpc": "2.0", "id": other, "result": "mine" }).to_string();
        assert_eq!(server.answers(&answer).code(), "bad_request", "{other}");
        let progress = json!({ "progressToken": other, "progress": 1 });
        assert_eq!(server.answers(&note("notifications/progress", &progress)).status, 202);
    }
    assert_eq!(dropped(&server, "cancel"), 4.0, "nobody waits for this progress");
    assert_eq!(server.read("noted").lines().count(), 1, "the worker saw none of it");
    server.answers(&json!({ "jsonrpc": "2.0", "id": id, "result": "right" }).to_string());
    assert_eq!(event(&mut caller).expect("an answer")["result"]["told"], "right");
}

#[test]
fn a_caller_that_reads_no_progress_holds_nobody_up_and_gets_its_answer() {
    let server = working("").start();
    let mut slow = begin(&server, &[EVENTS], &message(&json!(1), "work", &json!(1)));
    for _ in 0..4 {
        server.answers(&note("advance", &json!("much")));
    }
    let beside = message(&json!(2), "advance", &json!(null));
    assert_eq!(server.answers(&beside).json()["id"], 2, "the worker is read all the time");
    assert!(dropped(&server, "late") > 0.0, "what does not fit is dropped");
    server.answers(&note("finish", &json!(null)));
    slow.head();
    let mut last = None;
    while let Some(event) = event(&mut slow) {
        last = Some(event);
    }
    assert_eq!(last.expect("an answer")["result"]["done"], true);
}

/// `hello` has greeted the worker: a second `initialized` would be one too many.
#[test]
fn a_client_that_has_taken_the_greeting_is_not_heard_by_a_worker_that_was_greeted() {
    let program = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    with open("noted", "a") as file:
        file.write(message["method"] + "\n")
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}), flush=True)
"#;
    let hello = r#"hello = [{ send = '{"jsonrpc":"2.0","id":0,"method":"initialize"}' },
        { send = '{"jsonrpc":"2.0","method":"notifications/initialized"}', answer = false }]"#;
    let server = Server::with(&format!("workers = 1\nmatching = \"json-id\"\n{hello}"))
        .worker("python3 greets.py")
        .file("greets.py", program)
        .start();
    for id in 0..2 {
        assert_eq!(server.answers(&message(&json!(id), "initialize", &json!(0))).status, 200);
        let greeted = note("notifications/initialized", &json!({}));
        assert_eq!(server.answers(&greeted).status, 202);
    }
    assert_eq!(server.answers(&message(&json!(3), "other", &json!(0))).status, 200);
    let noted = server.read("noted");
    assert_eq!(
        noted.lines().collect::<Vec<_>>(),
        ["initialize", "notifications/initialized", "other"]
    );
}
