//! Servers that speak JSON-RPC and want to be greeted: `json-id`, `content-length`.

use serde_json::{Value, json};

use crate::serve::{serve, serve_with};

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
