//! The pages of `docs/scripts/`, followed as a newcomer would: each file is saved, each command
//! is run, and each `curl` line answers what the page says.

use std::path::Path;

use crate::serve::start;
use crate::support::{Server, shell};

#[test]
fn the_page_for_python_works_as_it_stands() {
    follow("scripts/python", &["python3", "curl"], 3);
}

#[test]
fn the_page_for_node_works_as_it_stands() {
    follow("scripts/node", &["node", "curl"], 2);
}

#[test]
fn the_page_for_the_shell_works_as_it_stands() {
    follow("scripts/shell", &["sed", "curl"], 3);
}

#[test]
fn the_page_for_r_works_as_it_stands() {
    follow("scripts/r", &["Rscript", "curl"], 1);
}

#[test]
fn the_page_for_go_works_as_it_stands() {
    follow("scripts/go", &["go", "curl"], 1);
}

#[test]
fn the_page_for_java_works_as_it_stands() {
    follow("scripts/java", &["javac", "java", "curl"], 1);
}

/// Does what a page says; `servers` is how many it starts.
pub(crate) fn follow(page: &str, needs: &[&str], servers: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{page}.md"));
    let text = std::fs::read_to_string(&path).expect("there is such a page");
    let (mut files, mut preparation, mut started) = (Vec::new(), binary_in_path(), 0);
    let (mut server, mut asked) = (None, 0);
    for step in steps(&text) {
        match step {
            Step::Save(name, text) => files.push((name, text)),
            Step::Serve(line) => {
                assert!(
                    started == 0 || asked > 0,
                    "{page}: nobody asks the server before `{line}`"
                );
                drop(server.take());
                let words = words(&line);
                let arguments: Vec<&str> = words.iter().skip(2).map(String::as_str).collect();
                let plan = files
                    .iter()
                    .fold(Server::args(&arguments), |plan, (name, text)| plan.file(name, text));
                server = start(plan.prepare_with(&preparation), needs);
                if server.is_none() {
                    return;
                }
                (started, asked) = (started + 1, 0);
            }
            Step::Ask(line, answer) => {
                let server: &Server = server.as_ref().expect("a server was started before");
                let line = line.replace("http://127.0.0.1:3000", &server.url());
                let (_, got) = shell(&line.replacen("curl ", "curl -s ", 1));
                assert_eq!(got.trim(), answer, "{page}: {line}\n{:#?}", server.log_lines());
                asked += 1;
            }
            Step::Run(line) => preparation = format!("{preparation} && {line}"),
        }
    }
    assert!(asked > 0, "{page}: nobody asks the last server");
    assert_eq!(started, servers, "{page}");
}

/// One thing that a reader does.
enum Step {
    /// Saves a file.
    Save(String, String),
    /// Starts a server.
    Serve(String),
    /// Asks it; the answer.
    Ask(String, String),
    /// Runs another command.
    Run(String),
}

/// What a page tells its reader to do.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            before = if line.trim().is_empty() { before } else { line };
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let body: Vec<&str> = (lines.by_ref())
            .map(|line| line.get(indent..).unwrap_or_default())
            .take_while(|line| *line != "```")
            .collect();
        if language == "sh" {
            steps.extend(body.into_iter().map(command));
        } else {
            let name = before.split('`').nth_back(1).expect("the line before names the file");
            steps.push(Step::Save(name.to_owned(), body.join("\n") + "\n"));
        }
    }
    steps
}

fn command(line: &str) -> Step {
    if line.starts_with("httpipe run ") {
        return Step::Serve(line.to_owned());
    }
    if line.starts_with("curl ") {
        let (line, answer) = line.split_once("      # ").expect("a `curl` line says its answer");
        return Step::Ask(line.to_owned(), answer.to_owned());
    }
    Step::Run(line.to_owned())
}

/// The words of a line, as a shell cuts it.
fn words(line: &str) -> Vec<String> {
    let (code, words) = shell(&format!("printf '%s\\n' {line}"));
    assert_eq!(code, 0, "{words}");
    words.lines().map(str::to_owned).collect()
}

/// What makes `httpipe` the binary under test, in a shell.
fn binary_in_path() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_httpipe"));
    let dir = binary.parent().expect("it is in a directory");
    format!("export PATH={}:$PATH", dir.display())
}
