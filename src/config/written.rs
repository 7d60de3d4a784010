//! Writes settings as a file that a person would write: keys in the order of the reference, each with
//! a comment that says what it means.
//!
//! Pure.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::Value as Schema;
use toml::{Table, Value};

use super::schema::schema;

/// How many characters a line of a comment has at most.
const WIDTH: usize = 100;

/// Writes the text of a file with these values.
pub fn written(values: &Table) -> String {
    let schema = schema();
    let mut file = FileDraft { text: String::new(), explained: HashSet::new() };
    let (tables, plain): (Vec<_>, Vec<_>) =
        in_order(values, &schema).into_iter().partition(|(key, value)| is_section(key, value));
    file.keys("", &plain, &schema);
    for (key, value) in tables {
        let schema = &schema["properties"][key];
        match value {
            Value::Table(pools) if key == "pool" => {
                for (name, pool) in pools {
                    let head = format!("[pool.{}]", key_text(name));
                    file.section(&head, pool, &schema["additionalProperties"]);
                }
            }
            Value::Array(items) => {
                for item in items {
                    file.section(&format!("[[{key}]]"), item, &schema["items"]);
                }
            }
            value => file.section(&format!("[{key}]"), value, schema),
        }
    }
    file.text
}

/// A file that is being written.
struct FileDraft {
    text: String,
    /// The keys that have had their comment.
    explained: HashSet<String>,
}

impl FileDraft {
    fn section(&mut self, head: &str, value: &Value, schema: &Schema) {
        let Value::Table(table) = value else { return };
        self.blank_line();
        self.put(head);
        let kind = head.split('.').next().unwrap_or_default();
        self.keys(kind, &in_order(table, schema), schema);
    }

    /// Writes keys of a table of this kind, each with a comment where it is first used.
    fn keys(&mut self, kind: &str, keys: &[(&str, &Value)], schema: &Schema) {
        for (index, (key, value)) in keys.iter().enumerate() {
            let schema = &schema["properties"][*key];
            if self.explained.insert(format!("{kind}.{key}")) {
                if index > 0 {
                    self.blank_line();
                }
                for line in comment(schema) {
                    self.put(&line);
                }
            }
            self.put(&format!("{} = {}", key_text(key), value_text(value, schema)));
        }
    }

    fn put(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn blank_line(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }
}

/// Returns true if the value has a head of its own.
fn is_section(key: &str, value: &Value) -> bool {
    value.is_table() || key == "route"
}

/// Returns the keys of a table in the order in which the schema has them, others last.
fn in_order<'a>(table: &'a Table, schema: &Schema) -> Vec<(&'a str, &'a Value)> {
    let known: Vec<&String> =
        schema["properties"].as_object().into_iter().flat_map(|it| it.keys()).collect();
    let mut keys: Vec<(&str, &Value)> = table.iter().map(|(key, value)| (&**key, value)).collect();
    keys.sort_by_key(|(key, _)| known.iter().position(|it| it == key).unwrap_or(known.len()));
    keys
}

/// Returns what a key means, in its first sentence, as lines of a comment.
fn comment(schema: &Schema) -> Vec<String> {
    let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    let first = description.split_once(". ").map_or(&*description, |(first, _)| first);
    let mut lines: Vec<String> = Vec::new();
    for word in first.trim_end_matches('.').split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                write!(line, " {word}").expect("a string takes everything");
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines
}

fn value_text(value: &Value, schema: &Schema) -> String {
    match value {
        Value::Table(table) => {
            let alternatives = schema["anyOf"].as_array().into_iter().flatten();
            let has_keys = |schema: &&Schema| {
                schema["properties"].is_object() || schema["additionalProperties"].is_object()
            };
            let schema = std::iter::once(schema).chain(alternatives).find(has_keys);
            let schema = schema.unwrap_or(&Schema::Null);
            let keys = in_order(table, schema).into_iter().map(|(key, value)| {
                let known = &schema["properties"][key];
                let schema = if known.is_null() { &schema["additionalProperties"] } else { known };
                format!("{} = {}", key_text(key), value_text(value, schema))
            });
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| value_text(item, &schema["items"]));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        // Three quotes and a line end would be right too, but hard to read within a line.
        Value::String(text) if text.contains(['\n', '\r']) => {
            // The escapes of JSON are those of TOML too.
            serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
        }
        plain => plain.to_string(),
    }
}

/// Writes a key, in quotes if it needs them.
fn key_text(key: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    if !key.is_empty() && key.chars().all(is_plain) {
        return key.to_owned();
    }
    Value::String(key.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
cors = "*"
listen = ["127.0.0.1:3000"]
cache.memory = "1MiB"
log.level = "warn"
log.access = "a.log"

[pool."a b"]
workers = "2..4"
framing = { reply = "until:\né\u007F'", send = "line" }
hello = [{ send = "a" }, { send = "b" }]
command = ["cat", "it's"]
env = { "A.B" = "x" }
queue = { wait = "5s", length = 10 }

[[route]]
send = "{num}"
match = "GET /?num={num:int}"
params.num = { max = 3, min = 1 }

[[route]]
match = "POST /"
send = "{body}"
"#;

    #[test]
    fn a_file_has_its_keys_in_their_order_with_a_comment_each() {
        let values: Table = FILE.parse().expect("valid TOML");
        let text = written(&values);
        assert_eq!(text.parse::<Table>().expect("valid TOML"), values, "{text}");
        let keys: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split(" = ").next().unwrap_or_default())
            .collect();
        let order = [
            "listen",
            "cors",
            "[log]",
            "level",
            "access",
            "[pool.\"a b\"]",
            "command",
            "workers",
            "framing",
            "queue",
            "hello",
            "env",
            "[[route]]",
            "match",
            "send",
            "params",
            "[[route]]",
            "match",
            "send",
            "[cache]",
            "memory",
        ];
        assert_eq!(keys, order, "{text}");
        assert!(text.contains("{ send = \"line\", reply = \"until:\\né\\u007f'\" }"), "{text}");
        assert!(text.contains("num = { min = 1, max = 3 }"), "{text}");
        assert!(text.contains("{ length = 10, wait = \"5s\" }"), "{text}");
        let explained = text.matches("\n# ").count() + usize::from(text.starts_with("# "));
        assert!(explained >= order.len() - 8, "a comment a key, where it is first used: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
