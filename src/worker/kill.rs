//! How a worker is made to leave.

use std::time::Duration;

use rustix::process::Signal;

use super::spawn::{Exit, Process};

/// Asks, then forces: closes its stdin, sends TERM to the group, waits up to `grace` for its
/// end, kills the group and reaps it.
///
/// `stdin` is whatever holds our end of that stream; dropping it must close it. Programs that
/// read to the end of their input leave by themselves, the others are told by the signal.
/// Cancelling this kills at once, because it drops the process.
pub async fn stop<T>(process: Process, stdin: T, grace: Duration) -> Exit {
    drop(stdin);
    process.signal(Signal::TERM);
    if tokio::time::timeout(grace, process.ended()).await.is_err() {
        tracing::debug!(pid = process.id(), ?grace, "a worker did not leave when told to");
    }
    kill_now(process).await
}

/// Kills the group at once, waits for the end of its leader and reaps it.
pub async fn kill_now(process: Process) -> Exit {
    process.signal(Signal::KILL);
    process.ended().await;
    process.reap()
}
