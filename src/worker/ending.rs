//! The ends of children: how one is seen, without reaping it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns a descriptor that becomes readable when this child ends. Reading it reaps nothing.
pub(super) fn end_of(id: Pid) -> io::Result<OwnedFd> {
    match pidfd_open(id, PidfdFlags::empty()) {
        Err(Errno::NOSYS) => end_seen_by_thread(id),
        opened => Ok(opened?),
    }
}

/// Does what [`end_of`] does where there are no pidfds, as under valgrind and in some sandboxes:
/// a thread waits for the child and then closes the other end of a pipe.
fn end_seen_by_thread(id: Pid) -> io::Result<OwnedFd> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    std::thread::Builder::new().name("wait".into()).spawn(move || {
        // An error means that the child has gone already, which is an end as well.
        wait(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok();
        drop(theirs);
    })?;
    Ok(ours)
}

pub(super) fn has_ended(id: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(wait(id, look), Ok(Some(_)))
}

pub(super) fn wait(id: Pid, options: WaitIdOptions) -> Result<Option<WaitIdStatus>, Errno> {
    rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), options))
}

/// Registers a non-blocking descriptor with the runtime.
#[expect(unsafe_code, reason = "the safe constructor is deprecated")]
pub(super) fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, and the same, as long as the `AsyncFd` that owns it;
    // nothing in this crate puts another in its place.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}
