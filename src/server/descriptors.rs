//! Raises the limit of open files as far as the system allows, and refuses what needs more.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, PoolSettings};
use crate::worker::own::note_file_limit;

/// Files that the server itself has open, and that the start of a worker needs for a moment.
const OWN: u64 = 20;
/// Files for each worker: its pipes and its pidfd, and one more to measure it.
const FOR_EACH_WORKER: u64 = 5;
/// More for each that takes turns and has one thread: what tells whether it waits for its input.
const FOR_TURNS: u64 = 3;
/// Files for the runtime of each thread but the first.
const FOR_EACH_THREAD: u64 = 4;
/// The limit where the system names none: the most that Linux allows without being told otherwise
/// (`fs.nr_open`).
const UNLIMITED: u64 = 1 << 20;

/// Raises the limit of open files as far as the system allows. Connections and the threads of
/// programs take them, too, so no number is enough for sure.
///
/// # Errors
///
/// The limit is too low even for the threads and for the workers that are kept ready; the text
/// names both numbers.
pub(super) fn provide(config: &Config) -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    note_file_limit(current.unwrap_or(0));
    let limit = maximum.unwrap_or(UNLIMITED).max(current.unwrap_or(u64::MAX));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).is_err() {
        tracing::debug!(limit, "the limit of open files could not be raised");
    }
    suffice(config)
}

/// Checks that the limit of open files is enough for the threads and for the workers that are kept
/// ready.
///
/// # Errors
///
/// It is too low; the text names both numbers.
pub(super) fn suffice(config: &Config) -> Result<(), String> {
    let of_pool = |pool: &Arc<PoolSettings>| {
        let for_turns = if pool.program.wire.takes_turns { FOR_TURNS } else { 0 };
        (FOR_EACH_WORKER + for_turns) * pool.rules.workers_least as u64
    };
    let needed = OWN
        + FOR_EACH_THREAD * (config.threads as u64 - 1)
        + config.pools.iter().map(of_pool).sum::<u64>();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < needed {
        return Err(format!(
            "{limit} open files are allowed; this configuration needs at least {needed}"
        ));
    }
    Ok(())
}
