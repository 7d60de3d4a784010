//! What the status says of a pool that its configuration knows.

use std::path::Path;

use crate::config::pool::ProgramSettings;
use crate::config::words::shell_word;
use crate::config::{CallSettings, PoolSettings, RouteAction, RouteSettings};
use crate::report::About;

/// Describes a pool, whose place among the pools is `place`. Without `whole` nothing of its command
/// is told but the file name of the program: arguments may hold secrets.
pub(super) fn about(
    settings: &PoolSettings,
    place: usize,
    routes: &[RouteSettings],
    whole: bool,
) -> About {
    let PoolSettings { program, rules, .. } = settings;
    About {
        command: command(program, whole),
        framing: program.wire.framing.to_string(),
        matching: program.wire.matching.to_string(),
        least: rules.workers_least,
        most: rules.workers_most,
        timeout: rules.timeout,
        routes: of(place, routes).map(|(route, _)| route.label.to_string()).collect(),
        record: rules.record,
    }
}

/// Returns true if answers of a pool are kept.
pub(super) fn keeps_answers(place: usize, routes: &[RouteSettings]) -> bool {
    of(place, routes).any(|(_, call)| call.cache.is_some())
}

/// Returns the routes that ask a pool, with how they ask it.
fn of(
    place: usize,
    routes: &[RouteSettings],
) -> impl Iterator<Item = (&RouteSettings, &CallSettings)> {
    routes.iter().filter_map(move |route| match &route.action {
        RouteAction::Call(call) if call.pool == place => Some((route, call)),
        RouteAction::Call(_) | RouteAction::Text { .. } => None,
    })
}

fn command(program: &ProgramSettings, whole: bool) -> String {
    let ProgramSettings { launch, python, .. } = program;
    match python {
        // The arguments are the loop around the functions, which nobody has typed.
        Some(python) if whole => {
            return format!("{} {}", shell_word(&launch.name), shell_word(python.target.as_str()));
        }
        None if whole => return launch.command_line(),
        _ => {}
    }
    let name = Path::new(&launch.name).file_name().unwrap_or_default().to_string_lossy();
    let more = if launch.arguments.is_empty() { "" } else { " …" };
    format!("{}{more}", shell_word(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_directories_are_told_to_operators_only() {
        let mut program = PoolSettings::for_tests().program;
        assert_eq!([true, false].map(|whole| command(&program, whole)), ["cat", "cat"]);
        program.launch.name = "/home/ann/my tool".to_owned();
        program.launch.arguments = vec!["--key".to_owned(), "a b".to_owned()];
        assert_eq!(command(&program, true), "'/home/ann/my tool' --key 'a b'");
        assert_eq!(command(&program, false), "'my tool' …");
    }
}
