//! Cancelled calls of JSON-RPC: a caller's cancel names a call of its own, or nothing.

use serde_json::{Value, json};

use crate::support::{Plan, Server};

/// Answers `echo` at once, and `hold` when `free` comes. A held call that is cancelled is never
/// answered, as the Model Context Protocol asks. What it is told without an id is noted in a file.
const HOLDER: &str = r#"
import json, sys
held = []
def say(message):
    print(json.dumps(message), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params")
    if id is None:
        with open("noted", "a") as file:
            file.write(line)
    if method == "hold":
        held.append(id)
        with open("held", "a") as file:
            file.write(str(id) + "\n")
    if method == "notifications/cancelled" and params["requestId"] in held:
        held.remove(params["requestId"])
    if method == "$/cancelRequest" and params["id"] in held:
        held.remove(params["id"])
    if method == "free":
        for other in held:
            say({"jsonrpc": "2.0", "id": other, "result": "held"})
        held = []
    if id is not None and method != "hold":
        say({"jsonrpc": "2.0", "id": id, "result": params})
"#;

fn holding(keys: &str) -> Plan {
    let keys = format!("workers = 1\nretries = 0\nmatching = \"json-id\"\nin_flight = 200\n{keys}");
    Server::with(&keys).worker("python3 holder.py").file("holder.py", HOLDER)
}

fn call(id: &Value, method: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": "free" }).to_string()
}

fn cancelled(id: &Value) -> String {
    let params = json!({ "requestId": id, "reason": "the user is tired" });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
}

fn cancel_request(id: &Value) -> String {
    json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": id } }).to_string()
}

const SESSION_A: &[&str] = &["Mcp-Session-Id: a"];
const SESSION_B: &[&str] = &["Mcp-Session-Id: b"];

fn held(server: &Server) -> usize {
    server.read("held").lines().count()
}

/// Each client counts its calls from 0, as the SDKs do, and each connection carries one.
#[test]
fn a_cancel_of_one_client_leaves_the_calls_of_another_alone() {
    for (a, b) in [(SESSION_A, SESSION_B), (&[][..], &[][..])] {
        let server = holding("timeout = \"5s\"").start();
        let of_b: Vec<_> = (0..5)
            .map(|id| server.client().later("POST", "/", b, &call(&json!(id), "hold")))
            .collect();
        server.wait_until("five are held", |server| held(server) == 5);
        let of_a = server.client().later("POST", "/", a, &call(&json!(0), "hold"));
        server.wait_until("six are held", |server| held(server) == 6);
        for id in 0..10 {
            for cancel in [cancelled(&json!(id)), cancel_request(&json!(id))] {
                let answer = server.client().request("POST", "/", a, &cancel);
                assert_eq!((answer.status, answer.body.as_str()), (202, ""));
            }
        }
        server.answers(&call(&json!(9), "free"));
        for (id, call) in of_b.into_iter().enumerate() {
            let answer = call.answer();
            assert_eq!(answer.status, 200, "call {id} of the other client: {answer:?}");
            assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "id": id, "result": "held" }));
        }
        let of_a = of_a.answer();
        let has_session = !a.is_empty();
        let expected = if has_session { 499 } else { 200 };
        assert_eq!(of_a.status, expected, "its own call: {of_a:?}");
        let strays = server.metric("httpipe_messages_dropped_total{reason=\"cancel\"}");
        assert_eq!(strays, if has_session { 19.0 } else { 20.0 });
        assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
    }
}

/// The worker sees its own id for the call, with everything else as the caller wrote it.
#[test]
fn a_cancel_reaches_the_worker_under_the_id_that_it_knows() {
    for threads in ["threads = 1", "threads = 2"] {
        let server = holding("").top(threads).start();
        for cancel in [cancelled(&json!("x")), cancel_request(&json!("x"))] {
            let before = held(&server);
            let call = server.client().later("POST", "/", SESSION_A, &call(&json!("x"), "hold"));
            server.wait_until("it is held", |server| held(server) == before + 1);
            assert_eq!(server.client().request("POST", "/", SESSION_A, &cancel).status, 202);
            let answer = call.answer();
            assert_eq!((answer.status, answer.code().as_str()), (499, "cancelled"), "{answer:?}");
            server.wait_until("the worker was told", |server| !server.read("noted").is_empty());
            let id = server.read("held").lines().last().map(str::to_owned).expect("one was held");
            let wanted = cancel.replace("\"x\"", &id);
            server.wait_until("it is the same message", |server| {
                server.read("noted").lines().any(|line| line == wanted)
            });
        }
        assert_eq!(server.metric("httpipe_messages_dropped_total{reason=\"cancel\"}"), 0.0);
        assert_eq!(server.metric("httpipe_workers{state=\"ready\"}"), 1.0, "it owes nothing");
    }
}

