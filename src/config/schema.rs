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

/// One table of a file.
#[derive(Clone, Debug)]
pub struct TableSchema<'a> {
    /// The keys on the way to it, without the names of pools and parameters and the indexes of
    /// lists: `["pool", "queue"]`. Empty for the file itself.
    pub way: Vec<&'a str>,
    /// What to call it: "`[pool.NAME]`", "`queue` of a pool". Empty for the file itself.
    pub name: String,
    /// What it may hold.
    pub schema: &'a Value,
}

/// All tables of a file in the order of its keys, each before the tables in it.
pub fn tables(schema: &Value) -> Vec<TableSchema<'_>> {
    let mut tables = vec![TableSchema { way: vec![], name: String::new(), schema }];
    add_tables(&mut tables, &[], schema);
    tables
}

fn add_tables<'a>(tables: &mut Vec<TableSchema<'a>>, way: &[&'a str], parent: &'a Value) {
    for (key, value) in parent["properties"].as_object().into_iter().flatten() {
        let alternatives = value["anyOf"].as_array().into_iter().flatten();
        for value in std::iter::once(value).chain(alternatives) {
            let others = &value["additionalProperties"];
            let (schema, name) = match (way, value["type"].as_str()) {
                (_, Some("object")) if value["properties"].is_object() => (value, key.clone()),
                (_, Some("object")) => (others, format!("{key}.NAME")),
                ([], Some("array")) => (&value["items"], format!("[{key}]")),
                (_, Some("array")) => (&value["items"], key.clone()),
                _ => continue,
            };
            if !schema["properties"].is_object() {
                continue;
            }
            let name = match way {
                [] => format!("`[{name}]`"),
                [outer, ..] => format!("`{name}` of a {outer}"),
            };
            let way = [way, &[key.as_str()]].concat();
            tables.push(TableSchema { way: way.clone(), name, schema });
            add_tables(tables, &way, schema);
        }
    }
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
    let own = fields.get("required").into_iter();
    let alternatives = fields.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let required = own.chain(alternatives.map(|one| &one["required"])).cloned();
    for key in required.collect::<Vec<_>>().iter().filter_map(Value::as_array).flatten() {
        let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
        let schema = properties.and_then(|all| all.get_mut(key.as_str().unwrap_or_default()));
        if let Some(Value::Object(schema)) = schema {
            schema.remove("default");
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
