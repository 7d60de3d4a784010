//! Adds a key to the text of a keys file, and leaves the rest of it as it is.
//!
//! Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;
use toml::Spanned;

use super::callers::{BadKeys, KeyHash, KeyList, is_name, route_name};
use crate::base::{NoRate, Rate};

/// What `key` takes.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key for a caller, print it once, and add its hash to the keys file
    New(NewKeyArguments),
}

/// What `key new` takes.
#[derive(Debug, Args)]
pub struct NewKeyArguments {
    /// Whose key it is; a second key for the same name is good beside the first
    pub name: String,

    /// How often its holder may ask, as in 100/1m
    #[arg(long, value_name = "RATE")]
    pub rate: Option<String>,

    /// How many calls its holder may have at once
    #[arg(long, value_name = "COUNT")]
    pub calls: Option<NonZeroU32>,

    /// A route it is for, as in 'GET /fib'; may be given again. If left out, it is for all
    #[arg(long, value_name = "ROUTE")]
    pub routes: Vec<String>,

    /// The keys file, which `callers` in the configuration names
    #[arg(long, value_name = "FILE", default_value = "keys.toml")]
    pub file: PathBuf,
}

/// How a keys file with one more key looks.
#[derive(Debug)]
pub struct WithKey {
    /// Its text.
    pub text: String,
    /// The name had a key before, and has two now.
    pub is_second: bool,
}

/// Only what says where the hashes stand.
#[derive(Debug, Deserialize)]
struct Place {
    hash: Option<Spanned<toml::Value>>,
}

/// Adds the key with this hash to the text of a keys file. An empty text is a new file.
///
/// # Errors
///
/// What is wrong with the arguments or the file, and what to do.
pub fn with_key(
    text: &str,
    arguments: &NewKeyArguments,
    hash: &KeyHash,
) -> Result<WithKey, (String, String)> {
    let name = &arguments.name;
    let told = |message: String, hint: &str| (message, hint.to_owned());
    if !is_name(name) {
        let message = format!("`{}` is not a name for a key", name.escape_debug());
        return Err(told(message, BadKeys::NAME_HINT));
    }
    let limits = limits(arguments)?;
    let shown = arguments.file.display();
    let cannot_read = |bad: BadKeys| {
        (format!("the keys in `{shown}` cannot be used: {}", bad.what), bad.hint.to_owned())
    };
    let is_new = text.trim().is_empty();
    if !is_new {
        KeyList::parse(text).map_err(cannot_read)?;
    }
    let places: BTreeMap<String, Place> = toml::from_str(text).unwrap_or_default();
    let Some(place) = places.get(name) else {
        let head = if is_new { HEAD } else { text.trim_end() };
        let text = format!("{head}\n\n[{}]\nhash = \"{hash}\"\n{limits}", quoted(name));
        return Ok(WithKey { text, is_second: false });
    };
    if !limits.is_empty() {
        let message = format!("`{name}` has a key already, and what it may do stands in `{shown}`");
        return Err(told(message, "leave the options out, or change the entry there"));
    }
    let Some(known) = &place.hash else {
        let message = format!("`{name}` is known by a certificate and has no key in `{shown}`");
        return Err(told(message, "make a key for another name, or take the entry out before"));
    };
    let span = known.span();
    let first = match known.as_ref() {
        toml::Value::String(first) => first.clone(),
        toml::Value::Array(all) if all.len() == 1 => all[0].as_str().unwrap_or_default().to_owned(),
        _ => {
            let message = format!("`{name}` has two keys already");
            let hint = format!("take the hash out of `{shown}` that is no longer used");
            return Err((message, hint));
        }
    };
    let both = format!("[\"{first}\", \"{hash}\"]");
    let text = format!("{}{both}{}", &text[..span.start], &text[span.end..]);
    KeyList::parse(&text).map_err(cannot_read)?;
    Ok(WithKey { text, is_second: true })
}

/// What a new file begins with.
const HEAD: &str = "\
# The keys of callers, by their names: `httpipe key new NAME` adds one. A key itself stands nowhere,
# only its hash. An entry may have `routes`, `rate`, `calls` and `weight`. A running server reads this
# file again when it changes.";

