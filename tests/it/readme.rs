//! The quick start of the README: each command is run, and each answer is the one that it shows.

use crate::support::{Server, shell};

/// The fenced blocks of one part of the README, each with the word after its fence.
fn blocks(heading: &str) -> Vec<(String, String)> {
    let text = include_str!("../../README.md");
    let (_, part) = text.split_once(&format!("\n{heading}\n")).expect("the README has it");
    let part = part.split("\n##").next().unwrap_or_default();
    let fenced = part.split("\n```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.split_once('\n'))
        .map(|(kind, lines)| (kind.to_owned(), lines.to_owned()))
        .collect()
}

/// Runs the `httpipe run` of this part of the README, and the `curl` below it.
fn is_true(heading: &str) {
    let blocks = blocks(heading);
    let lines: Vec<&str> = blocks.iter().flat_map(|(_, block)| block.lines()).collect();
    let run = lines.iter().find_map(|line| line.strip_prefix("httpipe run ")).expect("a server");
    let mut plan = Server::args(&run.split(' ').collect::<Vec<_>>());
    if let Some((_, function)) = blocks.iter().find(|(kind, _)| kind == "python") {
        plan = plan.file("calculate.py", function);
    }
    let server = plan.start();
    let asked = lines.iter().find(|line| line.starts_with("curl ")).expect("a caller");
    let (command, wanted) = asked.split_once(" # ").expect("an answer");
    let command = command.replace("http://127.0.0.1:3000", &server.url());
    let (code, answer) = shell(&format!("{command} --silent --show-error"));
    assert_eq!((code, answer.trim()), (0, wanted.trim()), "{asked}");
}

#[test]
fn a_python_function_is_served_as_the_readme_says() {
    is_true("### A Python function");
}

#[test]
fn any_program_is_served_as_the_readme_says() {
    is_true("### Any program");
}
