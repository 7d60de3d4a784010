//! The document of every example: it is as it was, it is valid, and the server does what it says.
//!
//! `UPDATE=1 cargo test --test programs openapi` writes the documents anew.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::serve::{environment, is_there, programs, start};
use crate::support::{Server, shell, skipped};

/// Examples of functions, which have no file: what is served, and what its worker needs.
const FUNCTIONS: [(&str, &str, &str); 5] = [
    ("python-client", "prices.py:Prices", "python/httpx"),
    ("python-fib", "calculate.py:fib", "python3"),
    ("python-image", "picture.py:*", "python/PIL"),
    ("python-model", "flowers.py:classify", "python/sklearn"),
    ("python-stream", "story.py:*", "python3"),
];

/// Where Schemathesis and the validator are, as `install.sh` puts them.
const TOOLS: &str = "openapi/schemathesis";

/// Examples whose program takes any question at any speed, so that thousands may be asked.
const FUZZED: [&str; 4] = ["units", "squid-auth", "jq", "native-messaging"];

/// Those that are fuzzed for long, besides.
const FUZZED_FOR_LONG: [&str; 8] =
    ["addr2line", "cs2cs", "cxxfilt", "factor", "gawk", "netstring", "sed", "sort"];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The names of all examples with a file, and the arguments that serve each.
fn examples() -> Vec<(String, String)> {
    let entries = fs::read_dir(project("examples")).expect("there are examples");
    let names =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let has_file = |name: &String| project(&format!("examples/{name}/httpipe.toml")).is_file();
    let mut all: Vec<_> = names.filter(has_file).map(|name| (name, String::new())).collect();
    for (name, target, need) in FUNCTIONS {
        if is_there(need) {
            all.push((name.to_owned(), format!("'{target}'")));
        } else {
            skipped(&format!("{need} is not installed"), "tests/programs/install.sh installs it");
        }
    }
    all.sort();
    all
}

/// What `httpipe openapi` prints in the directory of an example; `None` if its program is missing.
fn document(name: &str, arguments: &str) -> Option<String> {
    let (path, python) = environment();
    let (dir, binary) = (project("examples").join(name), env!("CARGO_BIN_EXE_httpipe"));
    let line = format!(
        "cd '{}' && PRICES=x PATH='{path}' PYTHONPATH='{python}' '{binary}' openapi {arguments} 2>&1",
        dir.display()
    );
    match shell(&line) {
        (0, document) => Some(document),
        (_, told) if told.contains("there is no program") => {
            skipped(
                &format!("{name}: its program is missing"),
                "tests/programs/install.sh installs it",
            );
            None
        }
        (_, told) => panic!("{name}: {told}"),
    }
}

/// What of a document differs between configurations: the rest is in that of `fib`.
fn own_part(name: &str, document: &str) -> String {
    if name == "fib" {
        return document.to_owned();
    }
    let document: Value = serde_json::from_str(document).expect("JSON");
    let own = serde_json::json!({
        "title": document["info"]["title"],
        "paths": document["paths"],
        "schemas": document["components"]["schemas"],
    });
    format!("{own:#}\n")
}

