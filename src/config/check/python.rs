//! The rules of pools that serve functions: which keys have no meaning there, and how their workers
//! are spoken to.
//!
//! Pure.

use std::time::Duration;

use crate::config::file::PoolFile;
use crate::config::findings::Findings;
use crate::config::framing::{Framing, Framings, IdNames, Matching};
use crate::config::pool::{
    Greeting, GroupSettings, GroupShape, InFlight, Probe, ProgressShape, PythonSettings,
    ReplyShape, StartSettings, StreamEnd, StreamSettings, WireSettings,
};
use crate::config::scalar::InFlightText;
use crate::config::tree::KeyPath;
use crate::python::{DESCRIBE, loop_text};

/// Keys about how a program is spoken to. The worker loop speaks in its own way.
const EXCLUDED: [&str; 17] = [
    "batch",
    "command",
    "framing",
    "matching",
    "reply",
    "error",
    "error_status",
    "progress",
    "stream",
    "cancel",
    "ready",
    "hello",
    "probe",
    "tty",
    "id",
    "jsonrpc",
    "stray",
];

/// Keys that only a pool of functions has.
const ONLY_HERE: [&str; 2] = ["interpreter", "fork"];

/// What a worker is told about a call that nobody waits for.
const CANCEL: &str = "{id} x {}";

/// Reports keys that have no meaning beside `python`, or without it.
pub(super) fn excluded(findings: &mut Findings<'_>, path: &KeyPath, file: &PoolFile) {
    let (keys, why): (&[&str], _) = match file.python {
        Some(_) => {
            (&EXCLUDED, "cannot be used with `python`: functions are asked in their own way")
        }
        None => (&ONLY_HERE, "has no effect without `python`"),
    };
    for key in keys {
        let key_path = path.key(key);
        if findings.places.is_written(&key_path) {
            let name = findings.name(&key_path);
            let hint = match (*key, &file.python) {
                ("command", _) => "keep one of them".to_owned(),
                ("batch", _) => "write `@httpipe.batch(16)` above the function".to_owned(),
                (_, None) => "add `python = \"FILE.py:NAME\"`, or remove it".to_owned(),
                _ => format!("remove `{name}`"),
            };
            findings.refuse(&key_path, format!("`{name}` {why}"), hint);
        }
    }
}

/// How workers of a pool of functions are spoken to.
pub(super) fn wire(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    python: &PythonSettings,
) -> WireSettings {
    let message_max = findings.positive_size(&path.key("message_max"), file.message_max).0;
    let buffer = findings.positive_size(&path.key("stream_buffer"), file.stream_buffer).0;
    let in_bytes = |size| usize::try_from(size).unwrap_or(usize::MAX);
    let group = group(file, python);
    // The answers of a group are one message, and each may be as long as one alone.
    let together = group.map_or(1, |group| group.most);
    let streams = python.functions.iter().any(|function| function.kind.streams());
    let stream = StreamSettings { end: StreamEnd::Kind, buffer: in_bytes(buffer) };
    WireSettings {
        framing: Framings { send: Framing::U32, reply: Framing::U32 },
        matching: Matching::Tag,
        reply: ReplyShape::Kinds,
        error: None,
        error_status: file.error_status,
        progress: Some(ProgressShape::Kind),
        error_is_stderr: false,
        message_max: in_bytes(message_max),
        written_max: in_bytes(message_max).saturating_mul(together),
        takes_turns: false,
        takes_back: takes_back(python),
        stream: streams.then_some(stream),
        cancel: group.is_none().then(|| CANCEL.to_owned()),
        id: IdNames::default(),
        is_json_rpc: false,
        drops_strays: false,
        tells_details: false,
        group: group.map(|_| GroupShape::Frames),
    }
}

/// How many calls a worker gets together; `None`: it has each as a call of its own. Where workers run
/// one batch after the other, the server puts them together, so that it knows which calls were together
/// when a worker is lost.
pub(super) fn group(file: &PoolFile, python: &PythonSettings) -> Option<GroupSettings> {
    let is_single = file.recycle.as_ref().is_some_and(|recycle| recycle.calls == Some(1));
    // A group is made of calls that wait.
    let is_apart = file.in_flight.is_some() || is_single || file.queue.length == 0;
    if is_apart || !python.functions.iter().all(|it| it.takes_groups) {
        return None;
    }
    let most = python.functions.iter().map(|function| function.batch).min()?;
    Some(GroupSettings { most: most.max(1) as usize, wait: Duration::ZERO, mixes_all: true })
}

/// What a new worker is sent: the loop, and the question whose answer shows that it is ready.
pub(super) fn start() -> StartSettings {
    StartSettings {
        ready: None,
        hello: vec![Greeting { send: loop_text().to_owned(), answer: false }],
        probe: Some(Probe { send: DESCRIBE.to_owned(), reply: None }),
    }
}

