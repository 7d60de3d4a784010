//! What `check` prints of a pool that serves functions: which Python and why, what is served and
//! where, and how long a worker takes to start.
//!
//! Pure.

use std::time::Duration;

use crate::base::units::show_duration;
use crate::config::{Config, InFlight, PoolSettings, RouteAction, RouteSettings, SendShape};

/// Returns the lines about the pool of this number; `None`: it serves no functions. `ready`: how
/// long a worker took to be ready.
pub(super) fn report(config: &Config, number: usize, ready: Duration) -> Option<String> {
    let pool = &config.pools[number];
    let (python, import) = (pool.program.python.as_ref()?, pool.import.as_ref()?);
    let (name, target, version) = (&pool.name, python.target.as_str(), &python.version);
    let program = pool.program.launch.program.display();
    let mut lines = vec![
        format!("pool `{name}`: {target} with Python {version}"),
        format!("  python    {program}, {}", import.why),
    ];
    for function in &python.functions {
        lines.push(format!("  function  {}", function.signature()));
        let calls = |route: &&RouteSettings| match &route.action {
            RouteAction::Call(call) if call.pool == number => {
                matches!(&call.send, SendShape::Function(it) if it.name == function.name)
            }
            _ => false,
        };
        let routes: Vec<String> = config.routes.iter().filter(calls).map(shown).collect();
        let routes =
            if routes.is_empty() { "no route calls it".to_owned() } else { routes.join(", ") };
        lines.push(format!("            {routes}"));
    }
    lines.push(format!("  calls     {}", at_once(pool)));
    let import_time = show_duration(milliseconds(import.took_ms));
    lines.push(format!(
        "  start     import {import_time}, worker {}",
        show_duration(milliseconds(ready.as_secs_f64() * 1000.0))
    ));
    Some(lines.join("\n") + "\n")
}

/// Returns a route, and what may be asked there in the background.
fn shown(route: &RouteSettings) -> String {
    let RouteAction::Call(call) = &route.action else { return route.label.to_string() };
    let items = call.items.map(|items| format!("{items} items"));
    let also: Vec<String> = items.into_iter().chain(call.jobs.map(|_| "jobs".to_owned())).collect();
    if also.is_empty() {
        route.label.to_string()
    } else {
        format!("{} ({})", route.label, also.join(", "))
    }
}

/// Returns how many calls a worker has at once, in words.
fn at_once(pool: &PoolSettings) -> String {
    if let Some(group) = &pool.rules.group {
        return format!("one batch at a time in each worker, of up to {} calls", group.most);
    }
    match pool.rules.in_flight {
        InFlight::Fixed(1) => "one at a time in each worker".to_owned(),
        InFlight::Fixed(calls) => format!("up to {calls} at once in each worker"),
        InFlight::Auto => "one at a time in each worker, short ones sent ahead".to_owned(),
    }
}

/// A time in whole milliseconds, at least one.
fn milliseconds(time: f64) -> Duration {
    Duration::from_millis(time.max(1.0).round() as u64)
}
