//! The reference of all keys and the JSON schema, made from the doc comments of `file`.
//!
//! Pure. A test compares them with the copies under `docs/reference/`; `UPDATE=1 cargo test`
//! writes them anew.

use std::fmt::Write;

use serde_json::Value;

use super::key_flags::option_of;
use super::schema::{TableSchema, schema, tables};

/// The JSON schema, for editors.
#[cfg(test)]
pub fn json_schema() -> String {
    let mut schema = schema();
    if let Value::Object(fields) = &mut schema {
        let dialect = Value::from("https://json-schema.org/draft/2020-12/schema");
        fields.shift_insert(0, "$schema".to_owned(), dialect);
    }
    format!("{schema:#}\n")
}

/// `docs/reference/config.md`.
pub fn markdown() -> String {
    let schema = schema();
    let mut text = String::from(
        "# Configuration reference\n\n\
         <!-- Made from src/config/file.rs by `UPDATE=1 cargo test`; edit the comments there. -->\n\n",
    );
    text.push_str(describe(&schema));
    text.push_str("\n\n");
    text.push_str(include_str!("language.md"));
    for table in tables(&schema) {
        let heading = if table.way.is_empty() { "At the top of the file" } else { &table.name };
        add_table(&mut text, heading, &table);
    }
    text
}

fn add_table(text: &mut String, heading: &str, table: &TableSchema<'_>) {
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    add(format!("\n## {heading}\n"));
    add("| key | type | if absent | option | meaning |\n|---|---|---|---|---|".to_owned());
    let required = table.schema["required"].as_array();
    for (key, schema) in table.schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|keys| keys.iter().any(|name| name == key));
        let absent = if is_required { "must be given".to_owned() } else { absent(schema) };
        let option = option_of(&[&table.way[..], &[key.as_str()]].concat());
        let (kind, meaning) = (kind(schema), cell(describe(schema)));
        add(format!("| `{key}` | {kind} | {absent} | {option} | {meaning} |"));
    }
}

fn describe(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// A text as one cell of a table: one line, no column ends in it.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn absent(schema: &Value) -> String {
    match &schema["default"] {
        Value::Null => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::Object(_) => "see below".to_owned(),
        default => format!("`{default}`"),
    }
}

fn kind(schema: &Value) -> String {
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let mut kinds: Vec<String> = alternatives.iter().map(kind).collect();
        kinds.dedup();
        return kinds.join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let mut kind = match (schema["type"].as_str(), schema["format"].as_str()) {
        (_, Some("httpipe-duration")) => "duration".to_owned(),
        (_, Some("httpipe-size")) => "size".to_owned(),
        (Some("array"), _) => format!("list of {}", kind(&schema["items"])),
        (Some("object"), _) => "table".to_owned(),
        (Some("boolean"), _) => "`true` or `false`".to_owned(),
        (Some("integer"), _) => "whole number".to_owned(),
        (Some(other), _) => other.to_owned(),
        (None, _) => "value".to_owned(),
    };
    let bound = |key: &str| schema[key].as_u64().filter(|bound| *bound > 0);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => write!(kind, " from {least} to {most}"),
        (Some(least), None) => write!(kind, " from {least}"),
        (None, Some(most)) => write!(kind, " up to {most}"),
        (None, None) => Ok(()),
    }
    .expect("writing to a string cannot fail");
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(path: &str, made: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, made).expect("written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "{} is stale; run `UPDATE=1 cargo test`", path.display());
    }

    #[test]
    fn the_written_reference_is_fresh() {
        compare("docs/reference/config.md", &markdown());
        compare("docs/reference/httpipe.schema.json", &json_schema());
    }

    #[test]
    fn every_key_is_explained() {
        for line in markdown().lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "{line}");
        }
    }
}
