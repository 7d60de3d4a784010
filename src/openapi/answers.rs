//! What a call is answered with if it goes well.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::values::object;
use crate::base::pattern::{CaptureKind, Pattern};
use crate::config::{CallSettings, ReplyShape, WireSettings};

const JSON: &str = "application/json";
const JSON_LINES: &str = "application/jsonl";
const EVENTS: &str = "text/event-stream";

/// Returns what a route with a fixed answer says.
pub(super) fn of_text(text: &str, content_type: &str) -> Value {
    let mut media = of_type(content_type);
    media.insert("example".to_owned(), text.into());
    response("Always the same", &json!({ content_type: media }), false)
}

/// Returns what a program of any protocol answers.
pub(super) fn of_program(call: &CallSettings, wire: &WireSettings) -> Map<String, Value> {
    let is_kept = call.cache.is_some();
    let own = call.content_type.as_str();
    let mut responses = Map::new();
    let (description, content) = match &wire.reply {
        _ if wire.stream.is_some() => {
            ("The parts of the answer, as they come", in_parts(own, wire))
        }
        ReplyShape::Json => ("The answer of the program", json!({ JSON: {} })),
        ReplyShape::Pattern(pattern) if pattern.has_fields() => {
            ("The answer of the program", json!({ JSON: { "schema": fields(pattern) } }))
        }
        ReplyShape::Http => {
            let any = json!({ "description": "What the program says", "content": { "*/*": {} } });
            responses.insert("default".to_owned(), any);
            ("What the program says", json!({ "*/*": {} }))
        }
        ReplyShape::Plain | ReplyShape::Pattern(_) | ReplyShape::Kinds => {
            ("The answer of the program", json!({ own: of_type(own) }))
        }
    };
    responses.insert("200".to_owned(), response(description, &content, is_kept));
    responses
}

/// Returns what a program of JSON-RPC answers.
pub(super) fn of_json_rpc(wire: &WireSettings) -> Map<String, Value> {
    let mut content = if wire.stream.is_some() { Map::new() } else { object(json!({ JSON: {} })) };
    if wire.is_json_rpc || wire.stream.is_some() {
        content.insert(EVENTS.to_owned(), events(&json!({})));
    }
    let told = "The answer, with the id of the question; to a batch, a list of them";
    let mut responses = Map::new();
    responses.insert("200".to_owned(), response(told, &content.into(), false));
    let accepted = "Passed on: a notification, or an answer to the program, has no answer";
    responses.insert("202".to_owned(), bare(accepted));
    responses
}

/// Returns what a function answers whose results have this schema.
pub(super) fn of_function(call: &CallSettings, returns: Option<Value>, streams: bool) -> Value {
    let own = call.content_type.as_str();
    let is_kept = call.cache.is_some();
    if streams {
        let part = returns.unwrap_or_else(|| json!({}));
        let content = json!({ JSON_LINES: lines(&part), EVENTS: events(&part) });
        return response("The parts of the answer, as they come", &content, is_kept);
    }
    let Some(schema) = returns else {
        // Nothing is known: JSON as a rule, or bytes.
        return response("The result", &json!({ JSON: {}, own: of_type(own) }), is_kept);
    };
    let mut content = Map::new();
    let options = schema["anyOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
    let (raw, others): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|it| it.get("contentEncoding").is_some());
    if let Some(raw) = raw.first() {
        let kind = raw["contentMediaType"].as_str().or(schema["contentMediaType"].as_str());
        content.insert(kind.unwrap_or(own).to_owned(), json!({}));
        if !others.is_empty() {
            content.insert(JSON.to_owned(), json!({ "schema": { "anyOf": others } }));
        }
    } else {
        content.insert(JSON.to_owned(), json!({ "schema": schema }));
    }
    response("The result", &content.into(), is_kept)
}

