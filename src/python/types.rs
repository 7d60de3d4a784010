//! The types whose values can be written as a text, and what a value of them must be.
//!
//! Pure. The worker is the authority on types. The server looks at scalars only: it turns texts of
//! paths, queries and forms into JSON, and refuses what the worker would refuse, in the same words
//! (`python/refusals.json` holds both to them).

use std::borrow::Cow;

use serde_json::Value;

use crate::base::parameter::{canonical_int, is_json_number};

/// What a scalar is.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarType {
    /// A whole number of any size.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A string. The worker may ask for more, such as a date.
    Text,
    /// One of these.
    OneOf(Vec<Value>),
    /// Nothing.
    Null,
    /// A value of any of these types.
    Union(Vec<ScalarType>),
}

impl ScalarType {
    /// Reads the scalar that a JSON schema describes; `None` if it describes something else.
    pub fn of(schema: &Value) -> Option<Self> {
        if let Some(allowed) = schema["enum"].as_array() {
            let are_scalars = allowed.iter().all(|one| !one.is_array() && !one.is_object());
            return are_scalars.then(|| Self::OneOf(allowed.clone()));
        }
        if let Some(value) = schema.get("const") {
            return Self::of(&serde_json::json!({ "enum": [value] }));
        }
        if let Some(several) = schema["anyOf"].as_array() {
            return several.iter().map(Self::of).collect::<Option<_>>().map(Self::Union);
        }
        match schema["type"].as_str()? {
            "integer" => Some(Self::Int),
            "number" => Some(Self::Float),
            "boolean" => Some(Self::Bool),
            "string" if schema["contentEncoding"].is_null() => Some(Self::Text),
            "null" => Some(Self::Null),
            _ => None,
        }
    }

    /// Turns a text of a path, a query or a form into JSON.
    ///
    /// # Errors
    ///
    /// What the value must be.
    pub fn read<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, String> {
        let as_string = || Cow::Owned(Value::from(text).to_string());
        let read = match self {
            Self::Int => canonical_int(text).map(Cow::Owned),
            Self::Float => is_json_number(text.as_bytes()).then_some(Cow::Borrowed(text)),
            Self::Bool => matches!(text, "true" | "false").then_some(Cow::Borrowed(text)),
            Self::Text => Some(as_string()),
            Self::OneOf(allowed) => {
                let is_it = |one: &&Value| match one {
                    Value::String(one) => one == text,
                    other => *text == *other.to_string(),
                };
                allowed.iter().find(is_it).map(|one| Cow::Owned(one.to_string()))
            }
            // No text stands for nothing: the parameter is left out.
            Self::Null => None,
            Self::Union(several) => {
                // A string takes every text, so it comes last.
                let (texts, others): (Vec<_>, Vec<_>) =
                    several.iter().partition(|one| **one == Self::Text);
                others.into_iter().chain(texts).find_map(|one| one.read(text).ok())
            }
        };
        read.ok_or_else(|| self.wanted())
    }

    /// Returns true if this JSON value is of the type. Nothing is converted: `1.0` is no int, and
    /// `"1"` is no number.
    pub fn takes(&self, json: &str) -> bool {
        let first = json.as_bytes().first();
        let is_number = matches!(first, Some(b'-' | b'0'..=b'9'));
        match self {
            Self::Int => is_number && !json.contains(['.', 'e', 'E']),
            Self::Float => is_number,
            Self::Bool => matches!(first, Some(b't' | b'f')),
            Self::Text => first == Some(&b'"'),
            Self::OneOf(allowed) => {
                serde_json::from_str::<Value>(json).is_ok_and(|value| allowed.contains(&value))
            }
            Self::Null => first == Some(&b'n'),
            Self::Union(several) => several.iter().any(|one| one.takes(json)),
        }
    }

    /// Says what a value must be, as the end of a sentence about it.
    pub fn wanted(&self) -> String {
        match self {
            Self::Int => "must be a whole number, such as 42".to_owned(),
            Self::Float => "must be a number, such as 1.5".to_owned(),
            Self::Bool => "must be `true` or `false`".to_owned(),
            Self::Text => "must be a string".to_owned(),
            Self::OneOf(allowed) => {
                let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
                format!("must be one of {}", allowed.join(", "))
            }
            Self::Null => "must be `null`".to_owned(),
            Self::Union(several) => {
                let mut others = several.iter().filter(|one| **one != Self::Null);
                if let (Some(only), None) = (others.next(), others.next()) {
                    return only.wanted();
                }
                let mut all: Vec<String> = Vec::new();
                for one in several.iter().map(Self::wanted) {
                    if !all.contains(&one) {
                        all.push(one);
                    }
                }
                all.join(" or ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scalar(schema: &Value) -> ScalarType {
        ScalarType::of(schema).expect("a scalar")
    }

    #[test]
    fn texts_become_json_by_their_types() {
        let optional =
            json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }, { "type": "null" }] });
        for (schema, text, json) in [
            (json!({ "type": "integer" }), "007", Some("7")),
            (
                json!({ "type": "integer" }),
                "1180591620717411303424",
                Some("1180591620717411303424"),
            ),
            (json!({ "type": "integer" }), "1.0", None),
            (json!({ "type": "integer" }), "", None),
            (json!({ "type": "number" }), "1e3", Some("1e3")),
            (json!({ "type": "number" }), "NaN", None),
            (json!({ "type": "boolean" }), "true", Some("true")),
            (json!({ "type": "boolean" }), "True", None),
            (json!({ "type": "string" }), "a\"b", Some("\"a\\\"b\"")),
            (json!({ "enum": ["red", 1] }), "red", Some("\"red\"")),
            (json!({ "enum": ["red", 1] }), "1", Some("1")),
            (json!({ "enum": ["red", 1] }), "blue", None),
            (json!({ "type": "null" }), "", None),
            (optional.clone(), "12", Some("12")),
            (optional, "x", Some("\"x\"")),
        ] {
            let read = scalar(&schema).read(text).ok();
            assert_eq!(read.as_deref(), json, "{schema} {text}");
        }
    }

    #[test]
    fn only_scalars_are_read_from_texts() {
        for schema in [
            json!({}),
            json!({ "type": "array" }),
            json!({ "type": "object" }),
            json!({ "type": "string", "contentEncoding": "base64" }),
            json!({ "anyOf": [{ "type": "integer" }, { "type": "array" }] }),
        ] {
            assert_eq!(ScalarType::of(&schema), None, "{schema}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_worker() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../python/refusals.json")).expect("JSON");
        let mut seen = 0;
        for case in cases {
            let Some(scalar) = ScalarType::of(&case["schema"]) else { continue };
            seen += 1;
            let why = case["why"].as_str();
            let value = case["value"].to_string();
            assert_eq!(scalar.takes(&value), why.is_none(), "{case}");
            if let Some(why) = why {
                assert_eq!(scalar.wanted(), why, "{case}");
            }
        }
        assert!(seen > 20, "most of the cases are scalars");
    }
}
