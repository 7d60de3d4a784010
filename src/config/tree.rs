//! A configuration as it was typed: values by their paths, and where each came from.
//!
//! Pure. Options and environment variables replace values of the file here, so that all go
//! through the same checks and each problem still knows its place.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// The way to one value: `pool.fib.timeout`, `route[0].match`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPath(Vec<KeyStep>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyStep {
    /// Into the table's value of this key.
    Key(String),
    /// Into the list's item at this index.
    Index(usize),
}

/// Where every value came from.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// In the order of paths, so that what is inside a value follows it.
    origins: BTreeMap<KeyPath, Origin>,
}

#[derive(Clone, Debug)]
enum Origin {
    File { key: Range<usize>, value: Range<usize> },
    Option(String),
}

/// Values and their places.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// What was typed.
    pub values: toml::Table,
    /// Where each was typed.
    pub places: Places,
}

impl KeyPath {
    /// The path that begins with these keys.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| KeyStep::Key((*key).to_owned())).collect())
    }

    /// One key further.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(KeyStep::Key(key.to_owned()));
        Self(steps)
    }

    /// One list item further.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(KeyStep::Index(index));
        Self(steps)
    }

    /// The steps from the top.
    pub fn steps(&self) -> &[KeyStep] {
        &self.0
    }

    /// One step back; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// The last key on the way.
    pub fn last_key(&self) -> &str {
        let keys = self.0.iter().rev().filter_map(|step| match step {
            KeyStep::Key(key) => Some(key.as_str()),
            KeyStep::Index(_) => None,
        });
        keys.into_iter().next().unwrap_or_default()
    }
}

impl fmt::Display for KeyPath {
    /// As the table is headed in a file: `[pool.fib]`, `[[route]]`; deeper values by their
    /// dotted path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = (self.0.iter())
            .filter_map(|step| match step {
                KeyStep::Key(key) => Some(key.as_str()),
                KeyStep::Index(_) => None,
            })
            .collect();
        match (keys.as_slice(), self.0.len()) {
            (["route"], 2) => f.write_str("[[route]]"),
            (["pool", name], 2) => write!(f, "[pool.{name}]"),
            (["route", rest @ ..], _) => f.write_str(&rest.join(".")),
            (keys, _) => f.write_str(&keys.join(".")),
        }
    }
}

impl Origin {
    fn value(&self) -> Place {
        match self {
            Self::File { value, .. } => Place::File(value.clone()),
            Self::Option(name) => Place::Option(name.clone()),
        }
    }
}

impl Places {
    /// Where the value is; where it is absent, the table that should hold it.
    pub fn value(&self, path: &KeyPath) -> Place {
        match self.origins.get(path) {
            Some(origin) => origin.value(),
            None => path.parent().map_or(Place::Nowhere, |parent| self.value(&parent)),
        }
    }

    /// Returns true if the value itself was written, not only a table around it.
    pub fn is_written(&self, path: &KeyPath) -> bool {
        self.origins.contains_key(path)
    }

    /// Where the key of the value is.
    pub fn key(&self, path: &KeyPath) -> Place {
        match self.origins.get(path) {
            Some(Origin::File { key, .. }) => Place::File(key.clone()),
            _ => self.value(path),
        }
    }

    /// The name of the value: its key, or the option that set it.
    pub fn name(&self, path: &KeyPath) -> String {
        match self.value(path) {
            Place::Option(name) => name,
            Place::File(_) | Place::Nowhere => path.last_key().to_owned(),
        }
    }

    /// Notes that an option replaced a value, and with it all that was inside.
    fn put(&mut self, path: &KeyPath, option: &str) {
        let inside = self.origins.range(path..).map(|(known, _)| known);
        let inside: Vec<KeyPath> =
            inside.take_while(|known| known.0.starts_with(&path.0)).cloned().collect();
        for known in inside {
            self.origins.remove(&known);
        }
        self.origins.insert(path.clone(), Origin::Option(option.to_owned()));
    }

    /// Every value that was written, and where.
    pub fn written(&self) -> impl Iterator<Item = (&KeyPath, Place)> {
        self.origins.iter().map(|(path, origin)| (path, origin.value()))
    }

    /// The place in the file where a value begins, to sort by.
    pub fn position(&self, path: &KeyPath) -> usize {
        match self.key(path) {
            Place::File(span) => span.start,
            Place::Option(_) | Place::Nowhere => usize::MAX,
        }
    }
}

