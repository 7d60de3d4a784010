//! Checks that the pages of `docs/programs/` show the files in `examples/`, and that a test runs
//! each of those files. Examples of functions have no configuration; `docs/python.md` shows them.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_configuration_in_the_cookbook_is_an_example_word_for_word() {
    let examples: Vec<String> =
        examples().iter().map(|name| read(&format!("examples/{name}/httpipe.toml"))).collect();
    for page in pages() {
        let text = read(&page);
        for fence in fences(&text, "toml") {
            let first = fence.lines().next().unwrap_or_default();
            assert!(examples.contains(&fence), "{page}: `{first}` is not as in its example");
        }
    }
}

#[test]
fn every_example_has_its_page_and_its_row() {
    let pages: Vec<String> = pages().iter().map(|page| read(page)).collect();
    let index = read("docs/programs/README.md");
    for name in examples() {
        let text = read(&format!("examples/{name}/httpipe.toml"));
        let shown = |page: &String| fences(page, "toml").contains(&text);
        assert!(pages.iter().any(shown), "no page shows examples/{name}/httpipe.toml");
        assert!(index.contains(&format!("`examples/{name}/`")), "no row for examples/{name}");
    }
}

#[test]
fn every_example_is_started_by_a_test() {
    let tests: String = files("tests/programs", "rs").iter().map(|path| read(path)).collect();
    for name in examples() {
        let calls = [format!("serve(\"{name}\""), format!("serve_with(\"{name}\"")];
        assert!(calls.iter().any(|call| tests.contains(call)), "nothing starts examples/{name}");
    }
}

#[test]
fn every_example_without_a_configuration_is_on_the_page_about_python_and_is_tested() {
    let page = read("docs/python.md");
    let tests = read("tests/programs/python.rs");
    // The others are no functions: dashboards, proxies before a server, several configurations.
    let is_program = |name: &String| {
        let dir = format!("examples/{name}");
        files(&dir, "toml").is_empty() && !files(&dir, "py").is_empty()
    };
    let names = directories().into_iter().filter(is_program);
    let names: Vec<String> = names.collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let is_linked = page.contains(&format!("../examples/{name}/"));
        let modules = files(&format!("examples/{name}"), "py");
        let is_shown = |path: &String| fences(&page, "python").contains(&read(path));
        assert!(is_linked || modules.iter().all(is_shown), "docs/python.md has no {name}");
        assert!(tests.contains(&format!("\"{name}/")), "nothing starts examples/{name}");
    }
}

/// Returns the names of the examples with a configuration, without the one of the README, which has
/// its own tests.
fn examples() -> Vec<String> {
    let mut names = directories();
    names.retain(|name| name != "fib" && has_configuration(name));
    assert!(names.len() >= 15, "{names:?}");
    names
}

fn has_configuration(example: &str) -> bool {
    root().join(format!("examples/{example}/httpipe.toml")).exists()
}

/// Returns the names of the directories of all examples.
fn directories() -> Vec<String> {
    let entries = fs::read_dir(root().join("examples")).expect("there are examples");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    names
}

fn pages() -> Vec<String> {
    files("docs/programs", "md")
}

fn files(dir: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(dir)).expect("the directory can be listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn read(path: &str) -> String {
    let path: PathBuf = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the contents of the code fences of this language.
fn fences(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let after = text.split(&opening).skip(1);
    after.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}
