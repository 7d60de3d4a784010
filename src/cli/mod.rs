//! Commands and exit codes: 0 ended normally, 1 failed while running, 2 bad usage or
//! configuration, with which nothing was started.

mod check;
mod completions;
pub mod demo_worker;
mod init;
mod reload;
mod run;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::config::flags::{Command, CommandLine, ServeArguments};
use crate::config::{ConfigSource, Problems};

pub use check::{Finding, Weight};

/// Failed while running.
const FAILED: u8 = 1;
/// Bad usage or configuration; nothing was started.
const REFUSED: u8 = 2;

/// Runs what the command line says. `arguments` are those after the program's own name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    // It reads its arguments itself, whatever they look like.
    if arguments.first().is_some_and(|first| first == "demo-worker") {
        return demo_worker::main(arguments.into_iter().skip(1));
    }
    let line = std::iter::once(OsString::from("httpipe")).chain(arguments);
    let parsed = CommandLine::command()
        .try_get_matches_from(line)
        .and_then(|matches| Ok((CommandLine::from_arg_matches(&matches)?, matches)));
    let (line, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Its own stream and code: help is no error. If nobody reads it, nothing is lost.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(REFUSED));
        }
    };
    let matches = matches.subcommand().map(|(_, matches)| matches);
    match line.command {
        Command::Run(arguments) => run::run(&source(arguments, matches)),
        Command::Check(arguments) => check::run(&source(arguments, matches)),
        Command::Init(arguments) => init::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

fn source(arguments: ServeArguments, matches: Option<&ArgMatches>) -> ConfigSource {
    let options = matches.map(|matches| arguments.options.typed(matches)).unwrap_or_default();
    ConfigSource::new(arguments.config, arguments.program, options)
}

/// Says what the command is asked to say. Nobody may read it any more, which is no error.
fn say(text: &str) {
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
}

/// Says why something failed.
fn complain(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// An error with its hint, as all of ours look.
fn complain_with_hint(message: &str, hint: &str) {
    complain(&format!("error: {message}\nhint: {hint}\n"));
}

/// All problems and how many there are.
fn shown(problems: &Problems, source: &ConfigSource, is_terminal: bool) -> String {
    // https://no-color.org: any value but an empty one.
    let without = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let count = problems.count();
    // Of a file that could not even be read, the test would say the same.
    let again = match source.path.as_ref().filter(|_| problems.source.is_some()) {
        Some(path) => format!(" Test again with `httpipe check {}`", path.display()),
        None => String::new(),
    };
    format!("{}{count}, nothing was started.{again}\n", problems.render(is_terminal && !without))
}

fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
}
