//! Programs whose JSON names its ids in other ways than JSON-RPC: build workers, debug adapters and
//! editors' servers.

use serde_json::{Value, json};

use crate::support::{Plan, Server};

fn serving(keys: &str, program: &str) -> Plan {
    let keys =
        format!("workers = 1\nmatching = \"json-id\"\nin_flight = 8\nreply = \"json\"\n{keys}");
    Server::with(&keys).worker("python3 program.py").file("program.py", program)
}

/// Asks many at once, all with the same id, and returns their answers.
fn at_once(server: &Server, questions: &[Value]) -> Vec<Value> {
    let client = server.client();
    let calls: Vec<_> =
        questions.iter().map(|question| client.post_later("/", &question.to_string())).collect();
    calls.into_iter().map(|call| call.answer().json()).collect()
}

#[test]
fn a_build_worker_names_its_id_request_id() {
    // It answers the newest first, as a multiplex worker may.
    let program = r#"
import json, sys
held = []
for line in sys.stdin:
    held.append(json.loads(line))
    if len(held) == 3:
        for request in reversed(held):
            output = " ".join(request["arguments"])
            print(json.dumps({"exitCode": 0, "output": output, "requestId": request["requestId"]}))
        sys.stdout.flush()
        held = []
"#;
    let server = serving("id = \"requestId\"", program).start();
    let questions: Vec<Value> =
        (0..3).map(|n| json!({ "arguments": ["-o", n.to_string()], "requestId": 1 })).collect();
    for (n, answer) in at_once(&server, &questions).into_iter().enumerate() {
        assert_eq!(answer, json!({ "exitCode": 0, "output": format!("-o {n}"), "requestId": 1 }));
    }
}

#[test]
fn a_debug_adapter_names_its_id_seq_and_request_seq_and_sends_events_and_questions() {
    let program = r#"
import json, sys
seq = 0
def say(message):
    global seq
    seq += 1
    body = json.dumps({"seq": seq, **message})
    sys.stdout.write("Content-Length: %d\r\n\r\n%s" % (len(body), body))
    sys.stdout.flush()
refused = 0
while True:
    length = int(sys.stdin.readline().split(":")[1])
    sys.stdin.readline()
    message = json.loads(sys.stdin.read(length))
    if message["type"] == "response":
        refused += message["command"] == "runInTerminal" and not message["success"]
        continue
    say({"type": "event", "event": "output", "body": {"output": "x"}})
    say({"type": "request", "command": "runInTerminal", "arguments": {}})
    say({"type": "response", "request_seq": message["seq"], "success": True,
         "command": message["command"], "body": {"refused": refused}})
"#;
    let keys = "framing = \"content-length\"\nid = { send = \"seq\", reply = \"request_seq\" }";
    let server = serving(keys, program).start();
    for round in 0..3 {
        let question = json!({ "seq": 5, "type": "request", "command": "threads" });
        let answer = server.answers(&question.to_string()).json();
        assert_eq!((&answer["request_seq"], &answer["command"]), (&json!(5), &json!("threads")));
        assert_eq!(answer["body"]["refused"], round, "its questions are answered");
    }
    for reason in ["notification", "question"] {
        let name = format!("httpipe_messages_dropped_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&name), 3.0, "{reason}");
    }
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
}

/// Questions by lines, answers with a header.
#[test]
fn an_editors_server_sends_events_without_an_id() {
    let program = r#"
import json, sys
def say(message):
    body = json.dumps(message) + "\n"
    sys.stdout.write("Content-Length: %d\r\n\r\n%s" % (len(body), body))
    sys.stdout.flush()
say({"seq": 0, "type": "event", "event": "typingsInstallerPid", "body": {"pid": 1}})
for line in sys.stdin:
    message = json.loads(line)
    if message["command"] == "open":
        opened = message["arguments"]["file"]
        continue
    say({"seq": 0, "type": "event", "event": "telemetry"})
    say({"seq": 0, "type": "response", "command": message["command"],
         "request_seq": message["seq"], "success": True, "body": opened})
"#;
    let keys = "framing = { send = \"line\", reply = \"content-length\" }\n\
        id = { send = \"seq\", reply = \"request_seq\" }\n\
        hello = [{ send = '{\"seq\":0,\"type\":\"request\",\"command\":\"open\",\"arguments\":{\"file\":\"a.ts\"}}', answer = false }]";
    let server = serving(keys, program).start();
    let questions: Vec<Value> = (0..5)
        .map(|n| json!({ "seq": 1, "type": "request", "command": format!("c{n}") }))
        .collect();
    for (n, answer) in at_once(&server, &questions).into_iter().enumerate() {
        assert_eq!((&answer["request_seq"], &answer["body"]), (&json!(1), &json!("a.ts")));
        assert_eq!(answer["command"], format!("c{n}"));
    }
}

#[test]
fn an_id_that_cannot_be_one_is_a_problem() {
    for (keys, problem) in [
        ("id = \"seq\"", "`id` needs `matching = \"json-id\"`"),
        ("matching = \"json-id\"\nid = \"a b\"", "an id cannot be called `a b`"),
        ("matching = \"json-id\"\nid = \"type\"", "`type` cannot hold an id"),
        ("matching = \"json-id\"\nid = \"seq\"\njsonrpc = true", "`jsonrpc` needs"),
        ("stray = \"drop\"", "with `order` any message may be an answer"),
    ] {
        let refused = Server::with(keys).worker("cat").refused();
        assert!(refused.stderr.contains(problem), "{keys}: {}", refused.stderr);
    }
}
