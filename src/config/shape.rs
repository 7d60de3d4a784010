//! Compares what was typed with the schema: unknown keys, wrong types, missing units.
//!
//! Pure. What is wrong is reported and removed, so that one error never hides another and what
//! is left can always be read into [`File`](super::file::File).

use serde_json::Value as Schema;
use toml::Value;

use super::problem::{Place, Problem, SHOWN_MAX};
use super::schema::{TableSchema, tables};
use super::secrets::is_secret;
use super::tree::{KeyPath, KeyStep, Places, Tree};
use super::words;
use crate::base::ByteSize;
use crate::base::units::{UnitProblem, parse_duration};

/// A table with no more keys than this is small: they are named where one is unknown.
const FEW_KEYS: usize = 4;

/// Removes everything from the tree that does not fit the schema, and reports why.
pub fn check(tree: &mut Tree, schema: &Schema) -> Vec<Problem> {
    let mut checker = Checker { places: &tree.places, root: schema, problems: Vec::new() };
    checker.table(&KeyPath::default(), schema, &mut tree.values);
    checker.problems
}

struct Checker<'a> {
    places: &'a Places,
    root: &'a Schema,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn table(&mut self, path: &KeyPath, schema: &Schema, table: &mut toml::Table) {
        let known = &schema["properties"];
        let others = &schema["additionalProperties"];
        table.retain(|key, value| {
            let path = path.key(key);
            let schema = known.get(key).or_else(|| others.is_object().then_some(others));
            let Some(schema) = schema else {
                self.unknown(&path, known);
                return false;
            };
            self.value(&path, schema, value)
        });
        for key in missing(schema, table) {
            // A value that was written but did not fit is reported already.
            if !self.places.is_written(&path.key(key)) {
                let problem =
                    Problem::new(self.places.key(path), format!("`{path}` has no `{key}`"));
                let example =
                    known[key]["examples"].get(0).map(|value| format!("add `{key} = {value}`"));
                self.problems.push(problem.hint(example.unwrap_or_else(|| format!("add `{key}`"))));
            }
        }
    }

    /// Returns true if the value may stay.
    fn value(&mut self, path: &KeyPath, schema: &Schema, value: &mut Value) -> bool {
        // Zero is the same in every unit.
        let is_zero = matches!(value, Value::Integer(0)) || value.as_str() == Some("0");
        match schema["format"].as_str() {
            Some("httpipe-duration") if is_zero => *value = Value::String("0s".to_owned()),
            Some("httpipe-size") if is_zero => *value = Value::String("0B".to_owned()),
            _ => {}
        }
        if let Some(alternatives) = schema["anyOf"].as_array() {
            return match alternatives.iter().find(|schema| fits_type(schema, value)) {
                Some(schema) => self.value(path, schema, value),
                None => self.wrong_type(path, alternatives, value),
            };
        }
        if !fits_type(schema, value) {
            return self.wrong_type(path, std::slice::from_ref(schema), value);
        }
        match value {
            Value::Table(table) => {
                self.table(path, schema, table);
                // An incomplete pool or route is kept, so that its other errors are found.
                missing(schema, table).is_empty() || matches!(path.steps(), [KeyStep::Key(_), _])
            }
            Value::Array(items) => self.list(path, schema, items),
            Value::String(text) => self.text(path, schema, text),
            Value::Integer(number) => self.number(path, schema, *number),
            _ => true,
        }
    }

    fn list(&mut self, path: &KeyPath, schema: &Schema, items: &mut [Value]) -> bool {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        if (items.len() as u64) < least {
            return self.refuse(path, |name| format!("`{name}` is empty"), None);
        }
        let mut all_fit = true;
        for (index, item) in items.iter_mut().enumerate() {
            all_fit &= self.value(&path.index(index), &schema["items"], item);
        }
        all_fit
    }

    fn text(&mut self, path: &KeyPath, schema: &Schema, text: &str) -> bool {
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<&str> = words.iter().filter_map(Schema::as_str).collect();
            if words.contains(&text) {
                return true;
            }
            let hint = match nearest(text, words.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write \"{}\"", words.join("\" or \"")),
            };
            return self.refuse(path, |name| format!("`{name}` cannot be \"{text}\""), Some(hint));
        }
        let unit_problem = match schema["format"].as_str() {
            Some("httpipe-duration") => parse_duration(text).err(),
            Some("httpipe-size") => text.parse::<ByteSize>().err(),
            _ => None,
        };
        if let Some(problem) = unit_problem {
            return self.wrong_unit(path, &problem);
        }
        if schema["minLength"].as_u64().unwrap_or(0) > text.len() as u64 {
            return self.refuse(path, |name| format!("`{name}` is empty"), None);
        }
        true
    }

    fn number(&mut self, path: &KeyPath, schema: &Schema, number: i64) -> bool {
        let bound = |key: &str| schema[key].as_i64();
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            let message = |name: &str| format!("`{name}` cannot be {number}");
            return self.refuse(path, message, Some(format!("write {least} or more")));
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            let message = |name: &str| format!("`{name}` cannot be {number}");
            return self.refuse(path, message, Some(format!("write {most} or less")));
        }
        true
    }

    fn wrong_unit(&mut self, path: &KeyPath, problem: &UnitProblem) -> bool {
        match problem {
            UnitProblem::NoUnit(number, unit) => {
                let hint = self.quoted(path, &format!("{number}{unit}"));
                self.refuse(
                    path,
                    |name| format!("`{name}` needs a unit"),
                    Some(format!("write {hint}")),
                )
            }
            UnitProblem::NotOne(text, kind, example) => {
                let hint =
                    format!("write a number and a unit, as in {}", self.quoted(path, example));
                self.refuse(
                    path,
                    |name| format!("`{name}` cannot be \"{text}\", which is not a {kind}"),
                    Some(hint),
                )
            }
        }
    }

    fn wrong_type(&mut self, path: &KeyPath, expected: &[Schema], value: &Value) -> bool {
        let format = expected.iter().find_map(|schema| schema["format"].as_str());
        let unit = match format {
            Some("httpipe-duration") => Some("s"),
            Some("httpipe-size") => Some("MiB"),
            _ => None,
        };
        if let (Some(unit), Value::Integer(_) | Value::Float(_)) = (unit, value) {
            return self.wrong_unit(path, &UnitProblem::NoUnit(value.to_string(), unit));
        }
        let mut kinds: Vec<&str> = expected.iter().map(kind_of).collect();
        kinds.dedup();
        let wrapped = expected.iter().find_map(|schema| wrapped(schema, value));
        let hint = match value {
            Value::String(text) if path.last_key() == "command" => {
                Some(format!("write {}", words::as_list(text)))
            }
            _ if wrapped.is_some() => wrapped.map(|table| format!("write {table}")),
            Value::String(text) if kinds.contains(&"a number") && text.parse::<i64>().is_ok() => {
                Some(format!("write {text} without quotes"))
            }
            Value::String(text)
                if kinds.contains(&"true or false")
                    && matches!(text.as_str(), "true" | "false") =>
            {
                Some(format!("write {text} without quotes"))
            }
            Value::String(_) if kinds == ["a list"] && is_secret(path) => {
                let example = expected.iter().find_map(|schema| schema["examples"].get(0));
                example.map(|example| format!("write it as in {example}"))
            }
            Value::String(text) if kinds == ["a list"] => Some(format!("write [{text:?}]")),
            Value::Integer(_) | Value::Float(_) if is_secret(path) => {
                kinds.contains(&"a string").then(|| "write it in quotes".to_owned())
            }
            Value::Integer(_) | Value::Float(_)
                if kinds.contains(&"a string")
                    && expected.iter().all(|one| one["enum"].is_null()) =>
            {
                Some(format!("write \"{value}\" in quotes"))
            }
            _ => None,
        };
        let (expected, got) = (kinds.join(" or "), kind_of_value(value));
        self.refuse(path, |name| format!("`{name}` must be {expected}, not {got}"), hint)
    }

    fn unknown(&mut self, path: &KeyPath, known: &Schema) {
        let key = path.last_key();
        let parent = path.parent().unwrap_or_default();
        let message = match parent.steps() {
            [] => format!("unknown key `{key}`"),
            _ => format!("unknown key `{key}` in `{parent}`"),
        };
        let mut problem = Problem::new(self.places.key(path), message);
        let known = known.as_object().map(|known| known.keys().map(String::as_str));
        if self.problems.len() >= SHOWN_MAX {
            // More are not shown, and looking for what was meant takes time.
            self.problems.push(problem);
            return;
        }
        let known: Vec<&str> = known.into_iter().flatten().collect();
        let near = nearest(key, known.iter().copied());
        let near = near.map(|near| format!("did you mean `{near}`?"));
        let is_small = parent.steps().len() > 2 && known.len() <= FEW_KEYS;
        problem.hint = if is_small {
            // What it has says more than where else something has this name.
            near.or_else(|| Some(format!("it has `{}`", known.join("`, `"))))
        } else {
            self.home_of(key).or(near)
        };
        self.problems.push(problem);
    }

    /// Names the tables in which a key is known; of more than four only the outermost.
    fn home_of(&self, key: &str) -> Option<String> {
        let mut homes = tables(self.root);
        homes.retain(|table| table.schema["properties"].get(key).is_some());
        homes.sort_by_key(|table| table.way.len());
        if homes.len() > 4 {
            homes.truncate(1);
        }
        let place = |table: &TableSchema<'_>| match table.way[..] {
            [] => "at the top of the file".to_owned(),
            _ => format!("in {}", table.name),
        };
        let homes: Vec<String> = homes.iter().map(place).collect();
        (!homes.is_empty()).then(|| format!("`{key}` belongs {}", homes.join(" or ")))
    }

    fn refuse(
        &mut self,
        path: &KeyPath,
        message: impl Fn(&str) -> String,
        hint: Option<String>,
    ) -> bool {
        let mut problem = Problem::new(self.places.value(path), message(&self.places.name(path)));
        // A hint may quote what was written.
        if hint.is_some() && is_secret(path) {
            problem.without_values = Some(problem.message.clone());
        }
        problem.hint = hint;
        self.problems.push(problem);
        false
    }

    /// The text as it must be typed: with quotes in a file, without for an option.
    fn quoted(&self, path: &KeyPath, text: &str) -> String {
        match self.places.value(path) {
            Place::Option(_) => text.to_owned(),
            Place::File(_) | Place::Nowhere => format!("\"{text}\""),
        }
    }
}

