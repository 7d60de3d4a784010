//! An option for every key of the file that `flags` has no shorter one for, made from the schema:
//! `--retries 3` for `retries`, `--limits-body 1MiB` for `body` in `[limits]`.
//!
//! A key that is added to the file has its option, its environment variable and its line in
//! `--help` by that alone.

use std::sync::LazyLock;

use clap::builder::ArgAction;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};
use serde_json::Value as Schema;
use toml::Value;

use super::flags::{CommandLine, Target, Typed};
use super::scalar::inline_table;
use super::schema::schema;

/// Keys that no option has a need for, and what says the same.
pub const ELSEWHERE: [(&str, &str); 5] = [
    ("command", "`-- PROGRAM`"),
    ("python", "`run TARGET`"),
    ("match", "`--route`"),
    // These tell apart what a command line has only one of.
    ("pool", ""),
    ("text", ""),
];

/// The options of `flags`, by the names of their keys.
static BY_HAND: LazyLock<Vec<String>> = LazyLock::new(|| {
    let line = CommandLine::command();
    let run = line.find_subcommand("run").expect("there is `run`");
    run.get_arguments().filter_map(Arg::get_long).map(|name| name.replace('-', "_")).collect()
});

/// The commands whose options mirror keys.
const COMMANDS: [&str; 5] = ["run", "check", "map", "init", "openapi"];

/// One option.
#[derive(Debug)]
struct KeyFlag {
    /// Its id, which is its name with `_`.
    id: &'static str,
    name: &'static str,
    variable: &'static str,
    help: String,
    heading: &'static str,
    target: Target,
    schema: Schema,
}

/// All options that are made from keys.
static FLAGS: LazyLock<Vec<KeyFlag>> = LazyLock::new(|| {
    let schema = schema();
    let properties = &schema["properties"];
    let mut flags = Vec::new();
    add(&mut flags, "More of the server", &[], properties, &Target::Server);
    let pool = &properties["pool"]["additionalProperties"]["properties"];
    add(&mut flags, "More of the pool", &[], pool, &Target::Pool);
    let route = &properties["route"]["items"]["properties"];
    add(&mut flags, "More of the routes", &[], route, &|way| Target::RouteKey(way[0]));
    flags
});

fn add(
    flags: &mut Vec<KeyFlag>,
    heading: &'static str,
    way: &[&'static str],
    properties: &Schema,
    target: &dyn Fn(&'static [&'static str]) -> Target,
) {
    for (key, schema) in properties.as_object().into_iter().flatten() {
        let way = [way, &[leaked(key.clone())]].concat();
        if schema["properties"].is_object() && !is_by_hand(&way, "-") {
            add(flags, heading, &way, &schema["properties"], target);
            continue;
        }
        let id = way.join("_");
        if is_by_hand(&way, heading) || flags.iter().any(|flag| flag.id == id) {
            continue;
        }
        let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let first = description.split_once(". ").map_or(&*description, |(first, _)| first);
        flags.push(KeyFlag {
            name: leaked(id.replace('_', "-")),
            variable: leaked(format!("HTTPIPE_{}", id.to_ascii_uppercase())),
            id: leaked(id),
            help: first.trim_end_matches('.').to_owned(),
            heading,
            target: target(Vec::leak(way)),
            schema: schema.clone(),
        });
    }
}

/// Returns true if `flags` has an option for the key at this place.
fn is_by_hand(way: &[&str], heading: &str) -> bool {
    let is_elsewhere = ELSEWHERE.iter().any(|(key, _)| way == [*key]);
    match way {
        // `--cache` is a key of the routes, `--log` the format and the level.
        ["log", key] => matches!(*key, "format" | "level"),
        ["log" | "cache" | "limits"] if heading == "-" => false,
        ["recycle"] => false,
        [key] => BY_HAND.iter().any(|name| name == key) || is_elsewhere,
        _ => false,
    }
}

/// The options are made once and kept for as long as the process runs.
fn leaked(text: String) -> &'static str {
    String::leak(text)
}

/// The whole command line.
pub fn command_line() -> Command {
    COMMANDS.iter().fold(CommandLine::command(), |command, name| {
        command.mut_subcommand(name, |command| {
            let arguments = FLAGS.iter().map(argument);
            command.args(arguments).after_help(
                "Each option has an environment variable, which it beats: HTTPIPE_TIMEOUT=5s for \
                 --timeout 5s. Both beat the file. docs/reference/config.md explains every key.",
            )
        })
    })
}

fn argument(flag: &'static KeyFlag) -> Arg {
    let argument = Arg::new(flag.id)
        .long(flag.name)
        .env(flag.variable)
        .hide_env(true)
        .help(flag.help.as_str())
        .help_heading(flag.heading);
    // A switch that may be a table.
    let alternatives = flag.schema["anyOf"].as_array().into_iter().flatten();
    let kinds: Vec<_> = alternatives.filter_map(|one| one["type"].as_str()).collect();
    let kind = flag.schema["type"].as_str();
    match kind.or_else(|| (kinds == ["boolean", "object"]).then_some("boolean")) {
        Some("boolean") => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
        Some("array") => argument.action(ArgAction::Append).value_name("VALUE"),
        Some("object") => argument.value_name("TABLE"),
        _ => argument.value_name("VALUE"),
    }
}

/// The options of keys that were given.
pub fn typed(matches: &ArgMatches) -> Vec<Typed> {
    let given = FLAGS.iter().filter_map(|flag| {
        let values: Vec<&String> = matches.get_many(flag.id)?.collect();
        let name = match matches.value_source(flag.id) {
            Some(ValueSource::EnvVariable) => flag.variable.to_owned(),
            _ => format!("--{}", flag.name),
        };
        Some(Typed { name, target: flag.target, value: value(&flag.schema, &values) })
    });
    given.collect()
}

