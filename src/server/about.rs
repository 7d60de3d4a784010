//! What the status says of a pool that its configuration knows.

use crate::config::words::shell_word;
use crate::config::{LaunchSettings, PoolSettings, RouteAction, RouteSettings};
use crate::report::About;

/// Describes a pool, whose place among the pools is `place`. Without `whole` the arguments of its
/// command are left out: they may hold secrets.
pub(super) fn about(
    settings: &PoolSettings,
    place: usize,
    routes: &[RouteSettings],
    whole: bool,
) -> About {
    let asks = |route: &&RouteSettings| match &route.action {
        RouteAction::Call(call) => call.pool == place,
        RouteAction::Text { .. } => false,
    };
    let PoolSettings { program, rules, .. } = settings;
    About {
        command: command(&program.launch, whole),
        framing: program.wire.framing.to_string(),
        matching: program.wire.matching.to_string(),
        least: rules.workers_least,
        most: rules.workers_most,
        timeout: rules.timeout,
        routes: routes.iter().filter(asks).map(|route| route.label.to_string()).collect(),
        record: 0,
    }
}

fn command(launch: &LaunchSettings, whole: bool) -> String {
    let name = shell_word(&launch.name);
    match launch.arguments.as_slice() {
        [] => name,
        arguments if whole => {
            let words = arguments.iter().map(|argument| shell_word(argument));
            std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
        }
        _ => format!("{name} …"),
    }
}
