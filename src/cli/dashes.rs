//! The most common mistake on the command line: a program without `--` before it.

use std::ffi::OsString;
use std::path::Path;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use crate::config::flags::{Command, CommandLine};
use crate::config::key_flags::command_line;
use crate::config::words::shell_word;

/// Returns the command line with `--` before its program, if it lacks just that.
pub(super) fn inserted(arguments: &[OsString], error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument || arguments.iter().any(|word| word == "--") {
        return None;
    }
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let (before, program) = (1..words.len())
        .map(|at| words.split_at(at))
        .find(|(before, program)| is_program(program[0]) && is_complete(before, program))?;
    let words = ["httpipe"].iter().chain(before).chain(&["--"]).chain(program);
    Some(words.map(|word| shell_word(word)).collect::<Vec<_>>().join(" "))
}

/// Returns true if this may be the name of a program: it is neither an option nor a file to read.
fn is_program(word: &str) -> bool {
    !word.starts_with('-') && Path::new(word).extension().is_none_or(|ending| ending != "toml")
}

/// Returns true if the line can be read, and names no configuration file.
fn is_complete(before: &[&str], program: &[&str]) -> bool {
    let line = ["httpipe"].iter().chain(before).chain(&["--"]).chain(program);
    let matches = command_line().try_get_matches_from(line);
    let line = matches.and_then(|matches| CommandLine::from_arg_matches(&matches));
    match line.map(|line| line.command) {
        Ok(Command::Run(run)) => run.serve.config.is_none(),
        Ok(Command::Check(check)) => check.serve.config.is_none(),
        Ok(Command::Init(_)) => true,
        _ => false,
    }
}