impl Tree {
    /// Reads TOML. Values that TOML has and a configuration cannot use are left out.
    ///
    /// # Errors
    ///
    /// All syntax errors that the parser finds.
    pub fn parse(text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors.iter().map(syntax_problem).collect());
        }
        let mut reader = TreeReader { places: Places::default(), problems: Vec::new() };
        let values = reader.table(&KeyPath::default(), document.get_ref());
        Ok((Self { values, places: reader.places }, reader.problems))
    }

    /// Replaces a value by that of an option, and makes the tables on the way. If something on
    /// the way is not a table, nothing is put, and `shape` reports it.
    pub fn put(&mut self, path: &KeyPath, value: Value, option: &str) {
        let Some((KeyStep::Key(last), way)) = path.0.split_last() else { return };
        let Some(table) = step_into(&mut self.values, way) else { return };
        table.insert(last.clone(), value);
        self.places.put(path, option);
    }
}

fn step_into<'a>(table: &'a mut toml::Table, way: &[KeyStep]) -> Option<&'a mut toml::Table> {
    match way {
        [] => Some(table),
        [KeyStep::Key(key), KeyStep::Index(index), rest @ ..] => {
            let item = table.get_mut(key)?.as_array_mut()?.get_mut(*index)?;
            step_into(item.as_table_mut()?, rest)
        }
        [KeyStep::Key(key), rest @ ..] => {
            let empty = || Value::Table(toml::Table::new());
            let next = table.entry(key.as_str()).or_insert_with(empty);
            step_into(next.as_table_mut()?, rest)
        }
        [KeyStep::Index(_), ..] => None,
    }
}

struct TreeReader {
    places: Places,
    problems: Vec<Problem>,
}

impl TreeReader {
    fn table(&mut self, path: &KeyPath, table: &DeTable<'_>) -> toml::Table {
        let mut values = toml::Table::new();
        for (key, value) in table {
            let path = path.key(key.get_ref());
            let origin = Origin::File { key: key.span(), value: value.span() };
            self.places.origins.insert(path.clone(), origin);
            if let Some(value) = self.value(&path, value) {
                values.insert(key.get_ref().to_string(), value);
            }
        }
        values
    }

    fn value(&mut self, path: &KeyPath, value: &toml::Spanned<DeValue<'_>>) -> Option<Value> {
        let mut refuse = |message: &str| {
            self.problems.push(Problem::new(Place::File(value.span()), message));
            None
        };
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Some(Value::Integer(number)),
                    Err(_) => refuse("this number is too large"),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Some(Value::Float(number)),
                Err(_) => refuse("this number cannot be read"),
            },
            DeValue::Boolean(flag) => Some(Value::Boolean(*flag)),
            DeValue::Datetime(_) => refuse("no key takes a date or a time of day"),
            DeValue::Array(items) => Some(Value::Array(self.list(path, items))),
            DeValue::Table(table) => Some(Value::Table(self.table(path, table))),
        }
    }

    fn list(&mut self, path: &KeyPath, items: &toml::de::DeArray<'_>) -> Vec<Value> {
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            let origin = Origin::File { key: item.span(), value: item.span() };
            self.places.origins.insert(path.clone(), origin);
            // A hole would shift the indexes of what follows and with them the places.
            values.push(self.value(&path, item).unwrap_or(Value::String(String::new())));
        }
        values
    }
}

fn syntax_problem(error: &toml::de::Error) -> Problem {
    let place = error.span().map_or(Place::Nowhere, Place::File);
    Problem::new(place, format!("this is not TOML: {}", error.message().replace('\n', ", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = "threads = 2\n[pool.fib]\nqueue = { wait = \"5s\" }\n[[route]]\nmatch = \"x\"\n";
        let (tree, problems) = Tree::parse(text).expect("valid");
        assert_eq!(problems, []);
        let shown = |path: &KeyPath| match tree.places.value(path) {
            Place::File(span) => text[span].to_owned(),
            other => format!("{other:?}"),
        };
        let pool = KeyPath::of(&["pool", "fib"]);
        assert_eq!(shown(&KeyPath::of(&["threads"])), "2");
        assert_eq!(shown(&pool.key("queue").key("wait")), "\"5s\"");
        assert_eq!(shown(&pool.key("absent")), "[pool.fib]");
        assert_eq!(shown(&KeyPath::of(&["route"]).index(0).key("match")), "\"x\"");
    }

    #[test]
    fn an_option_takes_the_place_of_what_the_file_says() {
        let (mut tree, _) = Tree::parse("[pool.fib]\ntimeout = \"1s\"\n").expect("valid");
        let path = KeyPath::of(&["pool", "fib", "timeout"]);
        tree.put(&path, Value::String("2s".to_owned()), "--timeout");
        assert_eq!(tree.values["pool"]["fib"]["timeout"].as_str(), Some("2s"));
        assert_eq!(tree.places.value(&path), Place::Option("--timeout".to_owned()));
        assert_eq!(tree.places.name(&path), "--timeout");
    }

    #[test]
    fn all_errors_of_syntax_are_told() {
        let problems = Tree::parse("a = \nb = 1\nc = = 2\n").expect_err("two errors");
        assert!(problems.len() >= 2, "{problems:?}");
    }
}