/// Writes what the options say as lines of an entry.
fn limits(arguments: &NewKeyArguments) -> Result<String, (String, String)> {
    let mut lines = Vec::new();
    if !arguments.routes.is_empty() {
        let names = arguments.routes.iter().map(|text| route_name(text)).collect::<Result<_, _>>();
        let names: Vec<String> = names.map_err(|text| {
            let message = format!("`{}` is not a route", text.escape_debug());
            (message, BadKeys::ROUTE_HINT.to_owned())
        })?;
        let names: Vec<String> = names.iter().map(|name| quoted_text(name)).collect();
        lines.push(format!("routes = [{}]\n", names.join(", ")));
    }
    if let Some(rate) = &arguments.rate {
        let rate: Rate =
            rate.parse().map_err(|error: NoRate| (error.to_string(), NoRate::HINT.to_owned()))?;
        lines.push(format!("rate = \"{rate}\"\n"));
    }
    if let Some(calls) = arguments.calls {
        lines.push(format!("calls = {calls}\n"));
    }
    Ok(lines.concat())
}

/// Writes a name as a key of TOML.
fn quoted(name: &str) -> String {
    let is_bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { quoted_text(name) }
}

fn quoted_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(name: &str) -> NewKeyArguments {
        let file = "keys.toml".into();
        NewKeyArguments { name: name.to_owned(), rate: None, calls: None, routes: vec![], file }
    }

    fn hash(number: u8) -> KeyHash {
        KeyHash([number; 32])
    }

    fn added(text: &str, name: &str, number: u8) -> String {
        with_key(text, &arguments(name), &hash(number)).expect(name).text
    }

    #[test]
    fn a_key_is_added_and_the_rest_stays_as_it_is() {
        let arguments = NewKeyArguments {
            rate: Some("100/60s".to_owned()),
            calls: NonZeroU32::new(4),
            routes: vec!["GET  /fib?num={num:int}".to_owned(), "PUT /words/{word}".to_owned()],
            ..arguments("a@b.example")
        };
        let text = "# mine\n[bob] # his\nhash = 'sha256:".to_owned() + &"0".repeat(64) + "'\n";
        let new = with_key(&text, &arguments, &hash(1)).expect("added");
        let (before, entry) = new.text.split_at(text.len());
        assert_eq!(before, text);
        assert_eq!(
            entry,
            format!(
                "\n[\"a@b.example\"]\nhash = \"sha256:{}\"\nroutes = [\"GET /fib\", \"PUT /words/{{word}}\"]\n\
                 rate = \"100/1m\"\ncalls = 4\n",
                "01".repeat(32)
            )
        );
        assert_eq!(KeyList::parse(&new.text).expect("good").0.len(), 2);
    }

    #[test]
    fn a_second_key_is_good_beside_the_first_and_a_third_is_none() {
        let first = added("", "alice", 1);
        assert!(first.starts_with("# The keys of callers"), "{first}");
        let second = added(&first.replace("[alice]", "[alice] # hers"), "alice", 2);
        let list = KeyList::parse(&second).expect("good");
        assert_eq!(list.0[0].hashes, [hash(1), hash(2)]);
        assert!(second.contains("# hers"), "{second}");
        let (message, hint) = with_key(&second, &arguments("alice"), &hash(3)).expect_err("third");
        assert!(message.contains("two keys already") && hint.contains("take the hash out"));
        let limited = NewKeyArguments { calls: NonZeroU32::new(1), ..arguments("alice") };
        assert!(with_key(&first, &limited, &hash(3)).is_err(), "what she may do is not changed");
    }

    #[test]
    fn who_is_known_by_a_certificate_gets_no_second_entry() {
        let text = "[alice]\ncert = \"a.example\"\n";
        let (message, _) = with_key(text, &arguments("alice"), &hash(1)).expect_err("known");
        assert!(message.contains("known by a certificate"), "{message}");
        assert_eq!(KeyList::parse(&added(text, "bob", 1)).expect("good").0.len(), 2);
    }

    #[test]
    fn what_cannot_be_used_is_not_written() {
        for name in ["", "a b", "a:b", "é", &"a".repeat(65), "a\"]\n[b"] {
            assert!(with_key("", &arguments(name), &hash(1)).is_err(), "{name}");
        }
        assert!(with_key("[bob]\n", &arguments("alice"), &hash(1)).is_err(), "not a keys file");
        let wrong = NewKeyArguments { rate: Some("many".to_owned()), ..arguments("alice") };
        assert!(with_key("", &wrong, &hash(1)).is_err());
        let wrong = NewKeyArguments { routes: vec!["/fib".to_owned()], ..arguments("alice") };
        assert!(with_key("", &wrong, &hash(1)).is_err());
    }
}
