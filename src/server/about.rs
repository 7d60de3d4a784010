//! What the status says of a pool that its configuration knows.

use crate::config::words::shell_word;
use crate::config::{CallSettings, LaunchSettings, PoolSettings, RouteAction, RouteSettings};
use crate::report::About;

/// Describes a pool, whose place among the pools is `place`. Without `whole` the arguments of its
/// command are left out: they may hold secrets.
pub(super) fn about(
    settings: &PoolSettings,
    place: usize,
    routes: &[RouteSettings],
    whole: bool,
) -> About {
    let PoolSettings { program, rules, .. } = settings;
    About {
        command: command(&program.launch, whole),
        framing: program.wire.framing.to_string(),
        matching: program.wire.matching.to_string(),
        least: rules.workers_least,
        most: rules.workers_most,
        timeout: rules.timeout,
        routes: of(place, routes).map(|(route, _)| route.label.to_string()).collect(),
        record: 0,
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

fn command(launch: &LaunchSettings, whole: bool) -> String {
    let name = shell_word(&launch.name);
    match launch.arguments.as_slice() {
        [] => name,
        _ if whole => launch.command_line(),
        _ => format!("{name} …"),
    }
}
