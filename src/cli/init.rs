//! `httpipe init`: writes a commented httpipe.toml to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use super::{FAILED, REFUSED, complain_with_hint, say};
use crate::config::flags::InitArguments;
use crate::config::launch::reason;
use crate::config::load::DEFAULT_FILE;

/// The program for a file that names none; every system has it.
const PROGRAM: [&str; 3] = ["sed", "-u", "s/^/you said: /"];

/// Writes `./httpipe.toml`, unless it exists.
pub(super) fn run(arguments: &InitArguments) -> ExitCode {
    let file = OpenOptions::new().write(true).create_new(true).open(DEFAULT_FILE);
    let text = configuration(&arguments.program);
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

/// Returns the text of the file.
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
