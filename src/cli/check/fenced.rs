//! What is told of the fence of a pool where nothing is wrong.

use crate::config::PoolSettings;
use crate::worker::memory_group;

/// Returns rows of the report about a pool.
pub(super) fn rows(pool: &PoolSettings) -> Vec<(&'static str, String)> {
    let Some(sandbox) = pool.program.launch.fence.sandbox() else { return Vec::new() };
    let user = sandbox.user.as_ref().map(|user| ("user", user.name.clone()));
    let memory = sandbox.memory.map(|most| {
        let how = match memory_group::groups() {
            Ok(_) => "each worker, by a control group".to_owned(),
            Err(why) => format!("each process, by `RLIMIT_DATA`: {why}"),
        };
        ("memory", format!("{most} for {how}"))
    });
    user.into_iter().chain(memory).collect()
}