#[test]
fn the_documents_of_all_examples_are_as_they_were_and_valid() {
    let update = std::env::var_os("UPDATE").is_some();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents");
    fs::create_dir_all(&place).expect("a directory");
    let mut paths = String::new();
    for (name, arguments) in examples() {
        let Some(document) = document(&name, &arguments) else { continue };
        let kept = project(&format!("tests/programs/documents/{name}.json"));
        let own = own_part(&name, &document);
        if update {
            fs::write(&kept, &own).expect("it can be written");
        }
        let was = fs::read_to_string(&kept).unwrap_or_default();
        assert!(
            was == own,
            "{} is stale; `UPDATE=1` writes it, look at what changes",
            kept.display()
        );
        let path = place.join(format!("{name}.json"));
        fs::write(&path, document).expect("it can be written");
        paths.extend([format!(" '{}'", path.display())]);
    }
    let Some(tools) = tools() else { return };
    let (code, told) = shell(&format!("{tools} python3 -m openapi_spec_validator {paths} 2>&1"));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn the_server_does_what_its_document_says() {
    for name in FUZZED {
        fuzz_example(name, 10);
    }
}

#[test]
fn the_server_does_what_the_document_of_everything_says() {
    let Some(tools) = tools() else { return };
    fuzz(&Server::config(EVERYTHING).start(), &tools, 15);
}

#[test]
#[ignore = "a minute for each example"]
fn the_server_does_what_its_document_says_for_long() {
    for name in FUZZED.into_iter().chain(FUZZED_FOR_LONG) {
        fuzz_example(name, 60);
    }
}

#[test]
#[ignore = "a minute"]
fn the_server_does_what_the_document_of_everything_says_for_long() {
    let Some(tools) = tools() else { return };
    fuzz(&Server::config(EVERYTHING).start(), &tools, 60);
}

fn fuzz_example(name: &str, seconds: u32) {
    let (Some(tools), Some(_)) = (tools(), document(name, "")) else { return };
    let plan = Server::args(&[&format!("examples/{name}/httpipe.toml")]).in_project();
    if let Some(server) = start(plan, &[]) {
        fuzz(&server, &tools, seconds);
    }
}

/// The start of a line that runs the tools; `None` if they are missing.
fn tools() -> Option<String> {
    if !is_there(TOOLS) {
        skipped("Schemathesis is not installed", "tests/programs/install.sh installs it");
        return None;
    }
    let (own, tools) = (project("tests/programs"), programs().join("openapi"));
    Some(format!(
        "PYTHONDONTWRITEBYTECODE=1 SCHEMATHESIS_HOOKS=openapi_checks PYTHONPATH='{}:{}'",
        tools.display(),
        own.display()
    ))
}

/// Asks what the document allows and what it does not, and holds the answers against it. A server
/// that is asked so fast may be busy, or too slow for an `X-Timeout`: `openapi_checks.py` says how
/// it must tell so.
fn fuzz(server: &Server, tools: &str, seconds: u32) {
    let (dir, url) = (server.dir().display(), server.url());
    let (code, told) = shell(&format!(
        "cd '{dir}' && {tools} timeout {} python3 -m schemathesis.cli run {url}/openapi.json \
         --no-color --seed 1 --phases coverage,fuzzing --max-time {seconds} --warnings off \
         --checks all --continue-on-failure --exclude-checks \
         not_a_server_error,negative_data_rejection,positive_data_acceptance 2>&1",
        seconds + 300
    ));
    assert_eq!(code, 0, "{told}");
}

/// Every kind of parameter, body and answer.
const EVERYTHING: &str = r#"
[pool.main]
command = ["$httpipe", "demo-worker"]
workers = 2

[pool.lengths]
command = ["cat"]
framing = "u32"
workers = 1

[jobs]

[pool.pairs]
command = ["$httpipe", "demo-worker", "--pair"]
workers = 2
reply = "{input}|{result}"

[[route]]
match = "GET /all/{word}/{n:int}?f={f:float}&b={b:bool}&j={j:json}&t={t}&c={c}"
pool = "main"
send = "{word} {n} {f} {b} {j} {t:json} {c} {header.x-mode}"
params.word = { pattern = "[a-z]+(-[a-z]+)*", max_length = 20 }
params.n = { min = "-100000000000000000000", max = 45 }
params.f = { min = -1.5, max = 2.5, default = 0.5 }
params.b = { default = true }
params.c = { one_of = ["red", "gr\"een", "it's <b>"], default = "red" }

[[route]]
match = "POST /all/{word}/{m:int}?f={f:float}&b={b:bool}&j={j:json}&t={t}"
pool = "main"
send = "{word} {m} {f} {b} {j} {t:json}"

[[route]]
match = "PUT /form?a={a}&n={n:int}&o={o}"
pool = "main"
send = "{a} {n} {o}"
params.a = { pattern = "\\S+", max_length = 30 }
params.o = { default = "it's \"quoted\"" }

[[route]]
match = "POST /upload?doc={doc:file}&name={name}"
pool = "lengths"
send = "{doc} {name}"

[[route]]
match = "POST /body"
pool = "main"

[[route]]
match = "POST /bytes"
pool = "lengths"

[[route]]
match = "GET /pair?n={n:int}"
pool = "pairs"
cache = "1m"
jobs = true

[[route]]
match = "GET /free"
pool = "lengths"
send = "json"

[[route]]
match = "PATCH /free"
pool = "lengths"
send = "json"

[[route]]
match = "GET /fixed/*"
text = "Ok"
"#;
