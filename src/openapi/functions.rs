//! What a route of a function takes: from the signature, in the words of OpenAPI.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::hoist::Hoist;
use super::values::object;
use crate::config::{FunctionCall, RouteSettings};
use crate::python::{Function, FunctionParameter, ScalarType};

/// Where a value of an argument is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArgumentPlace {
    Path,
    Query,
}

/// Returns the parameters of the path and the query. `in_path` are the names in the path.
pub(super) fn parameters(
    route: &RouteSettings,
    call: &FunctionCall,
    function: &Function,
    in_path: &[String],
    hoist: &mut Hoist,
) -> Vec<Value> {
    let mut parameters = Vec::new();
    let mut names = in_path.iter();
    for (place, declared) in route.parameters.iter().zip(&call.declared) {
        let argument = &call.arguments[*declared];
        let own = of_argument(function, &argument.name);
        let is_required = place.in_path || argument.required;
        let (name, at) = if place.in_path {
            (names.next().map_or(&*place.key, String::as_str), ArgumentPlace::Path)
        } else {
            (&*place.key, ArgumentPlace::Query)
        };
        parameters.push(parameter(name, at, is_required, own, hoist));
    }
    let has_body = has_body(route);
    for (index, argument) in call.arguments.iter().enumerate() {
        // What the body takes need not be said twice.
        let is_in_query = call.open_query && (!has_body || call.raw.is_some());
        if is_in_query && call.raw != Some(index) && !call.declared.contains(&index) {
            let own = of_argument(function, &argument.name);
            parameters.push(parameter(
                &argument.name,
                ArgumentPlace::Query,
                argument.required,
                own,
                hoist,
            ));
        }
    }
    parameters
}

/// Returns the body, if the route takes one.
pub(super) fn body(
    route: &RouteSettings,
    call: &FunctionCall,
    function: &Function,
    hoist: &mut Hoist,
) -> Option<Value> {
    if !has_body(route) {
        return None;
    }
    if let Some(raw) = call.raw {
        let argument = &call.arguments[raw];
        let own = of_argument(function, &argument.name);
        let kind = own.and_then(|own| own.schema["contentMediaType"].as_str());
        return Some(json!({
            "description": format!("`{}`: any bytes", argument.name),
            "required": argument.required,
            "content": { kind.unwrap_or("application/octet-stream"): {} },
        }));
    }
    let mut properties = Map::new();
    let mut texts = Map::new();
    let (mut are_texts, mut samples) = (true, Map::new());
    let mut required: Vec<&str> = Vec::new();
    let others =
        call.arguments.iter().enumerate().filter(|(index, _)| !call.declared.contains(index));
    for (_, argument) in others {
        let schema = match of_argument(function, &argument.name) {
            Some(own) => described(own, hoist),
            None => json!({}),
        };
        are_texts &= argument.scalar.is_some() || argument.is_any;
        texts.insert(argument.name.to_string(), textual(&schema));
        properties.insert(argument.name.to_string(), schema);
        if argument.required {
            required.push(&argument.name);
            let own = of_argument(function, &argument.name);
            let sample = own.and_then(|own| sample(&own.schema));
            samples.extend(sample.map(|sample| (argument.name.to_string(), sample)));
        }
    }
    if properties.is_empty() && call.others.is_none() {
        return None;
    }
    let others = match &function.rest {
        Some(rest) => hoist.hoist(rest),
        None => false.into(),
    };
    let whole = |properties: Map<String, Value>| {
        let mut schema = object(json!({ "type": "object", "properties": properties }));
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.clone().into());
        }
        schema.insert("additionalProperties".to_owned(), others.clone());
        schema
    };
    let example = (samples.len() == required.len()).then_some(samples);
    let media = |schema| {
        let mut media = object(json!({ "schema": schema }));
        media.extend(example.clone().map(|example| ("example".to_owned(), example.into())));
        media
    };
    let mut content = object(json!({ "application/json": media(whole(properties)) }));
    if are_texts {
        let form = media(whole(texts));
        content.insert("application/x-www-form-urlencoded".to_owned(), form.into());
    }
    Some(json!({ "required": !required.is_empty(), "content": content }))
}

fn has_body(route: &RouteSettings) -> bool {
    !matches!(route.method.as_str(), "GET" | "HEAD")
}

fn of_argument<'a>(function: &'a Function, name: &str) -> Option<&'a FunctionParameter> {
    function.parameters.iter().find(|parameter| parameter.name == name)
}

/// The schema of a parameter, with its default.
fn described(parameter: &FunctionParameter, hoist: &mut Hoist) -> Value {
    let mut schema = hoist.hoist(&parameter.schema);
    if let (Some(default), Some(fields)) = (&parameter.default, schema.as_object_mut()) {
        fields.entry("default").or_insert_with(|| default.clone());
    }
    schema
}

fn parameter(
    name: &str,
    place: ArgumentPlace,
    is_required: bool,
    own: Option<&FunctionParameter>,
    hoist: &mut Hoist,
) -> Value {
    let schema = own.map_or_else(|| json!({}), |own| described(own, hoist));
    let at = if place == ArgumentPlace::Path { "path" } else { "query" };
    let mut parameter = object(json!({ "name": name, "in": at, "required": is_required }));
    let is_scalar = own.is_some_and(|own| ScalarType::of(&own.schema).is_some());
    let sample = own.filter(|_| is_required).and_then(|own| sample(&own.schema));
    let is_any = schema.as_object().is_some_and(|fields| !fields.contains_key("type"))
        && own.is_none_or(|own| own.schema.as_object().is_some_and(Map::is_empty));
    if is_scalar || is_any {
        parameter.insert("schema".to_owned(), textual(&schema));
        parameter.extend(sample.map(|sample| ("example".to_owned(), sample)));
    } else {
        let content = json!({ "application/json": { "schema": schema } });
        parameter.insert("content".to_owned(), content);
    }
    parameter.into()
}

/// Makes up a value of a schema, if that is easy.
fn sample(schema: &Value) -> Option<Value> {
    if let Some(example) = schema["examples"].get(0).or(schema["enum"].get(0)) {
        return Some(example.clone());
    }
    let scalar = ScalarType::of(schema)?;
    let texts = ["10", "1.5", "true", "hello"];
    let found = texts.iter().find_map(|text| scalar.read(text).ok())?;
    serde_json::from_str(&found).ok()
}

/// The schema of the values that a text can stand for: no text stands for `null`, and one whose
/// type is not known stays a text.
fn textual(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut fields = fields.clone();
    if let Some(options) = fields.get("anyOf").and_then(Value::as_array) {
        let options: Vec<Value> =
            options.iter().filter(|it| it["type"] != "null").cloned().collect();
        if let [Value::Object(only)] = &options[..] {
            let only = only.clone();
            fields.shift_remove("anyOf");
            for (key, value) in only {
                fields.entry(key).or_insert(value);
            }
        } else {
            fields.insert("anyOf".to_owned(), options.into());
        }
    }
    if let Some(Value::Array(allowed)) = fields.get_mut("enum") {
        allowed.retain(|one| !one.is_null());
    }
    if fields.get("default").is_some_and(Value::is_null) {
        fields.shift_remove("default");
    }
    let says_what = ["type", "anyOf", "enum", "const", "$ref"];
    if !says_what.iter().any(|key| fields.contains_key(*key)) {
        fields.insert("type".to_owned(), "string".into());
    }
    fields.into()
}
