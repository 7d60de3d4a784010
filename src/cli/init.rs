//! `httpipe init`: writes the httpipe.toml that `run` with the same words stands for, or a commented
//! one to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::ArgMatches;

use super::{FAILED, REFUSED, complain, complain_with_hint, is_terminal, say, shown, typed};
use crate::config::ConfigSource;
use crate::config::flags::InitArguments;
use crate::config::load::DEFAULT_FILE;
use crate::config::problem::Secrets;
use crate::config::problem::reason;
use crate::config::written::written;
use crate::worker::describe::before_start;

/// The program for a file that names none; every system has it.
const PROGRAM: [&str; 3] = ["sed", "-u", "s/^/you said: /"];

/// Writes `./httpipe.toml`, unless it exists: what the options say, or a commented file to start
/// from.
pub(super) fn run(arguments: InitArguments, matches: Option<&ArgMatches>) -> ExitCode {
    let options = typed(&arguments.options, matches);
    let source = ConfigSource::new(arguments.target, arguments.program, options);
    if let Some(path) = source.path.as_ref().filter(|path| path.as_os_str() != DEFAULT_FILE) {
        let hint = "name functions, as in calculate.py:fib, or a program after `--`";
        complain_with_hint(&format!("`{}` names no functions", path.display()), hint);
        return ExitCode::from(REFUSED);
    }
    let source = ConfigSource { path: None, ..source };
    let text = if source.options.is_empty() && source.python.is_none() {
        configuration(&source.program)
    } else {
        if let Err(problems) = source.load(&before_start(source.own_binary())) {
            let is_terminal = is_terminal(&std::io::stderr());
            complain(&shown(&problems, &source, Secrets::Shown, is_terminal));
            return ExitCode::from(REFUSED);
        }
        format!("{HEAD}\n{}", written(&source.values()))
    };
    let file = OpenOptions::new().write(true).create_new(true).open(DEFAULT_FILE);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            say("wrote httpipe.toml; try it with `httpipe check`, then `httpipe run`\n");
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            complain_with_hint(
                "httpipe.toml already exists in this directory",
                "move or rename it, then run `httpipe init` again",
            );
            ExitCode::from(REFUSED)
        }
        Err(error) => {
            complain_with_hint(
                &format!("cannot write httpipe.toml: {}", reason(&error)),
                "check that you may write to this directory",
            );
            ExitCode::from(FAILED)
        }
    }
}

/// What every file begins with.
const HEAD: &str = "\
# The configuration of httpipe. `httpipe check` validates this file, `httpipe run` serves it.
# Every key: docs/reference/config.md
";

/// Returns the text of a commented file.
fn configuration(program: &[String]) -> String {
    let words: Vec<String> = match program {
        [] => PROGRAM.iter().map(|word| quoted(word)).collect(),
        words => words.iter().map(|word| quoted(word)).collect(),
    };
    include_str!("init.toml").replace("[\"PROGRAM\"]", &format!("[{}]", words.join(", ")))
}

/// Writes a word as a TOML string.
fn quoted(word: &str) -> String {
    toml::Value::String(word.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_can_be_put_in() {
        let words = ["python3", "it's \"this\"", "a\\b", "line\nend"].map(str::to_owned);
        let file: toml::Table = configuration(&words).parse().expect("valid TOML");
        let command = file["pool"]["main"]["command"].as_array().expect("a list");
        let read: Vec<_> = command.iter().filter_map(toml::Value::as_str).collect();
        assert_eq!(read, words);
    }
}