/// The keys that a table must have and has not. Where there are alternatives, the first is missed.
fn missing<'a>(schema: &'a Schema, table: &toml::Table) -> Vec<&'a str> {
    let keys = |schema: &'a Schema| {
        let required = schema["required"].as_array().into_iter().flatten();
        let is_missing = |key: &&str| !table.contains_key(*key);
        required.filter_map(Schema::as_str).filter(is_missing).collect::<Vec<_>>()
    };
    let mut missing = keys(schema);
    let alternatives: Vec<_> = schema["oneOf"].as_array().into_iter().flatten().map(keys).collect();
    if alternatives.iter().all(|one| !one.is_empty()) {
        missing.extend(alternatives.into_iter().next().unwrap_or_default());
    }
    missing
}

/// The known word that was probably meant.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = |word: &&str| strsim::damerau_levenshtein(typed, word) <= 1 + word.len() / 5;
    let likeness = |word: &str| strsim::jaro_winkler(typed, word);
    let mut near: Vec<&str> = known.filter(|word| close(word) || likeness(word) > 0.9).collect();
    near.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    near.first().copied()
}

fn fits_type(schema: &Schema, value: &Value) -> bool {
    matches!(
        (schema["type"].as_str(), value),
        (Some("string"), Value::String(_))
            | (Some("integer" | "number"), Value::Integer(_))
            | (Some("number"), Value::Float(_))
            | (Some("boolean"), Value::Boolean(_))
            | (Some("array"), Value::Array(_))
            | (Some("object"), Value::Table(_))
    )
}

