//! File descriptors: as many as the configuration may need, or a clear word at the start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What the server itself has open, and a start of a worker needs for a moment.
const OWN: u64 = 20;
/// What each worker needs: its pipes and its pidfd.
const FOR_EACH_WORKER: u64 = 5;
/// What each thread beside the first needs for its runtime.
const FOR_EACH_THREAD: u64 = 4;

/// Raises our limit to what the configuration may need at most, as far as the system allows.
///
/// # Errors
///
/// The limit is too low even for the threads and the workers that are kept ready. Says so with
/// both numbers.
pub(super) fn provide(config: &Config) -> Result<(), String> {
    let least: usize = config.pools.iter().map(|pool| pool.rules.workers_least).sum();
    let most: usize = config.pools.iter().map(|pool| pool.rules.workers_most).sum();
    let own = OWN + FOR_EACH_THREAD * (config.threads as u64 - 1);
    let needed = own + FOR_EACH_WORKER * least as u64;
    let wished = own + FOR_EACH_WORKER * most as u64 + config.limits.connections as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = maximum.unwrap_or(u64::MAX).min(wished).max(current.unwrap_or(u64::MAX));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).is_err() {
        tracing::debug!(limit, "the limit of open files could not be raised");
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < needed {
        return Err(format!("{limit} open files are allowed, and this needs {needed} at least"));
    }
    Ok(())
}
