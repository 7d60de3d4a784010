//! Commands and exit codes: 0 for a normal end, 1 for a failure while running, 2 for bad usage
//! or a bad configuration, in which case nothing was started.

mod cells;
mod check;
mod client;
mod completions;
mod dashes;
pub mod demo_worker;
mod init;
mod key;
mod man;
mod map;
mod open;
mod openapi;
mod reload;
mod run;
mod tap;
mod top;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};

use crate::config::flags::{Command, CommandLine, Options, ServeArguments, Typed};
use crate::config::key_flags::{self, command_line};
use crate::config::{ConfigSource, Problems, Secrets};
use crate::server::Mode;
use crate::worker::own;

/// The exit code of a failure while running.
const FAILED: u8 = 1;
/// The exit code of bad usage or a bad configuration; nothing was started.
const REFUSED: u8 = 2;

/// Runs the command line. `arguments` excludes the name of the program.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    // `demo-worker` parses its arguments itself.
    if arguments.first().is_some_and(|first| first == "demo-worker") {
        return demo_worker::main(arguments.into_iter().skip(1));
    }
    // What runs from here on may know secrets. A worker of this user must not read them.
    own::hide_memory();
    let line = std::iter::once(OsString::from("httpipe")).chain(arguments.iter().cloned());
    let parsed = command_line()
        .try_get_matches_from(line)
        .and_then(|matches| Ok((CommandLine::from_arg_matches(&matches)?, matches)));
    let (line, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // clap knows the stream and the exit code: help goes to stdout and is no error. A
            // closed stream is no error either.
            drop(error.print());
            if let Some(line) = dashes::inserted(&arguments, &error) {
                complain(&format!("\nhint: put `--` before the program: {line}\n"));
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(REFUSED));
        }
    };
    let matches = matches.subcommand().map(|(_, matches)| matches);
    match line.command {
        Command::Run(arguments) => {
            let watches = !arguments.watch.is_empty();
            let is_on_terminal = is_terminal(&std::io::stderr());
            // Who watches mends the program while the server runs.
            let fails_fast = arguments.fail_fast || (is_on_terminal && !watches);
            let mode = Mode { watches, fails_fast, is_on_terminal };
            let patterns = arguments.patterns();
            let mut source = source(arguments.serve, matches);
            source.is_tried_out = watches;
            source.options.extend(patterns);
            run::run(&source, mode)
        }
        Command::Check(arguments) => {
            check::run(&source(arguments.serve, matches), !arguments.no_ask)
        }
        Command::Map { what, serve } => map::run(&what, &source(serve, matches)),
        Command::Init(arguments) => init::run(arguments, matches),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Status(arguments) => top::run_status(&arguments),
        Command::Tap(arguments) => tap::run(arguments),
        Command::Open(arguments) => open::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Openapi(arguments) => openapi::run(&source(arguments, matches)),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Puts the file, the program and the options together.
fn source(arguments: ServeArguments, matches: Option<&ArgMatches>) -> ConfigSource {
    let options = typed(&arguments.options, matches);
    ConfigSource::new(arguments.config, arguments.program, options)
}

/// All options that were given.
fn typed(options: &Options, matches: Option<&ArgMatches>) -> Vec<Typed> {
    let Some(matches) = matches else { return Vec::new() };
    let mut typed = options.typed(matches);
    typed.extend(key_flags::typed(matches));
    typed
}

/// Writes the result of a command to stdout. A closed stdout is no error; returns false then.
fn say(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Writes to stderr. A closed stderr is no error.
fn complain(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes an error and its hint to stderr.
fn complain_with_hint(message: &str, hint: &str) {
    complain(&format!("error: {message}\nhint: {hint}\n"));
}

/// Renders all problems of a configuration, and their count.
fn shown(
    problems: &Problems,
    source: &ConfigSource,
    secrets: Secrets,
    is_terminal: bool,
) -> String {
    // https://no-color.org: any value counts, except an empty one.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let count = problems.count();
    // `check` has nothing to add about a file that cannot be read.
    let again = match source.path.as_ref().filter(|_| problems.source.is_some()) {
        Some(path) => format!(" Test again with `httpipe check {}`", path.display()),
        None => String::new(),
    };
    let shown = problems.render(secrets, is_terminal && !no_color);
    format!("{shown}{count}, nothing was started.{again}\n")
}

fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
}
