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
    stop_in_time(process, stdin, grace, std::future::pending()).await
}

/// Stops a worker as [`stop`] does, and waits no longer for its end once `hurry` is ready.
pub async fn stop_in_time<T>(
    process: Process,
    stdin: T,
    grace: Duration,
    hurry: impl Future<Output = ()>,
) -> Exit {
    drop(stdin);
    process.signal(Signal::TERM);
    tokio::select! {
        waited = tokio::time::timeout(grace, process.ended()) => if waited.is_err() {
            tracing::debug!(pid = process.id(), ?grace, "a worker did not leave within the grace");
        },
        () = hurry => {}
    }
    kill_now(process).await
}

/// Kills the group at once, waits for the end of the leader and reaps it.
pub async fn kill_now(process: Process) -> Exit {
    process.signal(Signal::KILL);
    process.ended().await;
    process.reap()
}