/// Returns true if workers read one question at a time, so that others can be taken back. Calls that
/// may all run twice need not be: they are run elsewhere as well, and reading several costs less.
fn takes_back(python: &PythonSettings) -> bool {
    begin_at_once(python) && !python.functions.iter().all(|function| function.pure)
}

/// Returns true if a worker runs one call after the other, and nothing beside it.
fn begin_at_once(python: &PythonSettings) -> bool {
    python.functions.iter().all(|function| function.begins_at_once)
}

/// How many calls a worker takes at once: as many as every function of the pool can. Where it runs
/// one after the other, short calls are sent ahead: what it has not begun can be taken back.
pub(super) fn in_flight(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    python: &PythonSettings,
) -> InFlight {
    let streams = python.functions.iter().find(|function| function.kind.streams());
    if let (Some(InFlightText::Text(_)), Some(function)) = (&file.in_flight, streams) {
        let message = format!(
            "`in_flight = \"auto\"` may run a call twice, which `{}` does not allow: it yields",
            function.name
        );
        findings.refuse(&path.key("in_flight"), message, "write a number");
    }
    if group(file, python).is_some() {
        return InFlight::Fixed(1);
    }
    let derived = python.functions.iter().map(|function| function.in_flight.max(1)).min();
    match &file.in_flight {
        Some(InFlightText::Number(number)) => InFlight::Fixed(*number),
        Some(InFlightText::Text(_)) => InFlight::Auto,
        None if begin_at_once(python) => InFlight::Auto,
        None => InFlight::Fixed(derived.unwrap_or(1)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::config::check::{Host, check};
    use crate::config::file::File;
    use crate::config::pool::{Import, LaunchSettings};
    use crate::config::server::Config;
    use crate::config::tree::Tree;
    use crate::config::{Environment, Fence};
    use crate::python::{Function, PythonTarget};

    fn function(signature: serde_json::Value) -> Function {
        serde_json::from_value(signature).expect("a function")
    }

    fn functions() -> Vec<Function> {
        let n =
            serde_json::json!([{ "name": "n", "schema": { "type": "integer" }, "required": true }]);
        let items = serde_json::json!([{ "name": "items", "schema": { "type": "array" }, "required": true }]);
        let raw =
            serde_json::json!([{ "name": "data", "schema": {}, "bytes": true, "required": true }]);
        let stream = serde_json::json!({ "name": "count", "kind": "stream", "parameters": n });
        vec![
            function(
                serde_json::json!({ "name": "fib", "kind": "sync", "parameters": n, "pure": true }),
            ),
            function(
                serde_json::json!({ "name": "sum", "kind": "async", "parameters": items, "in_flight": 64 }),
            ),
            function(serde_json::json!({ "name": "blob", "kind": "sync", "parameters": raw })),
            function(stream),
        ]
    }

    fn checked(pool: &str, rest: &str, functions: Vec<Function>) -> Result<Config, Vec<String>> {
        let text = format!("[pool.calc]\n{pool}\n{rest}");
        let (tree, _) = Tree::parse(&text).expect("valid TOML");
        let file: File = tree.values.try_into().expect("its shape is right");
        let launch = LaunchSettings {
            program: PathBuf::from("/usr/bin/python3"),
            name: "python3".to_owned(),
            arguments: vec![],
            dir: PathBuf::from("/"),
            env: Environment::default(),
            tty: false,
            watch: vec![],
            files: Some(vec![]),
            fence: Fence::default(),
        };
        let target = PythonTarget::parse("calculate.py:fib").expect("a target");
        let python = PythonSettings { target, fork: None, version: "3.11.7".to_owned(), functions };
        let import = Import { why: String::new(), prefix: String::new(), took_ms: 1.0 };
        let launches = BTreeMap::from([("calc".to_owned(), launch)]);
        let host = Host {
            pythons: BTreeMap::from([("calc".to_owned(), (python, import))]),
            ..Host::for_tests(launches)
        };
        check(&file, &tree.places, &host, vec![]).map_err(|problems| {
            let said = |one: crate::config::problem::Problem| {
                format!("{} -- {}", one.message, one.hint.unwrap_or_default())
            };
            problems.into_iter().map(said).collect()
        })
    }

    fn said(pool: &str, rest: &str) -> String {
        let python = format!("python = \"calculate.py:fib\"\n{pool}");
        checked(&python, rest, functions()).expect_err(rest).join("; ")
    }

    #[test]
    fn each_key_of_other_programs_is_refused_beside_functions() {
        for (key, value) in [
            ("command", "[\"cat\"]"),
            ("framing", "\"line\""),
            ("matching", "\"tag\""),
            ("reply", "\"json\""),
            ("error", "\"e|{message}\""),
            ("error_status", "500"),
            ("progress", "\"json\""),
            ("stream", "\"more\""),
            ("cancel", "\"x\""),
            ("ready", "\"> \""),
            ("hello", "[]"),
            ("probe", "{ send = \"x\" }"),
            ("tty", "false"),
            ("id", "\"x\""),
            ("jsonrpc", "false"),
            ("stray", "\"stop\""),
        ] {
            let said = said(&format!("{key} = {value}"), "");
            assert!(said.starts_with(&format!("`{key}` cannot be used with `python`")), "{said}");
        }
        for key in ["interpreter = \"x\"", "fork = true"] {
            let said = checked(&format!("command = [\"cat\"]\n{key}"), "", vec![]);
            let said = said.expect_err(key).join("; ");
            assert!(said.contains("has no effect without `python`"), "{said}");
        }
    }

    #[test]
    fn functions_have_routes_of_their_own_unless_a_route_names_their_pool() {
        let config = checked("python = \"calculate.py:*\"", "", functions()).expect("valid");
        let labels: Vec<&str> = config.routes.iter().map(|route| &*route.label).collect();
        let all = ["GET /fib", "POST /fib", "POST /sum", "POST /blob", "GET /count", "POST /count"];
        assert_eq!(labels, all);
        let route = "[[route]]\nmatch = \"GET /v1/fib/{n}\"\nfunction = \"fib\"";
        let config = checked("python = \"calculate.py:*\"", route, functions()).expect("valid");
        assert_eq!(config.routes.len(), 1);
    }

    #[test]
    fn a_function_says_whether_its_own_routes_take_items_and_jobs() {
        let route = |config: &Config, label: &str| {
            let route = config.routes.iter().find(|route| &*route.label == label);
            match &route.expect("it is derived").action {
                crate::config::RouteAction::Call(call) => (call.items, call.jobs.is_some()),
                crate::config::RouteAction::Text { .. } => panic!("it is a call"),
            }
        };
        let marked = |kind: &str| {
            function(serde_json::json!({
                "name": "render", "kind": kind, "parameters": [], "items": 10, "jobs": true,
            }))
        };
        let python = "python = \"a.py:*\"\nworkers = 2";
        let config = checked(python, "[jobs]", vec![marked("sync")]).expect("valid");
        assert_eq!(route(&config, "POST /render"), (Some(10), true));
        assert_eq!(route(&config, "GET /render"), (None, true));
        let own = "[jobs]\n[[route]]\nmatch = \"POST /r\"";
        let config = checked(python, own, vec![marked("sync")]).expect("valid");
        assert_eq!(route(&config, "POST /r"), (None, false), "a written route says so itself");
        let said = |pool: &str, rest: &str, kind: &str| {
            checked(pool, rest, vec![marked(kind)]).expect_err("refused").join("; ")
        };
        let all = [
            said(python, "", "sync"),
            said("python = \"a.py:*\"\nworkers = 1", "[jobs]", "sync"),
            said(python, "[jobs]", "stream"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r##"
`@httpipe.route` of `render`: `jobs` needs a file that keeps them, and there is no `[jobs]` -- add a table `[jobs]`, which may be empty, or `--jobs-file jobs.db`
`@httpipe.route` of `render`: no item could ever run: callers have all the workers for themselves -- write `workers = "1..2"` or `share = 1` in `pool.calc`
`@httpipe.route` of `render`: answers that come in parts are no outcomes of items -- leave `items` out
"##);
    }

    #[test]
    fn where_all_functions_take_lists_a_worker_gets_groups() {
        let config = |pool: &str, sizes: [u32; 2], takes: [bool; 2]| {
            let one = |(number, (batch, takes)): (usize, (u32, bool))| {
                function(serde_json::json!({
                    "name": format!("f{number}"), "kind": "sync", "parameters": [], "batch": batch,
                    "in_flight": batch, "takes_groups": takes,
                }))
            };
            let functions = sizes.into_iter().zip(takes).enumerate().map(one).collect();
            let pool = format!("python = \"calculate.py:*\"\n{pool}");
            let config = checked(&pool, "", functions).expect("valid");
            let rules = &config.pools[0].rules;
            let wire = &config.pools[0].program.wire;
            (rules.group.map(|group| group.most), wire.group, rules.in_flight)
        };
        let frames = Some(GroupShape::Frames);
        assert_eq!(config("", [16, 64], [true, true]), (Some(16), frames, InFlight::Fixed(1)));
        assert_eq!(config("", [16, 64], [true, false]), (None, None, InFlight::Fixed(16)));
        let own = config("in_flight = 32", [16, 64], [true, true]);
        assert_eq!(own, (None, None, InFlight::Fixed(32)));
        let unqueued = config("queue.length = 0", [16, 64], [true, true]);
        assert_eq!(unqueued, (None, None, InFlight::Fixed(16)), "no call waits for a group");
    }

    #[test]
    fn a_route_of_a_function_is_refused_what_cannot_work() {
        let routes = [
            "match = \"GET /a?n={n}\"",
            "match = \"GET /a?n={n}\"\nfunction = \"fob\"",
            "match = \"GET /a?m={m}\"\nfunction = \"fib\"",
            "match = \"GET /a?n={n:float}\"\nfunction = \"fib\"",
            "match = \"POST /a\"\nfunction = \"fib\"\nsend = \"{body}\"",
            "match = \"GET /a?n={n}\"\nfunction = \"fib\"\nparams.n = { min = 1 }",
            "match = \"GET /a\"\nfunction = \"blob\"",
            "match = \"POST /a?data={data}\"\nfunction = \"blob\"",
            "match = \"GET /a?n={n}\"\nfunction = \"sum\"",
            "match = \"GET /a\"\nfunction = \"count\"\nidempotent = true\ncache = \"1s\"",
            "match = \"POST /a\"\nfunction = \"sum\"\ncache = \"1s\"",
        ];
        let all = routes.map(|route| said("", &format!("[[route]]\n{route}"))).join("\n");
        insta::assert_snapshot!(all, @r##"
this route does not say which function it calls: fib, sum, blob, count -- add `function = "fib"`
`calculate.py:fib` serves no function `fob` -- did you mean "fib"?
`fib` has no parameter `m` -- did you mean `n`?
`n` of `fib` is no float -- write {n}: the signature has its type
`send` cannot be used with a function: it is asked by its parameters -- remove it
`params.n` has no effect: the signature says what may be sent -- write it into the annotation, or check it in the function
`blob` needs `data`, which no GET has -- add it to the query: data={data}, or take POST
`data` is bytes: it is the body -- take it out of `match`
`sum` has no parameter `n` -- it has items
`cache` cannot be used with a function that yields parts -- remove one of them
`cache` would answer a second call without running it -- add `idempotent = true` if a call may be left out, else remove `cache`
"##);
    }

    #[test]
    fn a_worker_takes_as_many_calls_as_every_function_can() {
        let in_flight = |pool: &str, functions: Vec<Function>| {
            let pool = format!("python = \"calculate.py:*\"\n{pool}");
            checked(&pool, "", functions).expect("valid").pools[0].rules.in_flight
        };
        assert_eq!(in_flight("", functions()), InFlight::Fixed(1));
        assert_eq!(in_flight("", functions().split_off(1)[..1].to_vec()), InFlight::Fixed(64));
        assert_eq!(in_flight("in_flight = 3", functions()), InFlight::Fixed(3));
    }

    #[test]
    fn no_call_whose_answer_comes_in_parts_is_run_twice() {
        for kind in ["stream", "async stream"] {
            let count = function(serde_json::json!({
                "name": "count", "kind": kind, "parameters": [], "pure": true,
            }));
            let pool = "python = \"calculate.py:*\"\nin_flight = \"auto\"";
            let said = checked(pool, "", vec![count]).expect_err(kind).join("; ");
            let why = "may run a call twice, which `count` does not allow: it yields";
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn short_calls_are_sent_ahead_where_a_worker_reads_one_at_a_time() {
        let config = |pool: &str, at_once: [bool; 2], pure: [bool; 2]| {
            let sync = |(number, (at_once, pure)): (usize, (bool, bool))| {
                let name = format!("f{number}");
                function(serde_json::json!({
                    "name": name, "kind": "sync", "parameters": [], "begins_at_once": at_once,
                    "pure": pure,
                }))
            };
            let pool = format!("python = \"calculate.py:*\"\n{pool}");
            let config =
                checked(&pool, "", at_once.into_iter().zip(pure).enumerate().map(sync).collect())
                    .expect("valid");
            (config.pools[0].rules.in_flight, config.pools[0].program.wire.takes_back)
        };
        let (all, one, none) = ([true, true], [true, false], [false, false]);
        assert_eq!(config("", all, none), (InFlight::Auto, true));
        assert_eq!(config("", all, one), (InFlight::Auto, true));
        assert_eq!(config("", all, all), (InFlight::Auto, false), "a slow one is run elsewhere");
        assert_eq!(config("", one, none), (InFlight::Fixed(1), false));
        assert_eq!(config("in_flight = 1", all, none), (InFlight::Fixed(1), true));
    }

    #[test]
    fn another_function_is_another_program() {
        let program = |pool: &str, functions: Vec<Function>| {
            let pool = format!("python = \"calculate.py:*\"\n{pool}");
            checked(&pool, "", functions).expect("valid").pools[0].program.clone()
        };
        assert_eq!(program("", functions()), program("", functions()));
        assert_eq!(program("", functions()), program("workers = 3", functions()));
        assert_ne!(program("", functions()), program("", functions().split_off(1)));
    }
}
