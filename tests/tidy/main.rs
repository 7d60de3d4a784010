//! Rules about the code and its documents that the compiler does not know. Each has a test on
//! bad examples beside it, so that it is seen to fail.
//!
//! These rules decide; CONTRIBUTING.md explains them.

mod layers;
mod names;
mod paths;
mod purity;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use layers::{LAYERS, circles, room_of, unused_allowances, upward_imports};
use names::homonyms;
use paths::Tree;
use purity::impurities;
use source::{body_lines, code_only, is_name, shipped, without_tests};

/// What only the rooms that speak HTTP may name.
const HTTP: &[&str] = &["StatusCode", "http::", "hyper::", "hyper_util::", "http_body_util::"];
const HTTP_ROOMS: &[&str] = &["net", "front", "admin"];

/// Longer than the limit, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const ARCHITECTURE_LINES_MAX: usize = 300;

/// The commands of the README. No other set-up is needed.
const COMMANDS: &[&str] = &["cargo run --release -- run examples/fib/httpipe.toml", "cargo test"];

type Rule = fn(&str, &str) -> Vec<String>;

/// Every rule about a Rust file, by the name its findings are reported under.
const RULES: &[(&str, Rule)] = &[
    ("layers", upward_imports),
    ("purity", impurities),
    ("http", http_outside_its_rooms),
    ("header", missing_header),
    ("function length", long_functions),
    ("file length", long_file),
    ("banned words", banned_words),
    ("ignored tests", ignored_without_reason),
    ("sleeping tests", sleeps_in_tests),
];