/// Adds the outcomes of many items, one a line.
pub(super) fn add_outcomes(responses: &mut Map<String, Value>) {
    let outcome = json!({
        "type": "object",
        "description": "What became of one item; the last line of a batch that ended before its \
                        time has `problem` alone",
        "properties": {
            "index": { "type": "integer", "minimum": 0 },
            "status": { "type": "integer" },
            "body": {},
            "body_base64": { "type": "string" },
            "problem": { "type": "object" },
        },
    });
    if let Some(content) = responses["200"]["content"].as_object_mut() {
        content.insert(JSON_LINES.to_owned(), lines(&outcome));
    }
}

/// Returns the answer to a caller who has the kept answer already.
pub(super) fn not_modified() -> Value {
    json!({
        "description": "The answer is the one with the `ETag` that the request names",
        "headers": kept_headers(),
    })
}

fn in_parts(own: &str, wire: &WireSettings) -> Value {
    if wire.reply == ReplyShape::Plain {
        return json!({ own: of_type(own), EVENTS: events(&json!({ "type": "string" })) });
    }
    let part = match &wire.reply {
        ReplyShape::Pattern(pattern) if pattern.has_fields() => fields(pattern),
        ReplyShape::Pattern(_) => {
            return json!({ own: of_type(own), EVENTS: events(&json!({ "type": "string" })) });
        }
        _ => json!({}),
    };
    json!({ JSON_LINES: lines(&part), EVENTS: events(&part) })
}

/// A document a line. `itemSchema` is what OpenAPI 3.2 calls the schema of each.
fn lines(part: &Value) -> Value {
    json!({ "schema": { "type": "string" }, "x-itemSchema": part })
}

/// Events. The data of each is a part; the last one is `done`, or `error` with a problem.
fn events(part: &Value) -> Value {
    json!({ "schema": { "type": "string" }, "x-itemSchema": part })
}

fn fields(pattern: &Pattern) -> Value {
    let schema = |kind| match kind {
        CaptureKind::Text => json!({ "type": "string" }),
        CaptureKind::Int => json!({ "type": "integer" }),
        CaptureKind::Float => json!({ "type": "number" }),
        CaptureKind::Json => json!({}),
        CaptureKind::Base64 => json!({ "type": "string", "contentEncoding": "base64" }),
    };
    let names: Vec<&str> = pattern.fields().map(|(name, _)| name).collect();
    let properties: Map<String, Value> =
        pattern.fields().map(|(name, kind)| (name.to_owned(), schema(kind))).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

/// What is known of a body by its content type alone.
fn of_type(content_type: &str) -> Map<String, Value> {
    let is_text = content_type.to_ascii_lowercase().starts_with("text/");
    if is_text { object(json!({ "schema": { "type": "string" } })) } else { Map::new() }
}

fn response(description: &str, content: &Value, is_kept: bool) -> Value {
    let mut headers = object(json!({
        "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" },
        "Server-Timing": { "$ref": "#/components/headers/Server-Timing" },
    }));
    if is_kept {
        headers.extend(kept_headers());
    }
    json!({ "description": description, "headers": headers, "content": content })
}

fn bare(description: &str) -> Value {
    json!({
        "description": description,
        "headers": {
            "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" },
            "Server-Timing": { "$ref": "#/components/headers/Server-Timing" },
        },
    })
}

fn kept_headers() -> Map<String, Value> {
    object(json!({
        "ETag": { "$ref": "#/components/headers/ETag" },
        "Cache-Control": { "$ref": "#/components/headers/Cache-Control" },
        "Cache-Status": { "$ref": "#/components/headers/Cache-Status" },
    }))
}

/// Returns the headers that responses refer to.
pub(super) fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The id of the request, as the log has it",
            "required": true,
            "schema": { "type": "string" },
        },
        "Server-Timing": {
            "description": "How long the call waited (`queue`), was on its way to another server and back (`spread`), and worked (`work`), in milliseconds",
            "schema": { "type": "string" },
        },
        "ETag": { "description": "Names the answer", "schema": { "type": "string" } },
        "Cache-Control": {
            "description": "How long the answer is kept",
            "schema": { "type": "string" },
        },
        "Cache-Status": {
            "description": "Whether the answer was kept from an earlier call",
            "schema": { "type": "string" },
        },
    })
}
