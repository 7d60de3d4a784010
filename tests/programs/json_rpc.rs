//! Servers that speak JSON-RPC and want to be greeted: `json-id`, `content-length`.

use serde_json::{Value, json};

use crate::serve::{mcp_clients, python_mcp_clients, serve, serve_with, start};
use crate::support::Server;

#[test]
fn a_model_context_server_answers_a_short_call_before_a_long_one() {
    let needs = ["node_modules/.bin/mcp-server-everything"];
    let Some(server) = serve_with("mcp", &needs, &["--workers", "1"]) else { return };
    let arguments = json!({ "duration": 2, "steps": 2 });
    let params = json!({ "name": "trigger-long-running-operation", "arguments": arguments,
        "_meta": { "progressToken": "p" } });
    let question = json!({ "jsonrpc": "2.0", "id": "mine", "method": "tools/call",
        "params": params });
    let long = server.client().post_later("/", &question.to_string());
    server.wait_until("the long call is in the worker", |server| {
        server.metric("httpipe_workers{state=\"busy\"}") == 1.0
    });
    let answer = server.client().get("/sum?a=2&b=3").json();
    assert_eq!(answer["result"]["content"][0]["text"], "The sum of 2 and 3 is 5.");
    assert_eq!(server.metric("httpipe_calls_total"), 1.0, "the long call goes on");
    let answer = long.answer().json();
    assert_eq!(answer["id"], "mine", "{answer}");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("Long running operation completed"), "{answer}");
}

#[test]
fn a_model_context_server_gives_each_caller_its_own_id_back() {
    let needs = ["node_modules/.bin/mcp-server-everything"];
    let Some(server) = serve_with("mcp", &needs, &["--workers", "1"]) else { return };
    let client = server.client();
    let calls: Vec<_> = (0..12)
        .map(|index| {
            // Every caller begins to count at 1, some with texts.
            let id = if index % 2 == 0 { json!(1) } else { json!("1") };
            let params = json!({ "name": "get-sum", "arguments": { "a": index, "b": 1 } });
            let question =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
            (index, id, client.post_later("/", &question.to_string()))
        })
        .collect();
    for (index, id, call) in calls {
        let answer: Value = call.answer().json();
        assert_eq!(answer["id"], id);
        let text = format!("The sum of {index} and 1 is {}.", index + 1);
        assert_eq!(answer["result"]["content"][0]["text"], text);
    }
    let unknown = r#"{"jsonrpc":"2.0","id":7,"method":"nope/nope"}"#;
    assert_eq!(client.post("/", unknown).json()["error"]["code"], -32601);
}

#[test]
fn a_model_context_server_has_no_environment_to_show() {
    let needs = ["node_modules/.bin/mcp-server-everything"];
    let Some(server) = serve_with("mcp", &needs, &["--workers", "1"]) else { return };
    let question = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get-env"}}"#;
    let answer = server.client().post("/", question).json();
    let text = answer["result"]["content"][0]["text"].as_str().expect("a text");
    let shown: Value = serde_json::from_str(text).expect("the tool shows JSON");
    let names: Vec<_> = shown.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["PATH"]);
}

#[test]
fn a_language_server_knows_the_script_it_was_told_at_its_start() {
    let needs = ["node_modules/.bin/bash-language-server"];
    let Some(server) = serve("bash-language-server", &needs) else { return };
    let answer = server.client().get("/symbols").json();
    assert_eq!(answer["result"][0]["name"], "greet", "{answer}");
    let answer = server.client().get("/hover?line=3&character=1").json();
    let text = answer["result"]["contents"]["value"].as_str().unwrap_or_default();
    assert!(text.starts_with("Function: **greet**"), "{answer}");
    let answer = server.client().get("/hover?line=1&character=900").json();
    assert_eq!(answer["result"], Value::Null, "{answer}");
}

const SDK: [&str; 3] = [
    "node",
    "node_modules/.bin/mcp-server-everything",
    "node_modules/@modelcontextprotocol/sdk/package.json",
];