#[test]
fn every_file_keeps_the_rules() {
    let mut findings = Vec::new();
    for path in files_below("src", "rs").into_iter().chain(files_below("tests", "rs")) {
        let text = fs::read_to_string(root().join(&path)).expect("a source file is text");
        for (name, rule) in RULES {
            for finding in rule(&path, &text) {
                findings.push(format!("{path}: {name}: {finding}"));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_module_has_its_layer() {
    let listed: Vec<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    for path in files_below("src", "rs") {
        let room = room_of(&path);
        let is_listed = listed.contains(&room);
        assert!(is_listed || matches!(room, "lib" | "main"), "{path} is in no layer");
    }
    for (index, (module, allowed)) in LAYERS.iter().enumerate() {
        for import in *allowed {
            let below = &listed[..index];
            assert!(below.contains(import), "`{module}` may import `{import}`, which is above it");
        }
    }
}

#[test]
fn files_import_each_other_in_no_circle_and_rooms_only_what_they_may() {
    let texts = sources();
    let tree = Tree::new(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let mut findings = circles(&tree);
    findings.extend(unused_allowances(LAYERS, &tree));
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn no_name_of_a_type_means_two_things() {
    let texts = sources();
    let findings = homonyms(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_path_in_a_document_exists() {
    let mut findings = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(root().join(&path)).expect("a document is text");
        for token in paths_in(&text) {
            let beside = root().join(&path).parent().map(|dir| dir.join(&token));
            if !root().join(&token).exists() && !beside.is_some_and(|beside| beside.exists()) {
                findings.push(format!("{path}: `{token}` is not there"));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    let mut findings = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(root().join(&path)).expect("a document is text");
        let dir = Path::new(&path).parent().expect("a file has a directory");
        for link in links_in(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone().into() } else { dir.join(file) };
            let linked = fs::read_to_string(root().join(&target)).unwrap_or_default();
            let is_there = root().join(&target).exists()
                && (heading.is_empty() || anchors_in(&linked).iter().any(|it| it == heading));
            if !is_there {
                findings.push(format!("{path}: the link to `{link}` leads nowhere"));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn the_readme_has_the_commands_that_do_all_the_set_up() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let commands = fenced(&readme);
    for command in COMMANDS {
        assert!(commands.iter().any(|line| line == command), "no `{command}` in a code fence");
    }
}

#[test]
fn the_architecture_fits_on_a_few_screens_and_names_no_lines() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is one");
    assert!(text.lines().count() <= ARCHITECTURE_LINES_MAX);
    assert!(!text.contains(".rs:"), "line numbers are wrong after the next change");
}

// The rules.

fn http_outside_its_rooms(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("src/") || HTTP_ROOMS.contains(&room_of(path)) {
        return Vec::new();
    }
    let code = shipped(path, text);
    let found = HTTP.iter().filter(|name| holds_name(&code, name));
    found.map(|name| format!("only {HTTP_ROOMS:?} may name `{name}`")).collect()
}

fn missing_header(_: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") { Vec::new() } else { vec!["no `//!` header".into()] }
}

fn long_functions(_: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let mut findings = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        let is_word = code[..start].chars().next_back().is_none_or(|before| !is_name(before));
        let Some(length) = is_word.then(|| body_lines(&code[start..])).flatten() else { continue };
        if length > FUNCTION_LINES_MAX {
            let name = code[start + 3..].split(|c| !is_name(c)).next().unwrap_or_default();
            findings.push(format!("`{name}` has {length} lines, {FUNCTION_LINES_MAX} are enough"));
        }
    }
    findings
}

fn long_file(path: &str, text: &str) -> Vec<String> {
    let length = without_tests(path, text).lines().count();
    let is_named = LONG_FILES.iter().any(|(named, _)| *named == path);
    if is_named && length <= FILE_LINES_MAX {
        return vec!["is no longer long, and needs no exception".to_owned()];
    }
    if is_named || length <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{length} lines, {FILE_LINES_MAX} are enough")]
}

fn banned_words(_: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file keeps its own rule.
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["dbg", "!("]].map(|parts| parts.concat());
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in &words {
            if line.contains(word.as_str()) {
                findings.push(format!("`{word}` in line {}", index + 1));
            }
        }
    }
    findings
}

fn ignored_without_reason(_: &str, text: &str) -> Vec<String> {
    let bare = format!("#[{}]", "ignore");
    let found = text.lines().filter(|line| line.trim() == bare);
    found.map(|_| "say why: `#[ignore = \"…\"]`".to_owned()).collect()
}

fn sleeps_in_tests(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("tests/") || path.contains("/support") {
        return Vec::new();
    }
    let code = code_only(text);
    let calls = code.matches("sleep(").count() - code.matches("fn sleep(").count();
    (0..calls).map(|_| "wait for what is to happen, not for a clock".to_owned()).collect()
}

// Helpers of the rules.

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the path and the text of every file of the rooms.
fn sources() -> Vec<(String, String)> {
    let text = |path: &String| fs::read_to_string(root().join(path)).expect("it is text");
    files_below("src", "rs").into_iter().map(|path| (path.clone(), text(&path))).collect()
}

/// Returns every file with this ending, as a path from the root with `/`.
fn files_below(dir: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(dir)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(root().join(&dir)) else { continue };
        for entry in entries {
            let entry = entry.expect("a directory can be listed");
            let path = dir.join(entry.file_name());
            if entry.file_type().expect("an entry has a type").is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root()).expect("the root can be listed") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            all.push(name);
        }
    }
    all.extend(files_below("docs", "md"));
    all.extend(files_below("examples", "md"));
    all
}

/// Returns true if the code contains this name, not as the end of a longer one.
fn holds_name(code: &str, name: &str) -> bool {
    code.match_indices(name)
        .any(|(start, _)| code[..start].chars().next_back().is_none_or(|before| !is_name(before)))
}

/// Returns the paths of this project in back-ticks.
fn paths_in(text: &str) -> Vec<String> {
    let rooms = ["src/", "tests/", "docs/", "examples/", "benches/", "bench/", "fuzz/", ".ci/"];
    let spans = text.split('`').skip(1).step_by(2);
    let is_plain = |span: &str| span.chars().all(|c| is_name(c) || "./-".contains(c));
    let is_path = |span: &str| {
        rooms.iter().any(|room| span.starts_with(room))
            || [".rs", ".md"].iter().any(|ending| span.ends_with(ending) && span != *ending)
    };
    spans.filter(|span| is_plain(span) && is_path(span)).map(str::to_owned).collect()
}

/// The targets of the links `[text](target)` that stay inside the project.
fn links_in(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let inside = targets.filter(|(target, _)| !target.contains(':') && !target.contains(' '));
    inside.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors that GitHub makes from the headings of a document.
fn anchors_in(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let name = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        name.chars().filter(|c| is_name(*c) || *c == '-').collect()
    };
    headings.map(anchor).collect()
}

/// The lines in code fences, without the prompt that some have.
fn fenced(text: &str) -> Vec<String> {
    let mut is_inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_inside = !is_inside;
        } else if is_inside {
            lines.push(line.trim().trim_start_matches("$ ").to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_in_a_room_that_must_not_know_it() {
        let bad = "use http::StatusCode;";
        assert_eq!(http_outside_its_rooms("src/pool/mod.rs", bad).len(), 2);
        assert!(http_outside_its_rooms("src/front/mod.rs", bad).is_empty());
        assert!(http_outside_its_rooms("src/wire/mod.rs", "mod my_http; my_http::f()").is_empty());
    }

    #[test]
    fn files_without_a_header() {
        assert_eq!(missing_header("src/a.rs", "use std::fs;").len(), 1);
        assert!(missing_header("src/a.rs", "//! What it is for.\n").is_empty());
    }

    #[test]
    fn functions_and_files_that_are_too_long() {
        let lines = "    let brace = '{'; // }\n    let text = \"}\";\n".repeat(35);
        assert!(
            long_functions("a.rs", &format!("fn f() {{\n{}}}", &lines[..lines.len() - 90]))
                .is_empty()
        );
        let bad = format!("trait T {{ fn short(); }}\nfn long() {{\n{lines}}}\n");
        assert_eq!(long_functions("a.rs", &bad), ["`long` has 72 lines, 70 are enough"]);
        assert_eq!(long_file("a.rs", &"//! x\n".repeat(501)).len(), 1);
        for seen in ["", "pub(super) "] {
            let tested = format!("//! x\n#[cfg(test)]\n{seen}mod tests {{\n{}}}", "\n".repeat(600));
            assert!(long_file("a.rs", &tested).is_empty());
        }
        assert!(long_file("src/a/tests.rs", &"//! x\n".repeat(600)).is_empty());
    }

    #[test]
    fn words_that_put_work_off() {
        let bad = format!("// {}{}: later", "TO", "DO");
        assert_eq!(banned_words("a.rs", &bad), [format!("`{}{}` in line 1", "TO", "DO")]);
    }

    #[test]
    fn tests_that_are_skipped_without_a_reason() {
        let bad = format!("#[test]\n#[{}]\nfn f() {{}}", "ignore");
        assert_eq!(ignored_without_reason("tests/a.rs", &bad).len(), 1);
        assert!(ignored_without_reason("tests/a.rs", "#[ignore = \"slow\"]").is_empty());
    }

    #[test]
    fn tests_that_wait_for_a_clock() {
        let bad = "fn f() { std::thread::sleep(SECOND); }";
        assert_eq!(sleeps_in_tests("tests/it/a.rs", bad).len(), 1);
        assert!(sleeps_in_tests("tests/it/support/mod.rs", bad).is_empty());
        assert!(sleeps_in_tests("tests/it/a.rs", "ask(\"sleep(\")").is_empty());
    }

    #[test]
    fn paths_that_are_not_there() {
        let text = "see `src/nowhere.rs`, `GET /src/x`, `text/plain` and `CHANGED.md`";
        assert_eq!(paths_in(text), ["src/nowhere.rs", "CHANGED.md"]);
    }

    #[test]
    fn links_that_lead_nowhere() {
        let text = "[a](nowhere.md) [b](https://x.y) [c](#gone) `f[0](x, y)`";
        assert_eq!(links_in(text), ["nowhere.md", "#gone"]);
        assert_eq!(anchors_in("# Is it so?\n## `tty` and more"), ["is-it-so", "tty-and-more"]);
    }

    #[test]
    fn commands_outside_of_a_code_fence() {
        assert!(fenced("cargo test").is_empty());
        assert_eq!(fenced("```sh\n$ cargo test\n```\nno"), ["cargo test"]);
    }
}
