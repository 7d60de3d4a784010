//! Rules about the code and its documents that no compiler knows. Each has a test on a bad
//! example beside it, so that it is seen to fail.
//!
//! What is said here is the law; CONTRIBUTING.md explains it.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom. A module may also import itself; nothing imports upwards.
const LAYERS: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("base", &["sync"]),
    ("config", &["base"]),
    ("observe", &["base", "config"]),
    ("wire", &["base", "config"]),
    ("policy", &["base", "config"]),
    ("net", &["sync", "base", "config", "observe"]),
    ("worker", &["base", "config", "observe", "wire"]),
    ("pool", &["sync", "base", "config", "observe", "wire", "policy", "worker"]),
    ("cache", &["base", "config", "observe"]),
    ("call", &["base", "config", "observe", "policy", "cache", "pool"]),
    ("front", &["base", "config", "observe", "net", "cache", "call"]),
    ("admin", &["base", "config", "observe", "net", "pool", "cache", "call"]),
    (
        "server",
        &[
            "base", "config", "observe", "wire", "policy", "net", "worker", "pool", "cache",
            "call", "front", "admin",
        ],
    ),
    (
        "cli",
        &[
            "base", "config", "observe", "wire", "policy", "net", "worker", "pool", "cache",
            "call", "front", "admin", "server",
        ],
    ),
];

/// What a file whose header says `Pure:` may not hold.
const IMPURE: &[&str] =
    &["tokio::", "Instant::now", "SystemTime::now", "std::fs", "rand::", "std::process"];

/// What only the rooms that speak HTTP may name.
const HTTP: &[&str] = &["StatusCode", "http::", "hyper::", "hyper_util::", "http_body_util::"];
const HTTP_ROOMS: &[&str] = &["net", "front", "admin"];

/// Longer than the limit, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const ARCHITECTURE_LINES_MAX: usize = 300;

/// The commands that are all the set-up there is.
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
        let module = module_of(&path);
        let is_listed = listed.contains(&module.as_str());
        assert!(is_listed || matches!(module.as_str(), "lib" | "main"), "{path} is in no layer");
    }
    for (index, (module, allowed)) in LAYERS.iter().enumerate() {
        for import in *allowed {
            let below = &listed[..index];
            assert!(below.contains(import), "`{module}` may import `{import}`, which is above it");
        }
    }
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

fn upward_imports(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return Vec::new();
    };
    let code = code_only(without_tests(path, text));
    let mut findings = Vec::new();
    for import in imports(&code) {
        if import != module && !allowed.contains(&import.as_str()) {
            findings.push(format!("`{module}` must not import `{import}`"));
        }
    }
    findings
}

fn impurities(path: &str, text: &str) -> Vec<String> {
    let header = text.lines().take_while(|line| line.starts_with("//!"));
    if !header.into_iter().any(|line| line.contains("Pure:")) {
        return Vec::new();
    }
    let code = code_only(without_tests(path, text));
    let found = IMPURE.iter().filter(|word| holds_name(&code, word));
    found.map(|word| format!("says it is pure and uses `{word}`")).collect()
}

fn http_outside_its_rooms(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("src/") || HTTP_ROOMS.contains(&module_of(path).as_str()) {
        return Vec::new();
    }
    let code = code_only(without_tests(path, text));
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

// What the rules are made of.

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The room a file belongs to: `src/pool/state.rs` and `src/pool.rs` are in `pool`.
fn module_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").unwrap_or_default();
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Every file with this ending, as a path from the root with `/`.
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

/// The part of a file before its inline tests; of `tests.rs`, where they are too many, nothing.
fn without_tests<'a>(path: &str, text: &'a str) -> &'a str {
    if path.starts_with("src/") && path.ends_with("/tests.rs") {
        return "";
    }
    // What other tests use of them is seen by the room.
    let begins = ["#[cfg(test)]\nmod tests", "#[cfg(test)]\npub(super) mod tests"];
    let end = begins.iter().filter_map(|begin| text.find(begin)).min();
    end.map_or(text, |end| &text[..end])
}

/// The modules of this crate that a file names.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, path) in code.match_indices("crate::") {
        let rest = &code[start + path.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_names(group));
        } else {
            found.extend(rest.split(|c| !is_name(c)).next().map(str::to_owned));
        }
    }
    // Capitals are items at the root, and the empty name is `crate::*`.
    found.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    found
}

