//! What the server owes as somebody's parent, wanted or not.
//!
//! In a container the server often is process 1, to whom the kernel hands every process whose
//! parent has gone. Nobody else can reap those.
//!
//! Descriptors 0, 1 and 2 are another debt: a pipe made while one is closed would get its
//! number. Rust's start has that done before `main` (it opens `/dev/null` on each that is
//! closed); a test of the real binary sees to it that this stays so.

use std::fs;
use std::io;

use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

use super::guard::Guard;

/// To be called first thing in a server. Its starter may have had SIGCHLD ignored, which we
/// would inherit: then the kernel reaps our children itself, and no exit code is ever seen.
#[expect(unsafe_code, reason = "no safe call sets a signal's disposition")]
pub fn expect_children() {
    // SAFETY: no handler is installed, only the default restored.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Does this process have to reap strangers?
pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Reaps strangers for ever. Workers are left to those who wait for them, known by the guard's
/// list. Fails only if the signal cannot be waited for.
pub async fn reap_strangers(guard: Guard) -> io::Result<()> {
    let mut child_ended = signal(SignalKind::child())?;
    loop {
        // Before the first wait too: some may have ended already. One signal may stand for many.
        match reap_ended(&guard) {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "reaped processes that others had left"),
            Err(error) => tracing::warn!(%error, "cannot list the processes to reap"),
        }
        if child_ended.recv().await.is_none() {
            return Ok(());
        }
    }
}

/// Reaps the strangers that have ended, and says how many.
fn reap_ended(guard: &Guard) -> io::Result<usize> {
    let mut count = 0;
    // Children belong to threads; the strangers are given to any of them. The list is asked
    // for rather than `waitid` for any child, which would show the same worker again and again
    // until that one is reaped, and hide those behind it.
    for task in fs::read_dir("/proc/self/task")? {
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        let children = list.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        count += children.filter_map(Pid::from_raw).filter(|id| guard.reap_stranger(*id)).count();
    }
    Ok(count)
}