#[test]
fn a_call_that_waits_is_cancelled_before_a_worker_sees_it() {
    let server = Server::with("workers = 1\nmatching = \"json-id\"\nqueue = { wait = \"30s\" }")
        .worker("python3 holder.py")
        .file("holder.py", HOLDER)
        .start();
    let first = server.client().later("POST", "/", SESSION_A, &call(&json!(1), "hold"));
    server.wait_until("it is held", |server| held(server) == 1);
    let second = server.client().later("POST", "/", SESSION_A, &call(&json!(2), "hold"));
    server.wait_until("it waits", |server| server.metric("httpipe_queue_length") == 1.0);
    server.client().request("POST", "/", SESSION_A, &cancelled(&json!(2)));
    assert_eq!(second.answer().code(), "cancelled");
    server.client().request("POST", "/", SESSION_A, &cancelled(&json!(1)));
    assert_eq!(first.answer().code(), "cancelled");
    assert_eq!(held(&server), 1, "the worker never saw the second");
}

#[test]
fn a_batch_may_cancel_a_call_of_its_own() {
    let server = holding("").start();
    let one: Value = serde_json::from_str(&call(&json!(1), "hold")).expect("JSON");
    let no: Value = serde_json::from_str(&cancelled(&json!(1))).expect("JSON");
    let answer = server.answers(&json!([one, no]).to_string()).json();
    assert_eq!((&answer[0]["id"], &answer[0]["error"]["code"]), (&json!(1), &json!(-32000)));
    assert_eq!(answer[0]["error"]["data"]["code"], "cancelled");
}

/// Callers of a route with a cache share runs, and one must not cancel it for the others.
#[test]
fn nobody_cancels_a_run_that_is_shared() {
    let server = holding("").route("match = \"POST /\"\nidempotent = true\ncache = \"1s\"").start();
    let body = call(&json!(1), "hold");
    let calls = [SESSION_A, SESSION_B].map(|who| server.client().later("POST", "/", who, &body));
    server.wait_until("one run is held", |server| held(server) == 1);
    for who in [SESSION_A, SESSION_B] {
        server.client().request("POST", "/", who, &cancelled(&json!(1)));
    }
    server.client().request("POST", "/", &[], &call(&json!(9), "free"));
    for call in calls {
        assert_eq!(call.answer().json()["result"], "held");
    }
}

/// A language server refuses a second `initialize`, and each client sends one.
#[test]
fn each_client_is_greeted_with_what_hello_got() {
    let program = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    with open("noted", "a") as file:
        file.write(line)
    if "id" in message:
        result = {"serverInfo": {"name": "one"}, "id": 0}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;
    let hello = r#"hello = [{ send = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"of":"us"}}' }]"#;
    let server =
        Server::with(&format!("workers = 1\nmatching = \"json-id\"\nreply = \"json\"\n{hello}"))
            .worker("python3 greets.py")
            .file("greets.py", program)
            .start();
    let mut sessions = Vec::new();
    for id in [json!(0), json!("mine")] {
        let answer = server.answers(&call(&id, "initialize"));
        let result = json!({ "serverInfo": { "name": "one" }, "id": 0 });
        assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "id": id, "result": result }));
        sessions.push(answer.header("mcp-session-id").to_owned());
    }
    assert!(sessions.iter().all(|session| session.len() == 32) && sessions[0] != sessions[1]);
    assert_eq!(server.read("noted").lines().count(), 1, "the program was greeted once");
    let other = server.answers(&call(&json!(1), "other"));
    assert_eq!((other.status, other.header("mcp-session-id")), (200, ""));
}