/// The table, or the list of one table, that holds this value under the key it fits.
fn wrapped(schema: &Schema, value: &Value) -> Option<String> {
    if schema["type"] == "array" && schema["items"]["properties"].is_object() {
        return Some(format!("[{}]", wrapped(&schema["items"], value)?));
    }
    let others = &schema["additionalProperties"];
    let mut kinds = std::iter::once(others).chain(others["anyOf"].as_array().into_iter().flatten());
    if schema["type"] == "object" && kinds.any(|kind| kind["type"] == "string") {
        let (name, value) = value.as_str()?.split_once('=').unwrap_or(("NAME", "value"));
        return Some(format!("{{ {name} = {} }}", Value::String(value.to_owned())));
    }
    let fits = |schema: &Schema| {
        let text = value.as_str().unwrap_or_default();
        fits_type(schema, value)
            && match (schema["format"].as_str(), schema["enum"].as_array()) {
                (Some("httpipe-duration"), _) => parse_duration(text).is_ok(),
                (Some("httpipe-size"), _) => text.parse::<ByteSize>().is_ok(),
                (_, Some(words)) => words.iter().any(|word| word == text),
                (_, None) => true,
            }
    };
    let (key, _) = schema["properties"].as_object()?.iter().find(|(_, schema)| fits(schema))?;
    Some(format!("{{ {key} = {value} }}"))
}

