//! What operators and the service manager are told about a start: the addresses, the programs, a
//! `curl` line to try, and that the server is ready.

use std::rc::Rc;
use std::time::Duration;

use super::begin::FirstStarts;
use super::listeners::Listeners;
use crate::config::{AdminSettings, Config, ListenAddress, Warning, WhoMayAsk};
use crate::front::Front;
use crate::front::sample::Sample;
use crate::systemd::ServiceManager;

/// What the service manager is asked to allow in addition to what the workers may take.
const MARGIN: Duration = Duration::from_secs(10);

/// Returns how long the first workers may take to start.
pub(super) fn longest_start(config: &Config) -> Duration {
    let longest = config.pools.iter().map(|pool| pool.rules.start_timeout).max();
    longest.unwrap_or_default() + MARGIN
}

/// Returns how long a stop may take.
pub(super) fn longest_stop(drain: Duration) -> Duration {
    drain + MARGIN
}

/// Tells the service manager that the server is ready, once every pool has ended its first start.
pub(super) async fn ready(
    starts: Rc<FirstStarts>,
    manager: Rc<ServiceManager>,
    addresses: Vec<String>,
) {
    let failed = starts.are_over().await;
    let mut status = match &addresses[..] {
        [] => "working for other hosts".to_owned(),
        addresses => format!("serving on {}", addresses.join(", ")),
    };
    if !failed.is_empty() {
        status.push_str("; not started, and tried again: ");
        status.push_str(&failed.join(", "));
    }
    manager.ready(status);
}

/// Logs what is unwise in a configuration.
pub(super) fn warnings(config: &Config) {
    for Warning { message, hint } in &config.warnings {
        tracing::warn!(hint, "{message}");
    }
}

/// Logs where operators and callers connect, which programs run, and how to try them.
pub(super) fn listening(config: &Config, listeners: &Listeners) {
    if let Some(listener) = &listeners.operators {
        admin(&config.admin, &listener.local(), listeners.admin_is_lent);
    }
    if let Some(listener) = &listeners.balancers {
        let address = listener.local();
        tracing::info!(address, "agent listening on {address}");
    }
    for pool in &config.pools {
        let launch = &pool.program.launch;
        // Without its arguments, which may hold secrets.
        let program = &launch.name;
        let (least, most) = (pool.rules.workers_least, pool.rules.workers_most);
        tracing::info!(pool = pool.name, program, workers = format!("{least}..{most}"), "running");
    }
    let addresses = listeners.addresses();
    if listeners.are_lent {
        tracing::info!("the sockets of the service manager take the place of `listen`");
    }
    // Last, where it is seen first.
    for address in &addresses {
        tracing::info!(address, "listening on {}", shown(address, config.tls.is_some()));
    }
    let sample = config.routes.iter().find_map(|route| Sample::new(route, 0));
    if let (Some(sample), Some(address)) = (sample, addresses.first()) {
        let needs_key =
            matches!(config.callers.who, WhoMayAsk::Keys(_)) && config.callers.anonymous.is_none();
        let key = if needs_key { " -H 'Authorization: Bearer KEY'" } else { "" };
        let line = sample.curl(&shown(address, config.tls.is_some())) + key;
        tracing::info!(line, "try it");
    }
}

/// Logs where a browser shows what can be asked, if callers can see it.
pub(super) fn page(front: &Front, addresses: &[String], is_secure: bool) {
    let address = addresses.iter().find(|address| !address.starts_with("unix:"));
    if let (Some(path), Some(address)) = (front.docs_path(), address) {
        tracing::info!(
            url = format!("{}{path}", shown(address, is_secure)),
            "or open it in a browser"
        );
    }
}

/// Logs where operators connect.
fn admin(settings: &AdminSettings, address: &str, is_lent: bool) {
    let wanted = match &settings.address {
        Some(ListenAddress::Tcp(tcp)) => tcp.to_string(),
        Some(ListenAddress::Unix(_)) | None => address.to_owned(),
    };
    if wanted != address && !wanted.ends_with(":0") && !is_lent {
        tracing::warn!(wanted, "the admin address is taken; another port is used instead");
    }
    tracing::info!(address, "admin listening on {}", shown(address, false));
}

/// Returns an address as people type it.
fn shown(address: &str, is_secure: bool) -> String {
    match address.strip_prefix("unix:") {
        Some(_) => address.to_owned(),
        None if is_secure => format!("https://{address}"),
        None => format!("http://{address}"),
    }
}
