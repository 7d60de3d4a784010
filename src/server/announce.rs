//! The first lines of the log: the addresses, the programs, and a `curl` line to try.

use crate::config::{AdminSettings, Config, ListenAddress};
use crate::front::sample::Sample;

/// Logs where callers connect, which programs run, and how to try them.
pub(super) fn listening(config: &Config, addresses: &[String]) {
    for pool in &config.pools {
        let launch = &pool.program.launch;
        // Without its arguments, which may hold secrets.
        let program = &launch.name;
        let (least, most) = (pool.rules.workers_least, pool.rules.workers_most);
        tracing::info!(pool = pool.name, program, workers = format!("{least}..{most}"), "running");
        let wire = &pool.program.wire;
        if !wire.proves_question() && !wire.takes_turns && !wire.ends_with_answer() {
            tracing::warn!(
                pool = pool.name,
                "with `in_flight` above 1, output beyond one answer a question may reach wrong \
                 callers: leave `in_flight` out, or let each answer repeat its question \
                 (`{{input}}` in `reply`)"
            );
        }
    }
    // Last, where it is seen first.
    for address in addresses {
        tracing::info!(address, "listening on {}", shown(address));
    }
    let sample = config.routes.iter().find_map(|route| Sample::new(route, 0));
    if let (Some(sample), Some(address)) = (sample, addresses.first()) {
        tracing::info!(line = sample.curl(address), "try it");
    }
}

/// Logs where operators connect.
pub(super) fn admin(settings: &AdminSettings, address: &str) {
    let wanted = match &settings.address {
        Some(ListenAddress::Tcp(tcp)) => tcp.to_string(),
        Some(ListenAddress::Unix(_)) | None => address.to_owned(),
    };
    if wanted != address && !wanted.ends_with(":0") {
        tracing::warn!(wanted, "the admin address is taken; another port is used instead");
    }
    tracing::info!(address, "admin listening on {}", shown(address));
}

/// An address as people type it.
fn shown(address: &str) -> String {
    let is_path = address.starts_with("unix:");
    if is_path { address.to_owned() } else { format!("http://{address}") }
}
