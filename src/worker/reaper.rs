//! Reaps the processes that the server did not start but is the parent of.
//!
//! The server adopts the processes of its workers whose own parent has ended, so that it can see
//! what they do (`worker::look`). In a container it is often process 1 and adopts all. No other
//! process can reap those.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::guard::Guard;

/// Children that end within this time are reaped together.
const TOGETHER: Duration = Duration::from_millis(20);

/// Makes sure that this process sees the exit codes of its children. Must be called before the
/// first is started. If our starter ignored SIGCHLD, we inherit that, and the kernel then reaps
/// our children itself.
#[expect(unsafe_code, reason = "no safe call sets a signal's disposition")]
pub fn expect_children() {
    // SAFETY: no handler is installed, only the default restored.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Makes a write to a file that has reached its size limit an error instead of the end of this
/// process. Workers start with the default (`shim`).
#[expect(unsafe_code, reason = "no safe call sets a signal's disposition")]
pub fn outlive_full_files() {
    // SAFETY: no handler is installed, the signal is only ignored.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Makes this process the parent of the descendants whose own parent ends: of workers that a fork
/// server makes, too. It then has to reap strangers. Returns false if it is the parent of none.
pub fn adopt() -> bool {
    let adopts = rustix::process::set_child_subreaper(Pid::from_raw(1)).is_ok();
    adopts || std::process::id() == 1
}

/// Reaps strangers until it is cancelled. Leaves alone the workers, which the guard's list names,
/// and the guard. Fails only if SIGCHLD cannot be waited for.
pub async fn reap_strangers(guard: Guard) -> io::Result<()> {
    let mut child_ended = signal(SignalKind::child())?;
    loop {
        // Looks before the first signal too, because some may have ended already. One signal may
        // stand for many ends.
        match reap_ended(&guard) {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "reaped processes that the server had not started"),
            Err(error) => tracing::warn!(%error, "cannot list the processes to reap"),
        }
        tokio::select! {
            signal = child_ended.recv() => {
                if signal.is_none() {
                    return Ok(());
                }
                // Where each call ends a process, one look is enough for many.
                sleep(TOGETHER).await;
            }
            // Children were left alone that may have been its worker.
            () = guard.fork_over() => {}
        }
    }
}

/// Reaps the strangers that have ended. Returns how many there were.
fn reap_ended(guard: &Guard) -> io::Result<usize> {
    let mut count = 0;
    // The kernel lists children by thread, and may give a stranger to any of them. `waitid` for
    // any child would not do: it would return the same unreaped worker each time, and hide all
    // others behind it.
    for task in fs::read_dir("/proc/self/task")? {
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        let children = list.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        count += children.filter_map(Pid::from_raw).filter(|id| guard.reap_stranger(*id)).count();
    }
    Ok(count)
}