/// What was typed as a value of this type; where it is none, a text, which `shape` reports.
fn value(schema: &Schema, texts: &[&String]) -> Value {
    if schema["type"] == "array" {
        return Value::Array(texts.iter().map(|text| item(&schema["items"], text)).collect());
    }
    let has_list =
        (schema["anyOf"].as_array().into_iter().flatten()).any(|one| one["type"] == "array");
    match texts {
        [text] => item(schema, text),
        several if has_list => {
            Value::Array(several.iter().map(|text| Value::String((*text).clone())).collect())
        }
        several => {
            several.last().map_or_else(|| Value::String(String::new()), |text| item(schema, text))
        }
    }
}

fn item(schema: &Schema, text: &str) -> Value {
    let may_be = |kind: &str| {
        let mut others = schema["anyOf"].as_array().into_iter().flatten();
        schema["type"] == kind || others.any(|schema| schema["type"] == kind)
    };
    let as_text = || Value::String(text.to_owned());
    if may_be("object") {
        if let Some(table) = inline_table(text) {
            return Value::Table(table);
        }
        // `--hello x` is short for `--hello '{ send = "x" }'`.
        if schema["properties"]["send"].is_object() {
            return Value::Table(toml::Table::from_iter([("send".to_owned(), as_text())]));
        }
    }
    match text {
        "true" | "false" if may_be("boolean") => Value::Boolean(text == "true"),
        _ if may_be("integer") => text.parse().map_or_else(|_| as_text(), Value::Integer),
        _ => as_text(),
    }
}

/// The option of a key, as the reference writes it; empty: it has none.
pub fn option_of(way: &[&str]) -> String {
    let elsewhere = way.last().and_then(|last| ELSEWHERE.iter().find(|(key, _)| key == last));
    // The `cache` of a route has an option, the table at the top has one for each of its keys.
    let is_table = matches!(way, ["cache" | "limits"] | ["pool", "recycle"]);
    let way = match way {
        ["pool" | "route", rest @ ..] => rest,
        all => all,
    };
    let id = way.join("_");
    match way {
        [_] if is_table => String::new(),
        [_] if elsewhere.is_some() => elsewhere.map_or("", |(_, option)| *option).to_owned(),
        ["log", "format" | "level"] => "`--log`".to_owned(),
        ["queue", _] => "`--queue`".to_owned(),
        ["cache", "shared_password", _] => "`--cache-shared-password`".to_owned(),
        ["framing" | "probe" | "id" | "admin_token" | "sandbox", _] => {
            format!("`--{}`", way[0].replace('_', "-"))
        }
        _ if FLAGS.iter().any(|flag| flag.id == id) || BY_HAND.contains(&id) => {
            format!("`--{}`", id.replace('_', "-"))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::tables;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn every_key_has_its_option_and_every_option_its_key() {
        let schema = schema();
        let mut options: Vec<String> = Vec::new();
        for table in tables(&schema) {
            for (key, value) in table.schema["properties"].as_object().into_iter().flatten() {
                let way = [&table.way[..], &[key.as_str()]].concat();
                let is_table = value["properties"].is_object();
                let is_inside =
                    matches!(way[..], [_, "params" | "hello" | "jobs", ..] if way.len() > 2);
                let is_named = matches!(way[..], ["pool" | "route"] | ["route", "pool" | "text"]);
                let option = option_of(&way);
                if !is_table && !is_inside && !is_named {
                    assert!(!option.is_empty(), "no option for {way:?}");
                }
                assert!(!option.contains('_'), "{option}");
                options.push(option.trim_matches('`').trim_start_matches("--").to_owned());
            }
        }
        let line = command_line();
        let run = line.find_subcommand("run").expect("there is `run`");
        // These say how this one run goes.
        let is_manner = |long: &&str| ["help", "fail-fast"].contains(long);
        for long in run.get_arguments().filter_map(Arg::get_long).filter(|it| !is_manner(it)) {
            let is_route = long == "route" && options.iter().any(|option| option == "route");
            assert!(is_route || options.iter().any(|option| option == long), "no key for --{long}");
        }
    }

    #[test]
    fn what_is_typed_is_read_as_its_key_wants_it() {
        let shown = |line: &[&str]| {
            let line = ["httpipe", "run"].iter().chain(line).chain(&["--", "cat"]);
            let matches = command_line().get_matches_from(line);
            let run = matches.subcommand().expect("run").1.clone();
            let all = typed(&run).into_iter();
            let all = all.map(|it| format!("{} {:?} {}", it.name, it.target, it.value));
            all.collect::<Vec<_>>().join("; ")
        };
        for (line, set) in [
            (&["--retries", "3"][..], r#"--retries Pool(["retries"]) 3"#),
            (&["--tty"], r#"--tty Pool(["tty"]) true"#),
            (&["--clear-env=false"], r#"--clear-env Pool(["clear_env"]) false"#),
            (&["--limits-body", "1MiB"], r#"--limits-body Server(["limits", "body"]) "1MiB""#),
            (&["--hello", "a"], r#"--hello Pool(["hello"]) [{ send = "a" }]"#),
            (&["--recycle-calls", "1"], r#"--recycle-calls Pool(["recycle", "calls"]) 1"#),
            (&["--idempotent=true"], r#"--idempotent RouteKey("idempotent") true"#),
        ] {
            assert_eq!(shown(line), set);
        }
    }
}
