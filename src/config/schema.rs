//! The JSON schema of a configuration file, from the structs of `file`.
//!
//! Pure. Written out without references and without `null`, which TOML does not have, so that
//! `shape` and `reference` need to know only a handful of words of JSON schema.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::file::File;

/// The schema of a whole file.
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
    tidy(&mut schema);
    schema
}

fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            tidy_object(fields);
            for value in fields.values_mut() {
                tidy(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Takes `null` out of a schema, and unwraps what is then the only alternative.
fn tidy_object(fields: &mut Map<String, Value>) {
    fields.remove("$schema");
    if fields.get("format").and_then(Value::as_str).is_some_and(|f| !f.starts_with("httpipe")) {
        fields.remove("format");
    }
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    if let Some(Value::Array(required)) = fields.get("required").cloned() {
        for key in required.iter().filter_map(Value::as_str) {
            if let Some(Value::Object(schema)) = fields["properties"].get_mut(key) {
                schema.remove("default");
            }
        }
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(alternatives)) = fields.get_mut("anyOf") {
        alternatives.retain(|schema| schema.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = alternatives.as_slice() {
            let only = only.clone();
            fields.remove("anyOf");
            for (key, value) in only {
                fields.entry(key).or_insert(value);
            }
            tidy_object(fields);
        }
    }
}
