//! JSON-RPC over HTTP: one message or a batch in a request, notifications, cancelled calls, and
//! messages that a worker sends of its own accord.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Plan, Server};

/// Speaks JSON-RPC in lines. Answers `hold` when `free` comes, which may be a notification, and
/// everything else at once. Writes messages without an id into a file.
const SPEAKER: &str = r#"
import json, sys
def say(message):
    print(json.dumps(message), flush=True)
held = []
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params")
    if id is None:
        with open("noted", "a") as file:
            file.write(line)
    if method == "free":
        for other in held:
            say({"jsonrpc": "2.0", "id": other, "result": "held"})
        held = []
    if method == "die":
        sys.exit(3)
    if method == "chatty":
        say({"jsonrpc": "2.0", "method": "progress"})
        say({"jsonrpc": "2.0", "method": "roots/list", "id": "mine"})
        params = json.loads(sys.stdin.readline())
    if method == "hold":
        held.append(id)
    elif id is not None and method is not None:
        say({"jsonrpc": "2.0", "id": id, "result": params})
"#;

fn speaking(keys: &str) -> Plan {
    let keys = format!("workers = 1\nretries = 0\nmatching = \"json-id\"\nin_flight = 200\n{keys}");
    Server::with(&keys).worker("python3 speaker.py").file("speaker.py", SPEAKER)
}

fn message(id: &Value, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn note(method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": method })
}

#[test]
fn a_batch_is_answered_in_the_order_of_its_messages() {
    let server = speaking("").start();
    let batch = json!([
        message(&json!("a"), "hold", &json!(1)),
        message(&json!(7), "echo", &json!({ "x": [1, 2] })),
        note("hello"),
        5,
        message(&json!(7), "echo", &json!("same id")),
        message(&json!(null), "free", &json!(null)),
        message(&json!("z"), "free", &json!("last")),
    ]);
    let answer = server.answers(&serde_json::to_string_pretty(&batch).expect("JSON"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let replies = answer.json();
    let results: Vec<_> =
        replies.as_array().expect("an array").iter().map(|it| (&it["id"], &it["result"])).collect();
    let (x, null) = (json!({ "x": [1, 2] }), Value::Null);
    assert_eq!(
        results,
        [
            (&json!("a"), &json!("held")),
            (&json!(7), &x),
            (&null, &null),
            (&json!(7), &json!("same id")),
            (&null, &null),
            (&json!("z"), &json!("last")),
        ]
    );
    assert_eq!(replies[2]["error"]["code"], -32600);
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"ok\"}"), 5.0);
    assert_eq!(server.metric("httpipe_requests_total{status=\"200\"}"), 1.0);
}

#[test]
fn a_failed_call_of_a_batch_fails_alone() {
    let server = speaking("").start();
    let batch = json!([
        message(&json!(1), "echo", &json!("fine")),
        message(&json!("two"), "die", &json!(0)),
    ]);
    let answer = server.answers(&batch.to_string());
    let replies = answer.json();
    assert_eq!((answer.status, &replies[0]["result"]), (200, &json!("fine")));
    assert_eq!(replies[1]["id"], "two");
    let error = &replies[1]["error"];
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!("worker_lost")));
}