/// The first names of `{a::b, c::{d, e}}`, without its first brace.
fn group_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut name) = (1, Vec::new(), String::new());
    let mut is_first = true;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && c == ',' {
            names.push(std::mem::take(&mut name));
            is_first = true;
        } else if is_first && is_name(c) {
            name.push(c);
        } else if !c.is_whitespace() {
            is_first = false;
        }
    }
    names.push(name);
    names
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Does the code hold this name, not as the end of a longer one?
fn holds_name(code: &str, name: &str) -> bool {
    code.match_indices(name)
        .any(|(start, _)| code[..start].chars().next_back().is_none_or(|before| !is_name(before)))
}

/// How many lines the function takes that this code begins with; `None`: it has no body.
fn body_lines(code: &str) -> Option<usize> {
    let open = code.find(['{', ';'])?;
    if code[open..].starts_with(';') {
        return None;
    }
    let mut depth = 0;
    for (index, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(code[..=open + index].lines().count());
        }
    }
    None
}

/// The code with comments and the insides of literals blanked, line for line.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = comment(rest).or_else(|| literal(rest));
        let taken = length.unwrap_or(first.len_utf8());
        if length.is_some() {
            code.extend(rest[..taken].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push(first);
        }
        let follows_name = is_name(first);
        rest = &rest[taken..];
        if follows_name && length.is_none() {
            // A name is taken whole, so that the `r` of `for` begins no raw text.
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            code.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    code
}

/// The length of the comment that the text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

/// The length of the literal that the text begins with, its prefix included.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|c| !matches!(c, 'b' | 'r' | 'c'))?;
    let body = &text[prefix..];
    if prefix <= 2 && text[..prefix].contains('r') {
        let hashes = body.find(|c| c != '#')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = body[hashes..].strip_prefix('"')?;
        return Some(prefix + hashes + 1 + inside.find(&end)? + end.len());
    }
    if prefix > 1 {
        return None;
    }
    if let Some(inside) = body.strip_prefix('"') {
        return Some(prefix + 1 + closing(inside, '"')? + 1);
    }
    let inside = body.strip_prefix('\'')?;
    let mut characters = inside.chars();
    let is_character = characters.next()? == '\\' || characters.next()? == '\'';
    is_character.then(|| closing(inside, '\'').map(|end| prefix + 1 + end + 1))?
}

/// Where the quote stands that ends this, escapes passed over.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(index, c)| {
        let found = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        found.then_some(index)
    })
}

/// What stands in back-ticks and is a path of this project.
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
    fn imports_that_point_upwards() {
        let bad = "use crate::{base::Call, pool::Pool};\nfn f() { crate::front::serve(); }";
        assert_eq!(upward_imports("src/wire/mod.rs", bad).len(), 2);
        assert!(upward_imports("src/server.rs", bad).is_empty());
        let in_tests = "//! x\n#[cfg(test)]\nmod tests {\n use crate::pool::Pool; }";
        assert!(upward_imports("src/wire/mod.rs", in_tests).is_empty());
        assert!(upward_imports("src/wire/mod.rs", "// crate::pool is above").is_empty());
    }

    #[test]
    fn clocks_in_pure_files() {
        let bad = "//! Sums.\n//!\n//! Pure: no clock.\nfn f() { std::time::Instant::now(); }";
        assert_eq!(impurities("src/policy/mod.rs", bad).len(), 1);
        assert!(impurities("src/policy/mod.rs", &bad.replace("Pure:", "Not:")).is_empty());
        let said = "//! Pure: no `tokio::`.\n// tokio::spawn\nconst A: &str = \"tokio::\";";
        assert!(impurities("src/policy/mod.rs", said).is_empty());
    }

    #[test]
    fn http_where_nobody_should_know_of_it() {
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

    #[test]
    fn literals_and_comments_are_no_code() {
        let text = "a(\"x//{\\\"\", r#\"\"{\"#, '{', b'\\'', 'a) /* { */ b // {\nfor r in s";
        let code = code_only(text);
        assert!(!code.contains('{') && !code.contains('"'), "{code}");
        assert!(code.contains("'a) ") && code.contains("\nfor r in s"), "{code}");
    }
}