/// Two clients made with the SDK use the same ids and the same progress tokens.
#[test]
fn a_client_that_cancels_leaves_another_with_the_same_ids_alone() {
    let Some(server) = serve_with("mcp", &SDK, &["--workers", "1"]) else { return };
    let [left, stayed] = serde_json::from_value::<[Value; 2]>(mcp_clients(&server, "cancel"))
        .expect("what both clients saw");
    assert_eq!(left["progress"], json!([1]), "{left}");
    assert!(left["result"].as_str().is_some_and(|it| it.starts_with("failed")), "{left}");
    assert_eq!(left["sum"], "The sum of 0 and 1 is 1.", "its session goes on");
    assert_eq!(stayed["progress"], json!([1, 2, 3, 4, 5]), "its own, and all of it");
    let result = stayed["result"].as_str().unwrap_or_default();
    assert!(result.starts_with("Long running operation completed"), "{stayed}");
    assert_eq!(stayed["sum"], "The sum of 1 and 1 is 2.");
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0, "the worker is still the same");
}

/// The SDK for Python tells of its cancel in its own way.
#[test]
fn a_client_in_python_that_cancels_leaves_another_alone() {
    let needs = ["node_modules/.bin/mcp-server-everything", "mcp/mcp/client/streamable_http.py"];
    let Some(server) = serve_with("mcp", &needs, &["--workers", "1"]) else { return };
    let [left, stayed] = serde_json::from_value::<[Value; 2]>(python_mcp_clients(&server))
        .expect("what both clients saw");
    assert_eq!(left["progress"], json!([1.0]), "{left}");
    assert_eq!(
        (&left["result"], &left["sum"]),
        (&json!("cancelled"), &json!("The sum of 0 and 1 is 1."))
    );
    assert_eq!(stayed["progress"], json!([1.0, 2.0, 3.0, 4.0, 5.0]), "its own, and all of it");
    let result = stayed["result"].as_str().unwrap_or_default();
    assert!(result.starts_with("Long running operation completed"), "{stayed}");
    assert_eq!(stayed["sum"], "The sum of 1 and 1 is 2.");
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0, "the worker is still the same");
}

#[test]
fn a_client_of_the_sdk_has_a_session_of_ten_calls() {
    let Some(server) = serve_with("mcp", &SDK, &["--workers", "1"]) else { return };
    let seen = mcp_clients(&server, "session");
    assert_eq!(seen["server"], "mcp-servers/everything");
    assert_eq!(seen["session"].as_str().map(str::len), Some(32), "{seen}");
    let done = seen["done"].as_array().expect("a list");
    assert_eq!(done.len(), 10);
    assert!(done.iter().all(|step| step[1] == "ok"), "{seen}");
}

/// The server asks only clients that say in `initialize` what they can, which `hello` does.
#[test]
fn a_server_asks_the_client_that_it_works_for() {
    let plan = Server::config(
        r#"
[pool.everything]
command = ["sh", "-c", "exec env -i PATH=\"$PATH\" mcp-server-everything stdio"]
matching = "json-id"
reply = "json"
workers = 1
hello = [
  { send = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"sampling":{},"elicitation":{}},"clientInfo":{"name":"httpipe","version":"1"}}}' },
  { send = '{"jsonrpc":"2.0","method":"notifications/initialized"}', answer = false },
]

[[route]]
match = "POST /"
"#,
    );
    let Some(server) = start(plan, &SDK) else { return };
    let seen = mcp_clients(&server, "asked");
    assert_eq!(seen["questions"], json!(["sampling/createMessage", "elicitation/create"]));
    assert!(seen["sampled"].as_str().is_some_and(|it| it.contains("sampled words")), "{seen}");
    assert!(seen["elicited"].as_str().is_some_and(|it| it.contains("declined")), "{seen}");
}

#[test]
fn an_editors_server_names_its_ids_in_its_own_way() {
    let needs = ["node_modules/.bin/tsserver"];
    let Some(server) = serve_with("tsserver", &needs, &["--workers", "1"]) else { return };
    let client = server.client();
    let hovers = || client.get_later("/hover?line=4&offset=1");
    let calls: Vec<_> = (0..5).map(|_| hovers()).collect();
    let references = client.get("/references?line=1&offset=10").json();
    assert_eq!(references["body"]["refs"].as_array().map(Vec::len), Some(2), "{references}");
    for call in calls {
        let answer = call.answer().json();
        assert_eq!((&answer["type"], &answer["request_seq"]), (&json!("response"), &json!(0)));
        let shown = "function greet(name: string): string";
        assert_eq!(answer["body"]["displayString"], shown, "{answer}");
    }
    let nothing = client.get("/hover?line=5&offset=90").json();
    assert_eq!((&nothing["success"], &nothing["request_seq"]), (&json!(false), &json!(0)));
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
}
