//! How a worker is made to leave.

use std::time::Duration;

use rustix::process::Signal;

use super::process::{Exit, Process};

/// Asks a worker to leave, then forces it: closes its stdin, sends TERM to its group, waits up to
/// `grace` for its end, kills the group and reaps the leader.
///
/// `stdin` is any value whose drop closes our end of the worker's stdin. A program that reads to
/// the end of its input leaves then; the others get the signal. Cancelling this future kills the
/// worker at once, because it drops the process.
pub async fn stop<T>(process: Process, stdin: T, grace: Duration) -> Exit {
    drop(stdin);
    process.signal(Signal::TERM);
    if tokio::time::timeout(grace, process.ended()).await.is_err() {
        tracing::debug!(pid = process.id(), ?grace, "a worker did not leave within the grace");
    }
    kill_now(process).await
}

/// Kills the group at once, waits for the end of the leader and reaps it.
pub async fn kill_now(process: Process) -> Exit {
    process.signal(Signal::KILL);
    process.ended().await;
    process.reap()
}