#[test]
fn a_batch_has_its_limits() {
    let server = speaking("").start();
    for (body, detail) in [
        ("[]", "the batch is empty"),
        ("[1", "the question is not JSON"),
        ("7", "the question is not a JSON object"),
        (&format!("[{}]", vec!["{}"; 101].join(",")), "a batch may hold at most 100 messages"),
    ] {
        let answer = server.answers(body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{body}");
        assert_eq!(answer.detail(), detail);
    }
    let hundred: Vec<Value> =
        (0..100).map(|id| message(&json!(id), "echo", &json!(id * 2))).collect();
    let replies = server.answers(&json!(hundred).to_string()).json();
    for (id, reply) in replies.as_array().expect("an array").iter().enumerate() {
        assert_eq!((&reply["id"], &reply["result"]), (&json!(id), &json!(id * 2)));
    }
}

#[test]
fn a_notification_is_accepted_at_once_and_reaches_a_worker() {
    for threads in ["threads = 1", "threads = 2"] {
        let server = speaking("").top(threads).start();
        for _ in 0..2 {
            let answer = server.answers(&note("hello").to_string());
            assert_eq!((answer.status, answer.body.as_str()), (202, ""));
        }
        let both = server.answers(&json!([note("one"), note("two")]).to_string());
        assert_eq!((both.status, both.body.as_str()), (202, ""));
        server.wait_until("all four came", |server| server.read("noted").lines().count() == 4);
        assert_eq!(server.metric("httpipe_calls_total"), 0.0, "they are no calls");
        assert_eq!(server.metric("httpipe_workers{state=\"ready\"}"), 1.0, "and occupy nobody");
    }
}

#[test]
fn a_notification_reaches_a_busy_worker_too() {
    let server = speaking("").start();
    let held = server.client().post_later("/", &message(&json!(1), "hold", &json!(0)).to_string());
    server.wait_until("the call is in the worker", |server| {
        server.metric("httpipe_workers{state=\"busy\"}") == 1.0
    });
    assert_eq!(server.answers(&note("free").to_string()).status, 202);
    assert_eq!(held.answer().json()["result"], "held");
}

#[test]
fn a_notification_without_a_ready_worker_is_refused() {
    let server = Server::with("workers = 1\nmatching = \"json-id\"\nready = \"never\"")
        .worker("cat")
        .start_unready();
    let answer = server.answers(&note("hello").to_string());
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_worker"));
}

#[test]
fn notifications_to_a_worker_that_does_not_read_are_refused_before_they_pile_up() {
    // A program that is never seen to read is asked after half of `start_timeout`.
    let server = Server::with("workers = 1\nmatching = \"json-id\"\nstart_timeout = \"1s\"")
        .worker("demo-worker --never-reads")
        .start();
    let large = note(&"x".repeat(100_000)).to_string();
    let refused = (0..20).map(|_| server.answers(&large)).find(|answer| answer.status != 202);
    let refused = refused.expect("2 MB are more than the pipe and the backlog hold");
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_full"));
}

#[test]
fn messages_of_a_worker_itself_are_counted_and_its_questions_are_answered() {
    let server = speaking("").start();
    let answer = server.answers(&message(&json!(1), "chatty", &json!(0)).to_string()).json();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["id"], "mine", "it was answered: {answer}");
    assert_eq!(answer["result"]["error"]["code"], -32601);
    for reason in ["notification", "question"] {
        let name = format!("httpipe_messages_dropped_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&name), 1.0, "{reason}");
    }
}

#[test]
fn a_caller_that_leaves_cancels_its_call_if_cancel_is_set() {
    let cancel = r#"cancel = '{"jsonrpc":"2.0","method":"cancelled","params":{"requestId":{id}}}'"#;
    let server = speaking(cancel).start();
    let held =
        server.client().post_later("/", &message(&json!("x"), "hold", &json!(0)).to_string());
    server.wait_until("the call is in the worker", |server| {
        server.metric("httpipe_workers{state=\"busy\"}") == 1.0
    });
    held.leave();
    server.wait_until("the worker was told", |server| server.read("noted").contains("cancelled"));
    let told: Value = serde_json::from_str(&server.read("noted")).expect("JSON");
    let id = told["params"]["requestId"].as_u64().expect("our id, not the caller's");
    assert!(id > 1 << 16, "{id} begins at random");
    assert_eq!(server.metric("httpipe_workers{state=\"ready\"}"), 1.0);
    let free = server.answers(&message(&json!(2), "free", &json!("freed")).to_string());
    assert_eq!(free.json()["result"], "freed");
    server.wait_until("the late answer was dropped", |server| {
        server.metric("httpipe_messages_dropped_total{reason=\"late\"}") == 1.0
    });
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"abandoned\"}"), 1.0);
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
}

