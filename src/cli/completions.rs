//! `httpipe completions`: prints a completion script for a shell.

use std::process::ExitCode;

use super::say;
use crate::config::flags::CompletionsArguments;
use crate::config::key_flags::command_line;

/// Prints the script to stdout.
pub(super) fn run(arguments: &CompletionsArguments) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command_line(), "httpipe", &mut script);
    say(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
