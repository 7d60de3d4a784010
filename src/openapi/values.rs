//! The JSON Schemas of declared parameters.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::carries::Carries;
use super::ecma::{ecma, may_hold};
use crate::base::WholeRegex;
use crate::base::parameter::{Parameter, ParameterKind};

/// Returns the schema of a parameter's values.
pub(super) fn schema(parameter: &Parameter, carries: Carries) -> Value {
    let mut schema = match &parameter.kind {
        ParameterKind::Text { max_length, pattern, one_of } => {
            let mut schema = object(json!({ "type": "string" }));
            if parameter.in_path {
                schema.insert("minLength".to_owned(), 1.into());
            }
            if *max_length < usize::MAX && one_of.is_empty() {
                schema.insert("maxLength".to_owned(), (*max_length).into());
            }
            if !one_of.is_empty() {
                schema.insert("enum".to_owned(), one_of.clone().into());
            }
            let pattern = pattern.as_ref().map(WholeRegex::text);
            add_patterns(
                &mut schema,
                pattern,
                if one_of.is_empty() { carries } else { Carries::Anything },
            );
            schema
        }
        ParameterKind::Int { min, max } => {
            bounded("integer", min.as_deref().map(number), max.as_deref().map(number))
        }
        ParameterKind::Float { min, max } => {
            bounded("number", min.map(Value::from), max.map(Value::from))
        }
        ParameterKind::Bool => object(json!({ "type": "boolean" })),
        ParameterKind::Json => Map::new(),
        ParameterKind::File { max_length } => {
            let mut schema =
                object(json!({ "type": "string", "contentMediaType": "application/octet-stream" }));
            if let Some(most) = max_length {
                schema.insert("description".to_owned(), format!("at most {most} bytes").into());
            }
            schema
        }
    };
    if let Some(default) = &parameter.default {
        schema.insert("default".to_owned(), typed(&parameter.kind, default));
    }
    schema.into()
}

/// Returns a value of this kind as JSON.
pub(super) fn typed(kind: &ParameterKind, text: &str) -> Value {
    match kind {
        ParameterKind::Text { .. } | ParameterKind::File { .. } => text.into(),
        // It was checked against its kind, and is JSON then.
        ParameterKind::Int { .. }
        | ParameterKind::Float { .. }
        | ParameterKind::Bool
        | ParameterKind::Json => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

/// Adds what the operator demands of a text, and what its framing does.
fn add_patterns(schema: &mut Map<String, Value>, own: Option<&str>, carries: Carries) {
    let written = own.and_then(|own| ecma(&format!("^(?:{own})$")));
    if let Some(own) = own {
        let told = format!("must match `{own}`");
        schema.insert("description".to_owned(), told.into());
    }
    let ends = carries
        .pattern()
        .filter(|_| own.is_none_or(|own| written.is_none() || may_hold(own, carries.refused())));
    match (written, ends) {
        (Some(own), Some(ends)) => {
            schema.insert("pattern".to_owned(), own.into());
            schema.insert("allOf".to_owned(), json!([{ "pattern": ends }]));
        }
        (Some(pattern), None) => {
            schema.insert("pattern".to_owned(), pattern.into());
        }
        (None, Some(pattern)) => {
            schema.insert("pattern".to_owned(), pattern.into());
        }
        (None, None) => {}
    }
}

fn bounded(kind: &str, min: Option<Value>, max: Option<Value>) -> Map<String, Value> {
    let mut schema = object(json!({ "type": kind }));
    schema.extend(min.map(|min| ("minimum".to_owned(), min)));
    schema.extend(max.map(|max| ("maximum".to_owned(), max)));
    schema
}

/// A whole number of any size, with all its digits.
fn number(digits: &str) -> Value {
    serde_json::from_str(digits).expect("whole numbers without leading zeros are JSON")
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => unreachable!("{other} is no object"),
    }
}