#[test]
fn a_second_answer_ends_the_worker() {
    let program = r#"
import json, sys
for line in sys.stdin:
    answer = json.dumps({"id": json.loads(line)["id"]})
    print(answer + "\n" + answer, flush=True)
"#;
    let server = Server::with("workers = 1\nmatching = \"json-id\"\njsonrpc = false")
        .worker("python3 twice.py")
        .file("twice.py", program)
        .start();
    assert_eq!(server.answers(r#"{"id":"x"}"#).json(), json!({ "id": "x" }));
    server.wait_until("the worker was replaced", |server| {
        server.metric("httpipe_worker_exits_total{reason=\"bad_answer\"}") == 1.0
    });
}

/// Reads its questions byte by byte, so that later ones stay in the pipe. Notes each in a file. On
/// `die` it waits for a file and ends; everything else is answered.
const SIP: &str = r#"
import json, os, sys, time
while True:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        line += byte
    message = json.loads(line)
    with open("noted", "a") as file:
        file.write(message["method"] + "\n")
    if message["method"] == "die":
        while not os.path.exists("go"):
            time.sleep(0.003)
        sys.exit(3)
    if "id" in message:
        print(json.dumps({"id": message["id"], "result": 1}), flush=True)
"#;

const CANCEL: &str = r#"cancel = '{"jsonrpc":"2.0","method":"cancelled","params":{id}}'"#;

/// Starts a server with one such worker, which may hold this many calls.
fn sips(in_flight: u32) -> Server {
    let keys = format!("workers = 1\nmatching = \"json-id\"\nin_flight = {in_flight}\n{CANCEL}");
    Server::with(&keys).worker("python3 sip.py").file("sip.py", SIP).start()
}

/// Returns how many calls its only worker holds.
fn held(server: &Server) -> Option<u64> {
    server.status()["pools"][0]["workers"][0]["in_flight"].as_u64()
}

#[test]
fn a_call_that_was_read_is_not_run_again_for_one_behind_it_that_was_cancelled_unread() {
    let server = sips(2);
    let read = server.client().post_later("/", &message(&json!(1), "die", &json!(0)).to_string());
    server.wait_until("it is read", |server| server.read("noted") == "die\n");
    let unread = server.client().post_later("/", &message(&json!(2), "x", &json!(0)).to_string());
    server.wait_until("both are in the worker", |server| held(server) == Some(2));
    unread.leave();
    server.wait_until("one is cancelled", |server| held(server) == Some(1));
    server.put("go");
    let answer = read.answer();
    assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"), "{answer:?}");
    assert_eq!(server.read("noted"), "die\n", "no second worker saw it");
}

#[test]
fn callers_who_leave_a_worker_that_does_not_read_pile_nothing_up() {
    let server = sips(4);
    let stuck = server.client().post_later("/", &message(&json!(1), "die", &json!(0)).to_string());
    server.wait_until("it is at it", |server| server.read("noted") == "die\n");
    let long = message(&json!(2), "x", &json!("x".repeat(1 << 20))).to_string();
    let before = server.memory();
    for _ in 0..60 {
        let answer = server.client().request("POST", "/", &["X-Timeout: 30ms"], &long);
        assert_eq!(answer.status, 504, "{answer:?}");
    }
    let grown = server.memory().saturating_sub(before) >> 20;
    assert!(grown < 32, "{grown} MiB are kept for callers who left");
    stuck.leave();
}

/// They are outside the group of the worker, and end when their output has no reader.
#[test]
fn strangers_that_write_into_the_output_of_a_dead_worker_delay_no_call() {
    let program = r#"
import os, subprocess, sys, time
sys.stdin.readline()
for _ in range(8):
    subprocess.Popen(["yes", '{"method":"x"}'], start_new_session=True, stdin=subprocess.DEVNULL)
time.sleep(0.2)
sys.exit(3)
"#;
    let server = Server::with("workers = 1\nretries = 0\nmatching = \"json-id\"\njsonrpc = false")
        .worker("python3 leaves.py")
        .file("leaves.py", program)
        .start();
    let answer = server.answers(r#"{"id":1}"#);
    assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"), "{answer:?}");
    let live = server.admin().get("/live");
    assert!(live.is_within(Duration::from_millis(500)), "{live:?}");
}