fn kind_of(schema: &Schema) -> &'static str {
    match schema["type"].as_str() {
        Some("integer" | "number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "a table",
        _ => "a string",
    }
}

fn kind_of_value(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
        Value::String(_) | Value::Datetime(_) => "a string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::schema;

    fn said(text: &str) -> Vec<String> {
        let (mut tree, _) = Tree::parse(text).expect("valid TOML");
        let problems = check(&mut tree, &schema());
        problems
            .into_iter()
            .map(|problem| match problem.hint {
                Some(hint) => format!("{} -- {hint}", problem.message),
                None => problem.message,
            })
            .collect()
    }

    #[test]
    fn one_error_never_hides_another() {
        let text = "threads = 0\ntimeout = 3\nlog = { format = \"jsn\", level = 3 }\n\
            [pool.fib]\nworkrs = 4\ntimeout = 30\nretries = \"1\"\nerror_status = 200\n\
            recycle = { memory = 5 }\nstop_grace = \"soon\"\nstreem = true\n";
        insta::assert_snapshot!(said(text).join("\n"), @r##"
`format` cannot be "jsn" -- did you mean "json"?
`level` must be a string, not a number
`error_status` cannot be 200 -- write 400 or more
`memory` needs a unit -- write "5MiB"
`retries` must be a number, not a string -- write 1 without quotes
`stop_grace` cannot be "soon", which is not a duration -- write a number and a unit, as in "30s"
unknown key `streem` in `[pool.fib]` -- did you mean `stream`?
`timeout` needs a unit -- write "30s"
unknown key `workrs` in `[pool.fib]` -- did you mean `workers`?
`[pool.fib]` has no `command` -- add `command = ["python3","worker.py"]`
`threads` cannot be 0 -- write 1 or more
unknown key `timeout` -- `timeout` belongs in `[pool.NAME]` or in `jobs` of a route
"##);
    }

    #[test]
    fn a_key_in_the_wrong_table_is_sent_home() {
        let text = "age = \"1h\"\nbody = \"1KiB\"\nmax_length = 3\n[pool.a]\ncommand = [\"cat\"]\n\
            send = \"json\"\nmemory = \"1MiB\"\ndrain = \"1s\"\n";
        insta::assert_snapshot!(said(text).join("\n"), @r##"
unknown key `age` -- `age` belongs in `recycle` of a pool
unknown key `body` -- `body` belongs in `[limits]`
unknown key `max_length` -- `max_length` belongs in `params.NAME` of a route
unknown key `drain` in `[pool.a]` -- `drain` belongs at the top of the file
unknown key `memory` in `[pool.a]` -- `memory` belongs in `[limits]` or in `[cache]` or in `sandbox` of a pool or in `recycle` of a pool
unknown key `send` in `[pool.a]` -- `send` belongs in `[[route]]`
"##);
    }

    #[test]
    fn a_small_table_says_what_it_has() {
        let text = "[pool.a]\ncommand = [\"cat\"]\nbatch = { max = 16 }\n[[route]]\nmatch = \"GET /\"\n\
            jobs = { retry = 3, timout = \"1h\" }\n";
        insta::assert_snapshot!(said(text).join("\n"), @r##"
unknown key `max` in `pool.a.batch` -- it has `most`, `wait`
unknown key `retry` in `jobs` -- it has `timeout`, `wait`, `keep`, `priority`
unknown key `timout` in `jobs` -- did you mean `timeout`?
"##);
    }

    #[test]
    fn what_remains_can_always_be_read() {
        let text = "listen = 3\npool = 3\nroute = [3, { match = 4 }]\n[limits]\nbody = []\n";
        let (mut tree, _) = Tree::parse(text).expect("valid TOML");
        assert!(!check(&mut tree, &schema()).is_empty());
        let file = tree.values.try_into::<crate::config::file::File>();
        assert!(file.is_ok(), "{file:?}");
    }
}
