//! Raises the limit of open files to what the configuration needs, or refuses to start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::worker::own::note_file_limit;

/// Files that the server itself has open, and that the start of a worker needs for a moment.
const OWN: u64 = 20;
/// Files for each worker: its pipes and its pidfd.
const FOR_EACH_WORKER: u64 = 5;
/// One more for each worker, to measure it while somebody looks.
const TO_MEASURE: u64 = 1;
/// Files for the runtime of each thread but the first.
const FOR_EACH_THREAD: u64 = 4;

/// Raises the limit of open files to the most that the configuration can need, as far as the
/// system allows.
///
/// # Errors
///
/// The limit is too low even for the threads and for the workers that are kept ready; the text
/// names both numbers.
pub(super) fn provide(config: &Config) -> Result<(), String> {
    let least: usize = config.pools.iter().map(|pool| pool.rules.workers_least).sum();
    let most: usize = config.pools.iter().map(|pool| pool.rules.workers_most).sum();
    let own = OWN + FOR_EACH_THREAD * (config.threads as u64 - 1);
    let needed = own + FOR_EACH_WORKER * least as u64;
    let wished =
        own + (FOR_EACH_WORKER + TO_MEASURE) * most as u64 + config.limits.connections as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    note_file_limit(current.unwrap_or(0));
    let limit = maximum.unwrap_or(u64::MAX).min(wished).max(current.unwrap_or(u64::MAX));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).is_err() {
        tracing::debug!(limit, "the limit of open files could not be raised");
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < needed {
        return Err(format!(
            "{limit} open files are allowed; this configuration needs at least {needed}"
        ));
    }
    Ok(())
}
