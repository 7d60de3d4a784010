//! The bodies that programs of any protocol take.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::carries::Carries;
use super::values::{object, schema, typed};
use crate::base::example::example;
use crate::base::parameter::ParameterKind;
use crate::base::template::{Form, Segment, Slot};
use crate::config::{CallSettings, RouteSettings, SendShape, WireSettings};

/// What a message of JSON-RPC is called in the components.
pub(super) const MESSAGE: &str = "JsonRpcMessage";
/// Most messages of one batch.
pub(super) const BATCH_MOST: usize = 100;

const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data";
const FORM: &str = "application/x-www-form-urlencoded";

/// Returns true if a request of this method has a body as a rule.
pub(super) fn has_body(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "DELETE")
}

/// Returns the forms in which `{body}` stands in the question.
fn body_forms(send: &SendShape) -> Vec<Form> {
    let SendShape::Template(template) = send else { return Vec::new() };
    let slots = template.segments.iter().filter_map(|segment| match segment {
        Segment::Slot(Slot::Body(form)) => Some(*form),
        Segment::Slot(_) | Segment::Literal(_) => None,
    });
    slots.collect()
}

/// Returns true if the declared parameters outside of the path come in the body.
pub(super) fn holds_parameters(method: &str, call: &CallSettings) -> bool {
    let is_read = matches!(call.send, SendShape::Http) || !body_forms(&call.send).is_empty();
    has_body(method) && !is_read
}

/// Returns the body of a route that passes JSON-RPC on.
pub(super) fn of_json_rpc(wire: &WireSettings) -> Value {
    let message = json!({ "$ref": format!("#/components/schemas/{MESSAGE}") });
    let batch = json!({ "type": "array", "minItems": 1, "maxItems": BATCH_MOST, "items": {} });
    let schema = match wire.stream {
        Some(_) => message,
        None => json!({ "anyOf": [message, batch] }),
    };
    let example = if wire.is_json_rpc {
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })
    } else {
        json!({ "id": 1 })
    };
    let media = json!({ "schema": schema, "example": example });
    json!({ "required": true, "content": { JSON: media } })
}

/// Adds to the body of a route that it takes many items: an array, or a line each.
pub(super) fn add_items(body: &mut Value, most: u64) {
    let Some(content) = body["content"].as_object_mut() else { return };
    let text = format!("Up to {most} items, a JSON document a line; each is answered in a line");
    let lines = json!({ "schema": { "type": "string", "description": text } });
    content.insert("application/jsonl".to_owned(), lines);
}

/// Returns the schema of one message. `strictly`: what has no `method` is none.
pub(super) fn message_schema(strictly: bool) -> Value {
    let mut schema = object(json!({
        "description": "A question, a notification, which has no `id`, or an answer to the program",
        "type": "object",
        "properties": { "id": {}, "method": {}, "params": {}, "result": {}, "error": {} },
    }));
    if strictly {
        let question = json!({
            "required": ["method"],
            "properties": { "method": { "type": "string" } },
        });
        let answer = json!({ "required": ["id", "result"] });
        let error = json!({ "required": ["id", "error"] });
        schema.insert("anyOf".to_owned(), json!([question, answer, error]));
    }
    schema.into()
}

/// Returns the body of a route; `None` if it takes none.
pub(super) fn of_program(
    method: &str,
    route: &RouteSettings,
    call: &CallSettings,
    wire: &WireSettings,
) -> Option<Value> {
    if !has_body(method) {
        return None;
    }
    if holds_parameters(method, call) {
        return of_parameters(route, call, wire);
    }
    let carries = Carries::of(&wire.framing.send);
    let content = match &body_forms(&call.send)[..] {
        [] => json!({ "*/*": {} }),
        forms if forms.contains(&Form::Line) => json!({ JSON: { "example": { "a": 1 } } }),
        forms => {
            let is_any = forms.iter().all(|form| *form == Form::Base64)
                || (forms.iter().all(|form| *form == Form::AsIs) && carries == Carries::Anything);
            let mut text = object(json!({ "type": "string" }));
            if forms.contains(&Form::AsIs) {
                text.extend(carries.pattern_of_body().map(|it| ("pattern".to_owned(), it.into())));
            }
            let mut content = object(json!({ "text/plain": { "schema": text, "example": "a b" } }));
            if is_any {
                content.insert("application/octet-stream".to_owned(), json!({}));
            }
            content.into()
        }
    };
    Some(json!({ "description": "The body is part of the question", "content": content }))
}

/// Parameters of any name. A form has texts only, so a list would be a name that is given twice.
pub(super) fn any_texts() -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean", "null"] });
    json!({ "type": "object", "additionalProperties": scalar })
}

/// A body with the declared parameters; they may as well be in the query.
fn of_parameters(route: &RouteSettings, call: &CallSettings, wire: &WireSettings) -> Option<Value> {
    let own: Vec<_> = route.parameters.iter().filter(|it| !it.in_path).collect();
    if own.is_empty() {
        let any = json!({ "type": "object" });
        let content = json!({ JSON: { "schema": any }, FORM: { "schema": any_texts() } });
        let takes_any = matches!(call.send, SendShape::Json) && route.parameters.is_empty();
        return takes_any.then(|| json!({ "content": content }));
    }
    let (mut properties, mut samples) = (Map::new(), Map::new());
    for parameter in &own {
        let carries = Carries::of_parameter(parameter, route, call, wire);
        properties.insert(parameter.key.to_string(), schema(parameter, carries));
        if let Some(sample) = example(parameter, 0) {
            samples.insert(parameter.key.to_string(), typed(&parameter.kind, &sample));
        }
    }
    let required: Vec<&str> =
        own.iter().filter(|it| it.default.is_none()).map(|it| &*it.key).collect();
    let mut schema = object(json!({ "type": "object", "properties": properties }));
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.clone().into());
    }
    let has = |of: fn(&ParameterKind) -> bool| own.iter().any(|it| of(&it.kind));
    let content = if has(ParameterKind::is_file) {
        // The header of a part holds no control characters.
        schema
            .insert("propertyNames".to_owned(), json!({ "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$" }));
        json!({ MULTIPART: { "schema": schema } })
    } else if has(|kind| *kind == ParameterKind::Json) {
        // A form may hold it too, as a text; few clients know how to write it.
        json!({ JSON: { "schema": schema, "example": samples } })
    } else {
        let media = json!({ "schema": schema, "example": samples });
        json!({ FORM: media, JSON: media })
    };
    Some(json!({
        "description": "The parameters may stand in the query instead",
        "required": !required.is_empty(),
        "content": content,
    }))
}
