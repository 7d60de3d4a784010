//! `httpipe man`: prints a manual page, made from the command line and the reference.

mod roff;

use std::io::Write;
use std::process::ExitCode;

use clap::Command;

use super::{REFUSED, complain_with_hint, say};
use crate::config::flags::ManArguments;
use crate::config::key_flags::command_line;
use crate::config::reference;

/// The name of the page about the configuration file, in section 5.
const FILE: &str = "httpipe.toml";

/// What the module of all commands says about exit codes.
const EXIT_STATUS: &str = ".SH \"EXIT STATUS\"\n0 is a normal end, 1 a failure while running, and 2 a \
     wrong command line or configuration, in which case nothing was started.\n";

/// Prints the page to stdout.
pub(super) fn run(arguments: &ManArguments) -> ExitCode {
    let page = arguments.page.as_str();
    let page = page.strip_prefix("httpipe-").unwrap_or(page);
    let mut line = command_line();
    // Only a built command has the names and options of its subcommands in full.
    line.build();
    let command = match page {
        FILE | "config" => {
            say(&about_the_file());
            return ExitCode::SUCCESS;
        }
        "httpipe" => Some(&line),
        other => line.find_subcommand(other),
    };
    let Some(command) = command else {
        complain_with_hint(&format!("there is no manual page `{page}`"), &all_pages(&line));
        return ExitCode::from(REFUSED);
    };
    say(&about_a_command(command, &line));
    ExitCode::SUCCESS
}

/// Returns the page about a command, in section 1.
fn about_a_command(command: &Command, line: &Command) -> String {
    let own = command.get_display_name().unwrap_or(command.get_name());
    let others = pages(line).into_iter().filter(|page| page != own);
    let others: Vec<String> = others.map(|page| roff::reference_to(&page)).collect();
    let page = clap_mangen::Man::new(command.clone().disable_help_subcommand(true));
    let mut bytes = Vec::new();
    page.render_title(&mut bytes)
        .and_then(|()| page.render_name_section(&mut bytes))
        .and_then(|()| bytes.write_all(synopsis(command).as_bytes()))
        .and_then(|()| page.render_description_section(&mut bytes))
        .and_then(|()| page.render_options_section(&mut bytes))
        .and_then(|()| {
            let has_commands = command.has_subcommands();
            if has_commands { page.render_subcommands_section(&mut bytes) } else { Ok(()) }
        })
        .expect("a vector can be written to");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    format!("{text}{EXIT_STATUS}.SH \"SEE ALSO\"\n{}\n", others.join(", "))
}

/// Returns how the command is called, in one line where clap's own page names every option.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    format!(".SH SYNOPSIS\n{}\n", roff::escaped(usage))
}

/// Returns the page about the configuration file: the reference as a manual page.
fn about_the_file() -> String {
    let title = format!(".TH {FILE} 5 \"\" \"httpipe {}\"\n", env!("CARGO_PKG_VERSION"));
    let name = format!(".SH NAME\n{FILE} \\- what httpipe serves, and how\n.SH DESCRIPTION\n");
    let end = ".SH \"SEE ALSO\"\n\\fBhttpipe\\fR(1), \\fBhttpipe\\-check\\fR(1)\n";
    [title, name, roff::of_markdown(&reference::markdown()), end.to_owned()].concat()
}

/// Returns the names of all pages.
fn pages(line: &Command) -> Vec<String> {
    let commands = line.get_subcommands().filter(|command| !command.is_hide_set());
    let commands = commands.map(|command| format!("httpipe-{}", command.get_name()));
    let mut commands: Vec<String> = commands.collect();
    commands.sort();
    ["httpipe".to_owned()].into_iter().chain(commands).chain([FILE.to_owned()]).collect()
}

fn all_pages(line: &Command) -> String {
    format!("pages are {}", pages(line).join(", "))
}
